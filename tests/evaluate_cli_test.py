"""``leadstream evaluate`` from end to end, and what it says when something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from evaluate_support import excerpt

from streams.cli import main as cli

FIGURES = {
    "labels",
    "positives",
    "auc",
    "average_precision",
    "log_loss",
    "brier",
    "ece",
    "lift_top_decile",
}
RUN = {
    "events",
    "events_per_s",
    "seconds",
    "pending",
    "rejected",
    "retracted",
    "rows_rejected",
    "ece_limit",
}


@pytest.fixture
def bank(tmp_path: Path) -> str:
    return str(excerpt("bank_marketing", 600, tmp_path))


def leadstream(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Exit status, output and errors of one command."""
    monkeypatch.setattr("sys.argv", ["leadstream", "evaluate", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def test_json_predictions_and_report_of_one_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bank: str, tmp_path: Path
) -> None:
    predictions, report = tmp_path / "out.parquet", tmp_path / "report.html"
    status, out, _ = leadstream(
        monkeypatch, capsys, "bank_marketing", bank, "--target", "conversion", "--json",
        "--label-delay-rows", "50", "--from-fraction", "0.25",
        "--predictions", str(predictions), "--report", str(report),
    )  # fmt: skip
    assert status == 0
    told = json.loads(out.splitlines()[-1])
    assert set(told) == FIGURES | RUN | {f"static_{name}" for name in FIGURES}
    assert (told["events"], told["pending"], told["rejected"]) == (1200, 0, 0)
    assert told["labels"] == pq.read_table(predictions).num_rows == 450
    page = report.read_text()
    assert "bank: conversion" in page and "bank_marketing" in page


def test_a_person_reads_a_table_with_the_baseline_beside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bank: str
) -> None:
    status, out, _ = leadstream(
        monkeypatch, capsys, "bank_marketing", bank, "--target", "conversion"
    )
    assert status == 0
    assert "static regression" in out
    assert "300 labels judged" in out


def test_partitions_do_not_change_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bank: str
) -> None:
    told = []
    for partitions in ("1", "3"):
        _, out, _ = leadstream(
            monkeypatch, capsys, "bank_marketing", bank, "--target", "conversion", "--json",
            "--partitions", partitions,
        )  # fmt: skip
        told.append(
            {k: v for k, v in json.loads(out).items() if k not in ("seconds", "events_per_s")}
        )
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("mapping", "file", "target", "words"),
    [
        ("bank_marketing", "{bank}", "churn", ["bank/churn", "bank/conversion", "shop/conversion"]),
        ("bank_marketing", "{bank}.missing", "conversion", ["g.csv.missing'doesnotexist"]),
        ("online_shoppers", "{bank}", "conversion", ["hasnocolumn'Month'"]),
        ("no_such_mapping", "{bank}", "conversion", ["no_such_mapping", "bank_marketing"]),
        ("online_retail", "{bank}", "conversion", ["retail/conversion"]),
    ],
)
def test_what_is_wrong_is_said_in_a_line_not_in_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bank: str,
    mapping: str,
    file: str,
    target: str,
    words: list[str],
) -> None:
    status, out, err = leadstream(
        monkeypatch, capsys, mapping, file.format(bank=bank), "--target", target
    )
    assert status == 2
    assert out == ""
    assert "Traceback" not in err
    plain = "".join(err.replace("│", "").split())  # lines are broken for the terminal
    for word in words:
        assert word in plain


@pytest.mark.parametrize("all_of_them", [True, False])
def test_rows_that_the_mapping_rejects_are_shown(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bank: str,
    tmp_path: Path,
    all_of_them: bool,
) -> None:
    monkeypatch.setenv("LEADSTREAM_HOME", str(tmp_path / "home"))
    head, *rows = Path(bank).read_text().splitlines()
    age = head.split(";").index("age") if ";" in head else head.split(",").index("age")
    mark = ";" if ";" in head else ","
    spoiled = [mark.join([*r.split(mark)[:age], "old", *r.split(mark)[age + 1 :]]) for r in rows]
    file = tmp_path / "spoiled.csv"
    file.write_text("\n".join([head, *(spoiled if all_of_them else [*spoiled[:5], *rows[5:]])]))
    status, out, err = leadstream(
        monkeypatch, capsys, "bank_marketing", str(file), "--target", "conversion", "--json"
    )
    assert f"{len(rows) if all_of_them else 5:,} rows rejected" in err
    if all_of_them:
        assert status == 2 and "no event came out" in err
    else:
        assert status == 0 and json.loads(out)["rows_rejected"] == 5


def test_an_online_model_that_cannot_be_applied_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bank: str, tmp_path: Path
) -> None:
    folder = tmp_path / "workspaces"
    shutil.copytree("infra/dev/workspaces/bank", folder / "bank")
    file = folder / "bank" / "workspace.yaml"
    file.write_text(file.read_text().replace("model: mean", "model: naive_bayes.GaussianNB"))
    status, _, err = leadstream(
        monkeypatch, capsys, "bank_marketing", bank, "--target", "conversion",
        "--workspaces", str(folder),
    )  # fmt: skip
    assert status == 2
    assert "online.model" in err and "ftrl" in err


def test_rivals_are_judged_on_the_same_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bank: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    common = ("bank_marketing", bank, "--target", "conversion", "--label-delay-rows", "50")
    _, out, _ = leadstream(
        monkeypatch, capsys, *common, "--rivals", "--json", "--report", str(report)
    )
    told = json.loads(out.splitlines()[-1])
    rivals = told["rivals"]
    assert set(rivals) == {"static_regression", "river_regression", "lightgbm"}
    for figures in rivals.values():
        assert set(figures) == FIGURES
        assert (figures["labels"], figures["positives"]) == (told["labels"], told["positives"])
    assert rivals["static_regression"]["auc"] == told["static_auc"]
    assert "river regression" in report.read_text()
    _, out, _ = leadstream(monkeypatch, capsys, *common, "--rivals")
    assert "LightGBM" in out


def test_where_judges_some_of_the_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bank: str
) -> None:
    common = ("bank_marketing", bank, "--target", "conversion", "--json")
    labels = []
    for where in (
        (),
        ("--where", "campaign=1"),
        ("--where", "campaign=1", "--where", "previous=1"),
    ):
        _, out, _ = leadstream(monkeypatch, capsys, *common, *where)
        labels.append(json.loads(out.splitlines()[-1])["labels"])
    assert labels[0] > labels[1] > labels[2]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("campain=1", "no column 'campain'; did you mean 'campaign'?"),
        ("campaign", "give a column and a number"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bank: str,
    where: str,
    expected: str,
) -> None:
    status, _, err = leadstream(
        monkeypatch, capsys, "bank_marketing", bank, "--target", "conversion", "--where", where
    )
    assert status == 2
    assert expected in " ".join(err.split())
