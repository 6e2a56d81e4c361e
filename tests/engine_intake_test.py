"""Slices are taken once each and in order, whatever was on its way before a seek."""

from __future__ import annotations

import random

import pytest

from streams.engine.intake import BATCH_BYTES, HIGH_BYTES, HIGH_ROWS, LOW_ROWS, Intake
from streams.engine.records import RecordSlice
from tests.faults.slices import slice_of


class Loop:
    """The consumer's side: what was asked of it."""

    def __init__(self) -> None:
        self.seeks: list[tuple[str, int]] = []
        self.changes: list[str] = []
        self.intake = Intake(self.changes.append, lambda t, o: self.seeks.append((t, o)))


def part(start: int, count: int, topic: str = "in", end: int | None = None) -> RecordSlice:
    values: list[bytes | None] = [str(start + i).encode() for i in range(count)]
    return slice_of(values, topic=topic, start=start, end=end)


def taken(intake: Intake, max_rows: int = 1000) -> list[int]:
    return [o for s in intake.take(max_rows, 0.0) for o in s.offsets.tolist()]


@pytest.mark.parametrize("seed", range(60))
def test_each_record_once_and_in_order_whatever_is_on_its_way(seed: int) -> None:
    """A log of 100 records, a consumer that follows seeks late, loses slices and repeats others."""
    rng, loop = random.Random(seed), Loop()
    begin = rng.randint(0, 30)
    intake, at, queue, got, restarts = loop.intake, 0, [], [], 0
    intake.expect({"in": begin})
    for _ in range(3000):
        if loop.seeks and rng.random() < 0.5:
            _, at = loop.seeks.pop(0)
        action = rng.random()
        if action < 0.5 and at < 100:
            size = min(rng.randint(1, 20), 100 - at)
            queue.append(part(at, size))
            at += size
        elif action < 0.8 and queue:
            intake.offer(queue.pop(0))
        elif action < 0.85 and queue:
            queue.pop(rng.randrange(len(queue)))  # a slice that a rebalance lost
        elif action < 0.95:
            got += taken(intake, rng.randint(1, 15))
        elif restarts < 3:  # the task opens anew at what it had committed
            restarts += 1
            got = got[: rng.randint(0, len(got))]
            intake.expect({"in": begin + len(got)})
            loop.seeks.append(("in", begin + len(got)))
        intake._rewound.clear()  # as if a second had passed
        idle = at >= 100 and not queue and not loop.seeks and not intake.waiting_rows
        if idle and begin + len(got) < 100:
            loop.seeks.append(("in", intake.positions["in"]))  # a later fetch shows the gap
    assert got == list(range(begin, begin + len(got)))
    assert len(got) == 100 - begin


def test_a_gap_sends_the_consumer_back_once() -> None:
    loop = Loop()
    loop.intake.expect({"in": 10})
    assert not loop.intake.offer(part(15, 5))
    assert not loop.intake.offer(part(20, 5))
    assert loop.seeks == [("in", 10)]
    assert loop.intake.offer(part(5, 8))
    assert taken(loop.intake) == [10, 11, 12]


def test_lost_slices_are_asked_for_as_often_as_they_are_lost() -> None:
    loop = Loop()
    loop.intake.fetch_again("in")  # nobody has said yet where to begin
    loop.intake.expect({"in": 10})
    assert loop.intake.offer(part(10, 5))
    loop.intake.fetch_again("in")
    loop.intake.fetch_again("in")
    assert loop.seeks == [("in", 15), ("in", 15)]


def test_nothing_is_accepted_before_the_task_says_where_and_after_it_closed() -> None:
    loop = Loop()
    assert not loop.intake.offer(part(0, 5))
    loop.intake.expect({"in": 0})
    loop.intake.close()
    assert not loop.intake.offer(part(0, 5))
    assert loop.intake.take(10, 5.0) == []
    assert loop.seeks == []


def test_slices_without_records_move_on() -> None:
    loop = Loop()
    loop.intake.expect({"in": 0})
    assert loop.intake.offer(part(0, 0, end=4))
    assert loop.intake.offer(part(4, 2, end=9))
    assert loop.intake.offer(part(9, 1))
    assert taken(loop.intake) == [4, 5, 9]


def test_a_full_queue_pauses_and_a_drained_one_resumes() -> None:
    loop = Loop()
    intake = loop.intake
    intake.expect({"in": 0})
    assert intake.wants("in")
    at = 0
    while intake.wants("in"):
        intake.offer(part(at, 1000))
        at += 1000
    assert HIGH_ROWS <= at <= HIGH_ROWS + 1000
    assert loop.changes == ["in"]
    while not intake.wants("in"):
        taken(intake, 1000)
    assert intake.waiting_rows < LOW_ROWS
    assert loop.changes == ["in", "in"]


def test_large_records_pause_and_cut_by_bytes() -> None:
    loop = Loop()
    intake = loop.intake
    intake.expect({"in": 0})
    big = b"x" * (4 << 20)
    at = 0
    while intake.wants("in"):
        intake.offer(slice_of([big] * 6, start=at))
        at += 6
    assert at * len(big) <= HIGH_BYTES + 6 * len(big)
    sizes = []
    while rows := taken(intake):
        sizes.append(len(rows))
    assert sum(sizes) == at
    assert max(sizes) * len(big) <= BATCH_BYTES
    huge = b"x" * (BATCH_BYTES + 1)
    intake.offer(slice_of([huge, b"small"], start=at))
    assert taken(intake) == [at]
    assert taken(intake) == [at + 1]


def test_topics_are_not_mixed_in_one_batch() -> None:
    loop = Loop()
    loop.intake.expect({"a": 0, "b": 0})
    for topic, at in (("a", 0), ("b", 0), ("b", 5), ("a", 5)):
        loop.intake.offer(part(at, 5, topic))
    batches = [[s.topic for s in loop.intake.take(100, 0.0)] for _ in range(3)]
    assert batches == [["a"], ["b", "b"], ["a"]]
