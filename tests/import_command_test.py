"""`leadstream import` without a broker: what is shown, which exit status, which advice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from streams.cli import import_


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADSTREAM_HOME", str(tmp_path / "home"))


def leadstream(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    import_.register(app)
    return CliRunner().invoke(app, ["import", *arguments])


def test_dry_run_shows_the_first_events_of_the_excerpt() -> None:
    result = leadstream("bank_marketing", "--dry-run", "--limit", "3", "--json")
    assert result.exit_code == 0
    shown = json.loads(result.stdout.splitlines()[-1])
    assert shown["rejected"] == 0
    assert [r["identifiers"]["crm_id"] for r in shown["records"]] == [
        "contact-1", "contact-2", "contact-3",
    ]  # fmt: skip
    assert shown["records"][0]["numbers"]["age"] == 56.0
    assert "job=housemaid" in leadstream("bank_marketing", "--dry-run").stdout


def test_dry_run_tells_of_rejected_rows(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("mail,when\na@x.com,2025-01-01\nb@x.com,[soon]\n")
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        "workspace: w\nsource: s\ntime: {column: when}\nidentifiers: {email: mail}\n"
        "events: [{kind: seen}]\n"
    )
    report = tmp_path / "rejected.jsonl"
    result = leadstream(str(mapping), str(file), "--dry-run", "--rejected", str(report))
    assert "email=a@x.com" in result.stdout
    assert "1 rows rejected" in result.stdout and "[soon]" in result.stdout.replace("\n", "")
    [line] = report.read_text().splitlines()
    assert json.loads(line)["row"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing_like_it"], "shipped: bank_marketing"),
        (["bank_marketing", "none.csv"], "none.csv: there is no such file"),
        (["bank_marketing", "--rate", "5", "--speed", "2x"], "not both"),
        (["bank_marketing", "--speed", "100x"], "give --rate"),
        (["online_retail", "--speed", "fast"], "a factor such as 100x"),
        (["bank_marketing", "--rate", "0"], "greater than 0"),
    ],
)
def test_wrong_input_is_status_2_with_advice(arguments: list[str], said: str) -> None:
    result = leadstream(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_a_broker_that_does_not_answer_is_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.files.kafka_sink._ANSWER_S", 0.5)
    result = leadstream("bank_marketing", "--bootstrap", "127.0.0.1:9")
    assert result.exit_code == 1
    assert "127.0.0.1:9 does not answer" in " ".join(result.stderr.split())
