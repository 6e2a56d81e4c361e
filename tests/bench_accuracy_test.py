"""``leadstream bench accuracy`` and what its data sets mean as leads."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files.mapping import load_mapping
from connectors.files.pipeline import source_batches
from connectors.files.shipped import shipped_excerpt
from models.workspaces import load_workspaces
from streams.bench.accuracy import BENCH_WORKSPACES, SETS, run
from streams.cli import main as cli
from streams.evaluation.collect import ResolvedRows
from streams.evaluation.local import run_local


def labels(mapping: str, file: Path) -> tuple[ResolvedRows, tuple[str, ...]]:
    loaded = load_mapping(mapping)
    config = load_workspaces(BENCH_WORKSPACES)[loaded.workspace]
    batches = source_batches(loaded, [file])
    made = run_local({config.name: config}, config.name, "conversion", batches)
    assert made.rejected == 0
    return made.rows, config.catalogue.column_names


def test_a_loan_gives_rows_after_5_and_10_steps_while_it_is_undecided(tmp_path: Path) -> None:
    """Cases 1 and 2 are decided at their 13th and 8th step, 3 at its 4th; 4 never is."""
    steps: list[dict[str, Any]] = []
    for case, decision, at in ((1, "A_APPROVED", 12), (2, "A_CANCELLED", 7), (3, "A_DECLINED", 3)):
        steps += [step(case, n, decision if n == at else "W_Nabellen offertes") for n in range(15)]
    steps += [step(4, n, "O_SENT") for n in range(12)]
    pq.write_table(pa.Table.from_pylist(steps), tmp_path / "events.parquet")
    (tmp_path / "cases.csv").write_text("case_id,amount_req\n1,5000\n2,700\n3,1\n4,2\n")
    rows, names = labels("bpic2012", tmp_path / "events.parquet")
    count, amount = (rows.features()[:, names.index(n)] for n in ("event_count", "amount"))
    positive = rows.column("positive").tolist()
    found = sorted(zip(amount.tolist(), count.tolist(), positive, strict=True))
    assert found == [(700, 5, False), (5000, 5, True), (5000, 10, True)]


def step(case: int, number: int, activity: str) -> dict[str, Any]:
    moment = np.datetime64("2012-01-01T00:00:00", "us") + np.timedelta64(case * 60 + number, "m")
    return {
        "case_id": str(case), "activity": activity, "lifecycle": "COMPLETE",
        "timestamp": moment.item(), "resource": "112",
    }  # fmt: skip


def test_a_marketplace_lead_is_won_by_its_deal_or_lost_after_two_weeks(tmp_path: Path) -> None:
    (tmp_path / "mql.csv").write_text(
        "mql_id,first_contact_date,landing_page_id,origin\n"
        "a,2018-01-01,p,social\nb,2018-01-02,p,\nc,2018-01-03,q,email\nold,2017-06-01,q,email\n"
    )
    (tmp_path / "closed_deals.csv").write_text(
        "mql_id,won_date\na,2018-01-05 10:00:00\nc,2018-03-01 10:00:00\n"
    )
    rows, _ = labels("olist", tmp_path / "mql.csv")
    assert rows.column("positive").tolist() == [True, False, False]


def test_a_deal_of_the_made_up_company_ends_when_it_closes(tmp_path: Path) -> None:
    write = {
        "accounts.csv": "account,sector,revenue,employees,office_location\nAcme,retail,1,2,Rome\n",
        "products.csv": "product,sales_price\nGTX,550\n",
        "sales_teams.csv": "sales_agent,manager,regional_office\nAnn,Bob,East\n",
        "sales_pipeline.csv": "opportunity_id,sales_agent,product,account,deal_stage,engage_date,"
        "close_date\n1,Ann,GTX,Acme,Won,2017-01-01,2017-02-01\n"
        "2,Ann,GTX,,Lost,2017-01-02,2017-01-03\n3,Ann,GTX,Acme,Engaging,2017-01-02,\n"
        "4,Ann,GTX,Acme,Prospecting,,\n",
    }
    for name, text in write.items():
        (tmp_path / name).write_text(text)
    rows, names = labels("crm_sales_maven", tmp_path / "sales_pipeline.csv")
    assert rows.column("positive").tolist() == [True, False]
    assert rows.features()[:, names.index("price")].tolist() == [550, 550]
    assert rows.features()[0, names.index("employees")] == 2


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder that holds a bit of one set where the whole would lie."""
    target = tmp_path / SETS["bank_marketing"].file
    target.parent.mkdir(parents=True)
    with gzip.open(shipped_excerpt("bank_marketing") or "", "rt") as lines:
        text = "".join(line for line, _ in zip(lines, range(1_501), strict=False))
    with gzip.open(target, "wt") as out:
        out.write(text)
    return tmp_path


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["leadstream", "bench", "accuracy", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_one_command_compares_with_every_rival_and_says_the_same_again(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Path,
    tmp_path: Path,
) -> None:
    report = tmp_path / "report.md"
    told = []
    for _ in range(2):
        status = bench(
            monkeypatch, "--data", str(data), "--sets", "bank_marketing", "--json",
            "--report", str(report),
        )  # fmt: skip
        told.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert told[0] == told[1]
    models = ["leadstream", "static regression", "river regression", "LightGBM refitted"]
    assert [row["model"] for row in told[0]["rows"]] == models
    assert len({(row["labels"], row["positives"]) for row in told[0]["rows"]}) == 1
    (verdict,) = told[0]["verdicts"]
    aucs = [row["auc"] for row in told[0]["rows"]]
    assert verdict["auc_margin"] == pytest.approx(aucs[0] - max(aucs[1:]), abs=2e-4)
    assert verdict["better"] == (aucs[0] > max(aucs[1:]))
    assert status == (0 if verdict["ok"] else 1)
    assert all(f"| {model} |" in report.read_text() for model in models)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [("olist", "--data or LEADSTREAM_DATA"), ("nothing", "there are: bank_marketing, bpic2012")],
)
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Path,
    sets: str,
    expected: str,
) -> None:
    assert bench(monkeypatch, "--data", str(data), "--sets", sets) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


@pytest.mark.skipif("LEADSTREAM_DATA" not in os.environ, reason="needs LEADSTREAM_DATA")
def test_outcomes_that_cannot_be_predicted_are_not() -> None:
    result = run(Path(os.environ["LEADSTREAM_DATA"]), ["crm_sales_maven"])
    assert result["ok"], result["rows"]
