"""From fetched slices to the parts that a processor is handed.

A part is a run of decoded rows that is committed in one transaction, with the undecodable records
among them. Where parts are cut never changes a result, only how much one transaction holds.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.engine.changelog import Progress
from streams.engine.codec import BadRow
from streams.engine.columns import InputBatch
from streams.engine.dead_letter import DeadLetter
from streams.engine.processor import Context
from streams.engine.producer import MessageTooLarge
from streams.engine.records import RecordSlice, joined

if TYPE_CHECKING:
    from streams.engine.opening import TaskWiring

_JOIN_BYTES = 256 << 10
"""Slices of a few records are decoded together: each call costs as much as a hundred records."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Where one row came from: its slice and its row there."""

    part: RecordSlice
    row: int

    def record(self) -> tuple[bytes | None, bytes | None]:
        """The original key and value."""
        one = self.part.rows(self.row, self.row + 1)
        return one.keys()[0], one.values()[0]


@dataclass(frozen=True, slots=True)
class Suspect:
    """Records of which one made processing fail: a logical topic's from ``offset`` below ``end``.

    ``record`` is there when it is a single one.
    """

    topic: str
    partition: int
    offset: int
    end: int
    record: SourceRow | None

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition} offsets {self.offset} to {self.end - 1}"

    def letter(
        self, cause: BaseException | None, wiring: TaskWiring, attempts: int
    ) -> DeadLetter | None:
        """The dead letter of a single record; ``None`` while there are several."""
        if self.record is None:
            return None
        key, value = self.record.record()
        topic = wiring.physical(self.topic)
        stage, error_class, omitted = "process", "ProcessingError", 0
        if isinstance(cause, MessageTooLarge):
            stage, error_class = "write", "OutputTooLarge"
            if cause.topic == f"{topic}.dlq":  # its letter is what was too large
                value, omitted = None, len(value or b"")
        last = traceback.extract_tb(cause.__traceback__)[-1:] if cause else []
        where = "".join(f" at {f.filename.rsplit('/', 1)[-1]}:{f.lineno}" for f in last)
        return DeadLetter(
            topic,
            self.partition,
            self.offset,
            key,
            value,
            stage,
            error_class,
            f"{type(cause).__name__}: {cause}{where}",
            wiring.processor.role,
            attempts,
            omitted,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Slices of one topic, decoded.

    Attributes:
        topic: Logical name.
        rows: Decoded rows over all slices.
        origin: ``[n, 2]`` slice number and row in the slice of each decoded row.
        bad: ``(offset, slice number, bad row)`` of what could not be decoded.
        end: Offset at which reading goes on.
    """

    topic: str
    slices: list[RecordSlice]
    rows: InputBatch
    origin: NDArray[np.int64]
    bad: list[tuple[int, int, BadRow]]
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one transaction covers: decoded rows, bad records, and the progress it makes.

    Attributes:
        silent_below: What records below this offset cause was written before; a rebuild only
            recomputes state from them. A part's rows are all below it or all at or beyond it.
    """

    topic: str
    batch: InputBatch
    sources: Batch
    first_row: int
    bad: list[tuple[int, int, BadRow]]
    end: int
    silent_below: int = 0

    @property
    def rows(self) -> int:
        """Records, good and bad."""
        return len(self.batch) + len(self.bad)

    @property
    def silent(self) -> bool:
        """Whether the rows shall change state but give no output."""
        return bool(len(self.batch)) and int(self.batch.offsets[0]) < self.silent_below

    @property
    def offset(self) -> int:
        """Offset of the first record."""
        offsets = [o for o, _, _ in self.bad[:1]] + self.batch.offsets[:1].tolist()
        return min(offsets, default=self.end)

    def source(self, row: int) -> SourceRow:
        """Origin of decoded row ``row`` of this part."""
        number, at = self.sources.origin[self.first_row + row].tolist()
        return SourceRow(self.sources.slices[number], at)

    def suspect(self) -> Suspect:
        """These records, when processing them failed."""
        record = None
        if self.rows == 1 and self.bad:
            _, number, bad = self.bad[0]
            record = SourceRow(self.sources.slices[number], bad.row)
        elif self.rows == 1:
            record = self.source(0)
        return Suspect(self.topic, self.batch.partition, self.offset, self.end, record)


def suspect_of(wiring: TaskWiring, slices: list[RecordSlice]) -> Suspect:
    """Whole slices of one topic, when even decoding or cutting them failed."""
    first = slices[0]
    one = SourceRow(first, 0) if sum(map(len, slices)) == 1 else None
    topic = wiring.logical(first.topic)
    return Suspect(topic, first.partition, first.offset, slices[-1].next_offset, one)


def read_slices(wiring: TaskWiring, slices: list[RecordSlice]) -> Batch:
    """Decode slices of one topic.

    Raises:
        RetryableError: a schema could not be looked up now.
    """
    slices = joined(slices, _JOIN_BYTES)
    topic = wiring.logical(slices[0].topic)
    codec = wiring.codec(topic)
    values, offsets, stamps, origin, bad = [], [], [], [], []
    keys: list[pa.Array] = []
    for number, part in enumerate(slices):
        decoded = codec.decode(part)
        rows = decoded.rows
        values.append(decoded.values)
        offsets.append(part.offsets[rows])
        stamps.append(part.timestamps[rows])
        own = part.packed_keys
        keys.append((own if len(rows) == len(part) else own.take(rows)).to_column())
        origin.append(np.column_stack([np.full(len(rows), number), rows]))
        bad += [(int(part.offsets[b.row]), number, b) for b in decoded.bad]
    batch = InputBatch(
        topic,
        slices[0].partition,
        np.concatenate(offsets),
        np.concatenate(stamps),
        keys[0] if len(keys) == 1 else pa.concat_arrays(keys),
        values[0] if len(values) == 1 else pa.concat_batches(values),
    )
    return Batch(topic, slices, batch, np.concatenate(origin), bad, slices[-1].next_offset)


def parts_of(wiring: TaskWiring, batch: Batch, context: Context, progress: Progress) -> list[Part]:
    """Cut a batch where the processor's learning clock or a rebuild's end wants it."""
    rows = batch.rows
    cuts = set(wiring.processor.cuts(rows, context)) if len(rows) else set()
    until = progress.suppress.get(batch.topic, 0)
    cuts |= {int(np.searchsorted(rows.offsets, until)), len(rows)}
    parts = []
    start, bad = 0, batch.bad  # in offset order, as slices and the bad rows in them are
    for stop in sorted(c for c in cuts if 0 < c <= len(rows)) or [0]:
        end = batch.end if stop == len(rows) else int(rows.offsets[stop])
        mine = [b for b in bad if b[0] < end]
        bad = bad[len(mine) :]
        parts.append(Part(batch.topic, rows.rows(start, stop), batch, start, mine, end, until))
        start = stop
    return parts
