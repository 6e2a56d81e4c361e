"""Rates, robust scales, indicators, a stack, a river model in an evaluation: the same anywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from evaluate_cli_test import leadstream
from evaluate_support import exact, excerpt

from connectors.files.mapping import load_mapping, with_outcome_delay
from connectors.files.pipeline import source_batches
from models.workspaces import load_workspaces
from streams.evaluation.indicators import events_only, publications
from streams.evaluation.local import Run, run_local
from streams.evaluation.through_kafka import run_through_kafka
from streams.settings import Settings

ROWS = 600
INDICATORS = """
indicators:
  - {name: sentiment, series: sentiment, words: sentiment of households, unit: points}
"""
# the excerpt begins on 1 May 2008 with a contact every 34 minutes
PUBLISHED = """series,observed_at,published_at,value
sentiment,2008-04-01T00:00:00Z,2008-05-02T00:00:00Z,1.5
sentiment,2008-05-01T00:00:00Z,2008-05-08T00:00:00Z,2.5
sentiment,2008-05-01T00:00:00Z,2008-05-11T00:00:00Z,3.5
"""


def workspaces(folder: Path) -> Path:
    """The bank with everything that is learned of rows or comes from outside."""
    made = folder / "workspaces"
    shutil.copytree("infra/dev/workspaces/bank", made / "bank")
    clock, features = (made / "bank" / f"{n}.yaml" for n in ("workspace", "features"))
    text = clock.read_text().replace("epoch: 1d", "epoch: 6h")
    text = text.replace("online:", "online:\n  river: naive_bayes.GaussianNB")
    settings = "{mixture: stack, refit_labels: 200, trees: 10}"
    clock.write_text(text.replace("champion: {}", f"champion: {settings}"))
    text = features.read_text().replace("words: job,", "words: job, rate: {},")
    text = text.replace("{kind: standard, center: 40, scale: 10}", "{kind: robust}")
    features.write_text(text + INDICATORS)
    return made


class Bank:
    """An excerpt of the bank's contacts and a made-up series."""

    def __init__(self, folder: Path) -> None:
        self.folder = workspaces(folder)
        self.configs = load_workspaces(self.folder)
        self.series = folder / "series.csv"
        self.series.write_text(PUBLISHED)
        self.file = excerpt("bank_marketing", ROWS, folder)
        self.mapping = with_outcome_delay(load_mapping("bank_marketing"), "50 rows")

    def local(self, partitions: int = 1) -> Run:
        batches = events_only(source_batches(self.mapping, [self.file]))
        published = publications(self.mapping, [self.file], [self.series], pytest.fail)
        return run_local(
            self.configs, "bank", "conversion", batches, indicators=published,
            partitions=partitions,
        )  # fmt: skip


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def test_partitions_change_nothing_and_rows_know_what_was_published(bank: Bank) -> None:
    run = bank.local()
    assert exact(bank.local(3)) == exact(run)
    config = bank.configs["bank"]
    names = config.catalogue.column_names
    features, times = run.rows.features(), run.rows.column("row_time")
    second, eighth, eleventh = (
        np.datetime64(f"2008-05-{day:02d}", "us").astype(np.int64) for day in (2, 8, 11)
    )
    said = np.select([times >= eleventh, times >= eighth, times >= second], [3.5, 2.5, 1.5], np.nan)
    assert np.array_equal(features[:, names.index("sentiment")], said, equal_nan=True)
    assert len(np.unique(said)) >= 3
    rates = features[:, names.index("job.rate")]
    assert (rates[:50] == 0).all() and len(np.unique(rates)) > 50


def test_through_kafka_every_bit_is_the_same(bank: Bank, kafka: str, tmp_path: Path) -> None:
    settings = Settings(kafka_bootstrap=kafka, workspaces=bank.folder)
    run = run_through_kafka(
        settings, bank.configs, "bank", "conversion",
        source_batches(bank.mapping, [bank.file]),
        indicators=publications(bank.mapping, [bank.file], [bank.series], pytest.fail),
        partitions=2, log_file=tmp_path / "workers.log",
    )  # fmt: skip
    assert exact(run) == exact(bank.local())


def test_a_file_of_indicators_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bank: Bank
) -> None:
    common = (
        "bank_marketing", str(bank.file), "--target", "conversion", "--json",
        "--workspaces", str(bank.folder), "--label-delay-rows", "50",
    )  # fmt: skip
    told = []
    for more in ((), ("--indicators", str(bank.series))):
        status, out, _ = leadstream(monkeypatch, capsys, *common, *more)
        assert status == 0
        told.append(json.loads(out)["log_loss"])
    assert told[0] != told[1]
    bank.series.write_text("series,when\nx,2008-05-01\n")
    status, _, error = leadstream(monkeypatch, capsys, *common, "--indicators", str(bank.series))
    assert status != 0 and "has no column" in error
