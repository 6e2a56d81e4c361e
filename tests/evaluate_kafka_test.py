"""Promise A on a real broker: its figures are those of the local run, also when workers die."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluate_support import exact, excerpt

from connectors.files.mapping import load_mapping, with_outcome_delay
from connectors.files.pipeline import source_batches
from models.workspaces import load_workspaces
from streams.evaluation.local import Run, run_local
from streams.evaluation.through_kafka import run_through_kafka
from streams.settings import Settings
from streams.supervisor import Supervisor

ROWS = 600


class Bank:
    """An excerpt of the bank's contacts, with epochs short enough for many turns of the clock."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        shutil.copytree("infra/dev/workspaces/bank", folder / "workspaces" / "bank")
        clock = folder / "workspaces" / "bank" / "workspace.yaml"
        clock.write_text(clock.read_text().replace("epoch: 1d", "epoch: 6h"))
        self.configs = load_workspaces(folder / "workspaces")
        self.settings = Settings(kafka_bootstrap=bootstrap, workspaces=folder / "workspaces")
        self.log = folder / "workers.log"
        self._file = excerpt("bank_marketing", ROWS, folder)
        self._mapping = with_outcome_delay(load_mapping("bank_marketing"), "50 rows")

    def local(self) -> Run:
        batches = source_batches(self._mapping, [self._file])
        return run_local(self.configs, "bank", "conversion", batches)

    def through_kafka(self, partitions: int, **watch: Callable[..., None]) -> Run:
        batches = source_batches(self._mapping, [self._file])
        given: dict[str, Any] = {"partitions": partitions, "log_file": self.log, **watch}
        return run_through_kafka(
            self.settings, self.configs, "bank", "conversion", batches, **given
        )


@pytest.fixture
def bank(tmp_path: Path, kafka: str) -> Bank:
    return Bank(tmp_path, kafka)


def assert_equal(run: Run, local: Run) -> None:
    assert len(local.rows) == ROWS
    assert exact(run) == exact(local)
    assert (run.events, run.pending, run.rejected) == (local.events, local.pending, local.rejected)


def test_through_kafka_every_bit_is_that_of_the_local_run(bank: Bank) -> None:
    assert_equal(bank.through_kafka(1), bank.local())


def test_so_it_is_on_four_partitions_while_scoring_is_killed_again_and_again(bank: Bank) -> None:
    workers: list[Supervisor] = []
    killed: dict[int, int] = {}

    def kill(labels: int) -> None:
        """At the first labels, and when a third and two thirds of them are there."""
        pid = workers[0].pids.get("scoring")
        turn = 3 * labels // ROWS
        if labels and pid is not None and turn < 3 and turn not in killed:
            killed[turn] = pid
            os.kill(pid, signal.SIGKILL)

    run = bank.through_kafka(4, started=workers.append, progress=kill)
    assert len(set(killed.values())) >= 2
    assert workers[0].restarts >= 2
    assert_equal(run, bank.local())
