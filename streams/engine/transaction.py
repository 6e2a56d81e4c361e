"""What one transaction writes: outputs, dead letters, changed state and progress, together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streams.engine.batches import Part, SourceRow
from streams.engine.changelog import PROGRESS_KEY, ChangeRecords, Progress
from streams.engine.columns import OutputBatch, Outputs
from streams.engine.dead_letter import DeadLetter
from streams.engine.packed import Packed
from streams.engine.producer import TransactionalProducer

if TYPE_CHECKING:
    from streams.engine.opening import OpenTask, TaskWiring


@dataclass(frozen=True, slots=True)
class Encoded:
    """Records of one topic, ready to be sent."""

    topic: str
    keys: Packed
    values: Packed
    partition: int | None


@dataclass(slots=True)
class Transaction:
    """All records of one commit.

    Attributes:
        events: Input records that it covers, for metrics.
        newest_ms: Kafka timestamp of the newest of them.
    """

    changelog: str
    partition: int
    outputs: list[Encoded]
    dead_letters: list[DeadLetter]
    changes: ChangeRecords
    progress: Progress
    events: int = 0
    newest_ms: int = 0
    timestamps: list[int] = field(default_factory=list)

    @classmethod
    def bookkeeping(
        cls, wiring: TaskWiring, partition: int, progress: Progress, letters: list[DeadLetter]
    ) -> Transaction:
        """A transaction that moves progress only."""
        topic = wiring.changelog_topic
        return cls(topic, partition, [], letters, ChangeRecords(), progress)

    @property
    def records_out(self) -> int:
        """Output records, dead letters and changelog left out."""
        return sum(len(o.values) for o in self.outputs)

    def write(self, producer: TransactionalProducer) -> None:
        """Begin and produce everything; the caller commits.

        Raises:
            MessageTooLarge: an output can never be written.
            TransactionAborted: the client refused records.
        """
        producer.begin()
        for out in self.outputs:
            producer.send(out.topic, out.keys, out.values, out.partition)
        now_us = time.time_ns() // 1000
        for letter in self.dead_letters:
            producer.send_one(
                f"{letter.topic}.dlq", letter.key, letter.value, letter.headers(now_us)
            )
        changes = self.changes
        changes.add(PROGRESS_KEY, self.progress.to_bytes())
        for keys, values in changes.runs():
            producer.send(self.changelog, keys, values, self.partition)


def prepare(
    wiring: TaskWiring, opened: OpenTask, part: Part, outputs: Outputs, progress: Progress
) -> Transaction:
    """Encode what a processor returned, and take what it changed."""
    encoded = [] if part.silent else _encoded(wiring, outputs)
    letters = _letters(wiring, part, outputs)
    return Transaction(
        wiring.changelog_topic,
        part.batch.partition,
        encoded,
        letters,
        opened.changelog.take_changes(),
        progress,
        part.rows,
        int(part.batch.timestamps[-1]) if len(part.batch) else 0,
    )


def prepare_punctuation(
    wiring: TaskWiring, opened: OpenTask, partition: int, outputs: Outputs, progress: Progress
) -> Transaction:
    """Encode what a processor returned by the clock, and take what it changed."""
    encoded, changes = _encoded(wiring, outputs), opened.changelog.take_changes()
    return Transaction(wiring.changelog_topic, partition, encoded, [], changes, progress)


def _encoded(wiring: TaskWiring, outputs: Outputs) -> list[Encoded]:
    encoded: list[Encoded] = []
    for out in outputs.records:
        if not out.values.num_rows:
            continue
        values, keys = wiring.codec(out.topic).pack(out.values), Packed.of_column(out.keys)
        encoded.append(Encoded(wiring.physical(out.topic), keys, values, out.partition))
        if out.copy_to is not None:
            encoded.append(_copied(wiring, out, encoded[-1]))
    return encoded


def _copied(wiring: TaskWiring, out: OutputBatch, made: Encoded) -> Encoded:
    """The rows of ``out`` for its second topic, as bytes that are there already."""
    topic = str(out.copy_to)
    keys, values = made.keys, made.values
    if wiring.codec(topic).header != wiring.codec(out.topic).header:
        values = wiring.codec(topic).pack(out.values)  # a registry may have an id for each topic
    if out.copy_rows is not None and len(out.copy_rows) < len(values):
        keys, values = keys.take(out.copy_rows), values.take(out.copy_rows)
    return Encoded(wiring.physical(topic), keys, values, made.partition)


def _letters(wiring: TaskWiring, part: Part, outputs: Outputs) -> list[DeadLetter]:
    topic, role = wiring.physical(part.topic), wiring.processor.role
    letters = []
    for offset, number, bad in part.bad:
        if offset < part.silent_below:
            continue
        key, value = SourceRow(part.sources.slices[number], bad.row).record()
        letters.append(
            DeadLetter(
                topic,
                part.batch.partition,
                offset,
                key,
                value,
                "decode",
                bad.error_class,
                bad.message,
                role,
            )
        )
    for rejection in outputs.rejections if not part.silent else ():
        key, value = part.source(rejection.row).record()
        letters.append(
            DeadLetter(
                topic,
                part.batch.partition,
                int(part.batch.offsets[rejection.row]),
                key,
                value,
                rejection.stage,
                rejection.error_class,
                rejection.message,
                role,
            )
        )
    return letters
