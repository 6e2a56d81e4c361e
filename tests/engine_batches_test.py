"""What one transaction covers: parts, bad records, a rebuild's silence, and what is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streams.engine.batches import parts_of, read_slices, suspect_of
from streams.engine.changelog import PROGRESS_KEY, Changelog, Progress
from streams.engine.codec import Codec
from streams.engine.columns import InputBatch, OutputBatch, Outputs
from streams.engine.opening import OpenTask, TaskWiring
from streams.engine.processor import Context
from streams.engine.producer import MessageTooLarge
from streams.engine.transaction import Transaction, prepare
from streams.settings import Settings
from tests.faults.chain import Chain
from tests.faults.lab import event
from tests.faults.slices import slice_of
from tests.faults.worker import wiring as chain_wiring

CONTEXT = Context(0, {"in": 1, "out": 1}, None, "live", 0)


class CutAt(Chain):
    """Cuts every batch at given rows."""

    def __init__(self, *cuts: int) -> None:
        super().__init__()
        self._cuts = cuts

    def cuts(self, batch: InputBatch, context: Context) -> list[int]:
        return [*self._cuts]


class Sent:
    """Stands for the producer: keeps what is sent."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int | None, bytes | None, bytes | None]] = []

    def begin(self) -> None: ...
    def send(self, topic: str, keys: Any, values: Any, partition: int | None = None) -> None:
        self.records += [
            (topic, partition, k, v) for k, v in zip(keys.to_list(), values.to_list(), strict=True)
        ]

    def send_one(self, topic: str, key: Any, value: Any, headers: Any) -> None:
        self.records.append((topic, None, key, value))

    def topics(self) -> list[str]:
        return [r[0] for r in self.records]


@pytest.fixture
def wiring() -> TaskWiring:
    made = chain_wiring(Settings(kafka_bootstrap="127.0.0.1:1", topic_prefix="p."), 1)
    return made


def batch_of(wiring: TaskWiring, values: list[bytes | None], start: int = 0) -> Any:
    return read_slices(wiring, [slice_of(values, topic="p.in", start=start)])


def run(
    wiring: TaskWiring, values: list[bytes | None], progress: Progress
) -> tuple[list[Sent], list[Progress]]:
    """Process all parts; returns what each transaction sent and the progress after it."""
    state = wiring.processor.new_state()
    opened = OpenTask(None, state, Changelog(state), progress, 0.0)  # type: ignore[arg-type]
    sent, after = [], []
    for part in parts_of(wiring, batch_of(wiring, values), CONTEXT, progress):
        progress = progress.advanced(part.topic, part.end)
        outputs = Outputs()
        if len(part.batch):
            outputs = wiring.processor.process(part.batch, state, CONTEXT)
        sent.append(Sent())
        prepare(wiring, opened, part, outputs, progress).write(sent[-1])  # type: ignore[arg-type]
        after.append(progress)
    return sent, after


def test_parts_cover_every_record_once_whatever_the_cuts(wiring: TaskWiring) -> None:
    values = [event(n) if n % 3 else b"bad" for n in range(12)]
    for cuts in ([], [1], [3, 5], [8], [0, 99], list(range(9))):
        wiring.processor = CutAt(*cuts)
        parts = parts_of(wiring, batch_of(wiring, values), CONTEXT, Progress({"in": 0}))
        offsets = [o for p in parts for o in p.batch.offsets.tolist()]
        bad = [o for p in parts for o, _, _ in p.bad]
        assert offsets == [n for n in range(12) if n % 3]
        assert bad == [n for n in range(12) if not n % 3]
        ends = [p.end for p in parts]
        assert ends == sorted(ends)
        assert ends[-1] == 12
        for part, begin in zip(parts, [0, *ends], strict=False):
            inside = part.batch.offsets.tolist() + [o for o, _, _ in part.bad]
            assert all(begin <= o < part.end for o in inside)


@pytest.mark.parametrize("values", [[b"bad"] * 3, [b"bad"], [None]])
def test_a_batch_without_a_good_record_moves_on(
    wiring: TaskWiring, values: list[bytes | None]
) -> None:
    sent, after = run(wiring, values, Progress({"in": 0}))
    assert after[-1].offsets == {"in": len(values)}
    assert sent[0].topics() == ["p.in.dlq"] * len(values) + ["p.chain-changelog"] * 2


def test_outputs_letters_state_and_progress_are_in_one_transaction(wiring: TaskWiring) -> None:
    ((sent,), (after,)) = run(wiring, [event(1), b"bad", event(2, "reject")], Progress({"in": 0}))
    assert sent.topics() == ["p.out", "p.in.dlq", "p.in.dlq"] + ["p.chain-changelog"] * 3
    assert {r[1] for r in sent.records if r[0] == "p.chain-changelog"} == {0}
    assert sent.records[-1][2:] == (PROGRESS_KEY, after.to_bytes())
    assert after == Progress({"in": 3})


@pytest.mark.parametrize("until", [0, 1, 4, 5, 6, 9, 10, 12])
def test_a_rebuild_is_silent_below_its_end_and_nowhere_else(wiring: TaskWiring, until: int) -> None:
    values: list[bytes | None] = [event(n) for n in range(10)]
    values[0] = values[4] = values[5] = values[9] = b"bad"
    values[6] = event(6, "reject")
    sent, after = run(wiring, values, Progress({"in": 0}, suppress={"in": until}))
    outputs = sum(s.topics().count("p.out") for s in sent)
    letters = sum(s.topics().count("p.in.dlq") for s in sent)
    assert outputs == sum(n >= until for n in (1, 2, 3, 7, 8))
    assert letters == sum(n >= until for n in (0, 4, 5, 6, 9))
    assert after[-1].offsets == {"in": 10}
    assert after[-1].suppress == ({"in": 12} if until == 12 else {})
    changes = {r[2]: r[3] for s in sent for r in s.records if r[0] == "p.chain-changelog"}
    whole, _ = run(wiring, values, Progress({"in": 0}))
    for key, value in changes.items():  # the state does not depend on it
        if key != PROGRESS_KEY:
            assert value == {r[2]: r[3] for s in whole for r in s.records}[key]


def test_suspects(wiring: TaskWiring) -> None:
    slices = [slice_of([event(1), b"bad"], [b"a", b"b"], topic="p.in", start=5)]
    whole = suspect_of(wiring, slices)
    assert (whole.topic, whole.offset, whole.end, whole.record) == ("in", 5, 7, None)
    assert whole.letter(ValueError("x"), wiring, 3) is None
    one = suspect_of(wiring, [slices[0].rows(1, 2)])
    letter = one.letter(ValueError("x"), wiring, 3)
    assert letter is not None
    assert (letter.topic, letter.offset, letter.key, letter.value) == ("p.in", 6, b"b", b"bad")
    assert (letter.error_class, letter.attempt) == ("ProcessingError", 3)
    too_large = one.letter(MessageTooLarge("p.out", b"k", 9), wiring, 3)
    assert too_large is not None
    assert (too_large.error_class, too_large.value) == ("OutputTooLarge", b"bad")
    itself = one.letter(MessageTooLarge("p.in.dlq", b"k", 9), wiring, 3)
    assert itself is not None
    assert (itself.value, itself.value_omitted) == (None, 3)


def test_bookkeeping_moves_progress_only(wiring: TaskWiring) -> None:
    sent = Sent()
    progress = Progress({"in": 3}, attempts=2)
    Transaction.bookkeeping(wiring, 0, progress, []).write(sent)  # type: ignore[arg-type]
    assert sent.records == [("p.chain-changelog", 0, PROGRESS_KEY, progress.to_bytes())]


def test_a_copy_is_the_same_bytes_on_a_second_topic():
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
    avro = '{"type":"record","name":"A","fields":[{"name":"x","type":"long"}]}'
    made = OutputBatch(
        "a",
        pa.array(["k0", "k1", "k2"]),
        pa.record_batch({"x": pa.array([1, 2, 3])}, schema=schema),
        1,
        "b",
        np.array([0, 2]),
    )
    second = made.copy()
    assert second is not None
    assert (second.topic, second.partition) == ("b", 1)
    assert second.keys.to_pylist() == ["k0", "k2"]
    assert second.values.column("x").to_pylist() == [1, 3]
    codec = Codec(avro, 7)
    assert list(codec.encode(second.values)) == [codec.encode(made.values)[i] for i in (0, 2)]
