"""One task on a real broker, fed by hand, with faults put where they hurt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import Producer

from streams.engine import poison
from streams.engine.columns import InputBatch, Outputs
from streams.engine.dead_letter import FloodGuard
from streams.engine.errors import RetryableError, StateError, TransactionAborted
from streams.engine.opening import TaskWiring
from streams.engine.processor import Context
from streams.engine.producer import TransactionalProducer
from streams.engine.state import State
from streams.engine.task import Task
from streams.settings import Settings
from tests.faults.chain import Chain
from tests.faults.lab import Lab, event, eventually
from tests.faults.slices import slice_of
from tests.faults.worker import wiring as chain_wiring

ROWS = 200
SLICE = 20


class Feeder:
    """The worker's side: feeds a log in memory from wherever the task wants to begin."""

    def __init__(self, task: Task, topic: str, log: list[bytes]) -> None:
        self.task, self.topic, self.log = task, topic, log
        self.owned = threading.Event()
        self.owned.set()
        self.asked = 0
        self.acknowledged = 0
        self.error: BaseException | None = None

    def prepare(self) -> None: ...
    def flow_changed(self, topic: str) -> None: ...
    def rewind(self, topic: str, offset: int) -> None:
        for at in range(offset, len(self.log), SLICE):
            self.task.offer(slice_of(self.log[at : at + SLICE], topic=self.topic, start=at))

    def acknowledge(self, topic: str, offset: int) -> None:
        self.acknowledged = offset

    def owns(self) -> bool:
        self.asked += 1
        return self.owned.is_set()

    def failed(self, error: BaseException) -> None:
        self.error = error


class Bench:
    """A task of the test job on partition 0 with its topics."""

    def __init__(self, lab: Lab, processor: Chain | None = None, **settings: Any) -> None:
        self.lab = lab
        options = {
            "kafka_bootstrap": lab.kafka,
            "topic_prefix": lab.prefix,
            "restart_backoff_s": 0.05,
            "batch_rows": SLICE,
            **settings,
        }
        self.wiring: TaskWiring = chain_wiring(Settings(**options), 1)
        self.wiring.processor = processor or Chain()
        self.log = [event(n) for n in range(ROWS)]
        lab.send(range(ROWS), keys=1)  # so that progress lies within the source
        self.feeder: Feeder
        self.task = Task(self.wiring, 0, self._feeder, FloodGuard(1000))

    def _feeder(self, task: Task) -> Feeder:
        self.feeder = Feeder(task, self.lab.source, self.log)
        return self.feeder

    def run(self, timeout_s: float = 40.0) -> list[int]:
        """Run to the end of the log; returns the numbers that came out."""
        self.task.start()
        eventually(lambda: self.feeder.acknowledged >= ROWS or self.feeder.error, timeout_s)
        self.task.close()
        assert self.feeder.error is None
        return self.numbers()

    def numbers(self) -> list[int]:
        """What is committed, in order; fails when the chain is broken."""
        rows = [row for rows in self.lab.got().values() for row in rows]
        assert [row["count"] for row in rows] == list(range(1, len(rows) + 1))
        return [row["number"] for row in rows]


@pytest.fixture
def lab(kafka: str, prefix: str, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(kafka, prefix, tmp_path, partitions=1)
    yield lab
    lab.close()


EVERYTHING = list(range(ROWS))


def once(at: int) -> Callable[[], bool]:
    """True at the ``at``-th call only."""
    calls = iter(range(10_000))
    return lambda: next(calls) == at


def test_a_transaction_that_times_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, now, commit = (
        Bench(lab, transaction_timeout_ms=1000),
        once(3),
        TransactionalProducer.commit,
    )

    def late(self: TransactionalProducer, give_up: Callable[[], bool]) -> None:
        if now():
            eventually(lambda: not lab.all_decided())  # the broker has the transaction's records
            eventually(lab.all_decided)  # and has aborted it
        commit(self, give_up)

    monkeypatch.setattr(TransactionalProducer, "commit", late)
    assert bench.run() == EVERYTHING
    assert bench.feeder.asked >= 1


def test_who_is_fenced_and_owns_nothing_writes_nothing(lab: Lab) -> None:
    bench = Bench(lab)
    bench.log[100] = event(100, "slow1.0")
    bench.task.start()
    eventually(lambda: bench.feeder.acknowledged >= 20)
    bench.feeder.owned.clear()
    intruder = Producer(
        {
            "bootstrap.servers": lab.kafka,
            "transactional.id": f"{lab.prefix}chain-0",
            "log_level": 0,
        }
    )
    intruder.init_transactions(30)
    eventually(lambda: bench.feeder.asked > 3)
    committed = len(bench.numbers())
    assert committed < ROWS
    bench.feeder.owned.set()
    eventually(lambda: bench.feeder.acknowledged >= ROWS)
    bench.task.close()
    assert bench.numbers() == EVERYTHING


class Moody(Chain):
    """Fails in a given way at given calls."""

    def __init__(self, errors: dict[int, Exception]) -> None:
        super().__init__()
        self.errors, self.calls = errors, 0

    def process(self, batch: InputBatch, state: State, context: Context) -> Outputs:
        self.calls += 1
        error = self.errors.get(self.calls)
        if error is not None:
            raise error
        return super().process(batch, state, context)


@pytest.mark.parametrize("at", [0, 1, 4])
def test_an_aborted_commit_drops_what_was_processed_on_top(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    chain = Moody({})
    bench, now, commit = Bench(lab, chain), once(at), TransactionalProducer.commit

    def aborted(self: TransactionalProducer, give_up: Callable[[], bool]) -> None:
        if now():
            # commit 0 belongs to the opening; from then on the next batch is processed meanwhile
            eventually(lambda: at == 0 or chain.calls > at)
            self.abort()
            raise TransactionAborted("as if the broker had")
        commit(self, give_up)

    monkeypatch.setattr(TransactionalProducer, "commit", aborted)
    assert bench.run() == EVERYTHING


def test_a_processor_that_says_later_is_asked_later(lab: Lab) -> None:
    later = RetryableError("not now")
    processor = Moody({2: later, 3: later, 7: later})
    bench = Bench(lab, processor)
    assert bench.run() == EVERYTHING
    assert processor.calls == ROWS / SLICE + 3


def test_a_bug_that_shows_now_and_then_costs_no_record(lab: Lab) -> None:
    processor = Moody({n: ValueError("a bug") for n in (2, 5, 6, 12)})
    bench = Bench(lab, processor)
    assert bench.run() == EVERYTHING
    assert lab.letters() == []


def test_a_failure_on_top_of_a_failed_commit_sets_no_record_aside(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that failed is not the next one then: setting it aside would lose those before."""
    bench = Bench(lab, Moody({n: ValueError("a bug") for n in (2, 4, 6, 8)}), batch_rows=1)
    commit = TransactionalProducer.commit
    calls = iter(range(10_000))

    def aborted(self: TransactionalProducer, give_up: Callable[[], bool]) -> None:
        if next(calls) in (1, 3, 5, 7):
            self.abort()
            raise TransactionAborted("as if the broker had")
        commit(self, give_up)

    monkeypatch.setattr(TransactionalProducer, "commit", aborted)
    found = bench.run()
    aside = [int(letter["offset"]) for letter in lab.letters()]
    assert sorted(found + aside) == EVERYTHING


def test_a_processor_that_fails_on_everything_stops_the_worker(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poison, "IN_A_ROW", 2)
    bench = Bench(lab, Moody({n: ValueError("a bug") for n in range(1000)}), batch_rows=1)
    bench.task.start()
    eventually(lambda: bench.feeder.error, 60)
    bench.task.close()
    assert isinstance(bench.feeder.error, StateError)
    assert "in a row" in str(bench.feeder.error)
    assert len(lab.letters()) == 2


class Waking(Chain):
    """Goes on by the clock where the log ends, up to a number."""

    def __init__(self, up_to: int) -> None:
        super().__init__()
        self.up_to = up_to

    def punctuate(self, state: State, context: Context) -> Outputs | None:
        assert context.policy == "live"
        table = state.table("keys")
        count = int(table.rows["count"][table.live_rows()].sum())
        if not ROWS <= count < self.up_to:
            return None
        values = pa.RecordBatch.from_pydict({"number": [count], "text": [""]})
        one, key = np.array([count]), pa.array([b"k"], pa.binary())
        return self.process(InputBatch("in", 0, one, one, key, values), state, context)


def test_what_a_processor_does_by_the_clock_is_committed(lab: Lab) -> None:
    bench = Bench(lab, Waking(ROWS + 2))
    bench.task.start()
    eventually(lambda: len(bench.numbers()) == ROWS + 2)
    bench.task.close()
    bench.wiring.processor = Waking(ROWS + 4)  # goes on from what the first one left
    again = Task(bench.wiring, 0, bench._feeder, FloodGuard(1000))
    again.start()
    eventually(lambda: len(bench.numbers()) == ROWS + 4)
    again.close()
    assert bench.numbers() == list(range(ROWS + 4))


def test_under_barrier_nothing_happens_by_the_clock(lab: Lab) -> None:
    bench = Bench(lab, Waking(ROWS + 2), policy="barrier")
    assert bench.run() == EVERYTHING


def test_closing_while_a_processor_waits(lab: Lab) -> None:
    bench = Bench(lab, Moody({n: RetryableError("never") for n in range(1, 1000)}))
    bench.task.start()
    eventually(lambda: bench.task.status.waiting)
    bench.task.close()
    assert not bench.task._thread.is_alive()
    assert bench.numbers() == []


def test_a_lost_position_opens_the_task_anew(lab: Lab) -> None:
    bench = Bench(lab)
    bench.log[50] = event(50, "slow0.3")
    bench.task.start()
    eventually(lambda: bench.feeder.acknowledged >= 20)
    bench.task.position_lost()
    eventually(lambda: bench.feeder.acknowledged >= ROWS)
    bench.task.close()
    assert bench.numbers() == EVERYTHING
