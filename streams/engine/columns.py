"""What goes into a processor and what comes out of it: Arrow columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class InputBatch:
    """Decoded records of one partition in offset order.

    Attributes:
        offsets: ``[n]`` int64 log offsets, ascending; gaps are records that were rejected.
        timestamps: ``[n]`` int64, the records' Kafka timestamps in ms.
        keys: ``[n]`` binary.
        values: ``[n]`` rows with the columns of the topic's schema.
    """

    topic: str
    partition: int
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    keys: pa.Array
    values: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.offsets)

    def rows(self, start: int, stop: int) -> InputBatch:
        """Return rows ``start`` to ``stop`` without copying."""
        return InputBatch(
            self.topic,
            self.partition,
            self.offsets[start:stop],
            self.timestamps[start:stop],
            self.keys.slice(start, stop - start),
            self.values.slice(start, stop - start),
        )


@dataclass(frozen=True, slots=True)
class OutputBatch:
    """Records to write to one topic.

    Attributes:
        keys: ``[n]`` binary or string.
        values: ``[n]`` rows with the columns of the topic's schema.
        partition: Where all of them go; by default each key's own partition (murmur2).
        copy_to: A second topic of the same schema that gets ``copy_rows`` of them (all by
            default), encoded once for both.
    """

    topic: str
    keys: pa.Array
    values: pa.RecordBatch
    partition: int | None = None
    copy_to: str | None = None
    copy_rows: NDArray[np.int64] | None = None

    def copy(self) -> OutputBatch | None:
        """What the second topic gets."""
        if self.copy_to is None:
            return None
        keys, values, rows = self.keys, self.values, self.copy_rows
        if rows is not None and len(rows) < len(values):
            keys, values = keys.take(pa.array(rows)), values.take(pa.array(rows))
        return OutputBatch(self.copy_to, keys, values, self.partition)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One input row for the dead letters.

    Attributes:
        row: Row number in the input batch.
        error_class: Name of the kind of error, for metrics and headers.
        message: What is wrong, so that a person can act on it.
        stage: Where it was found: decode, validate, process.
    """

    row: int
    error_class: str
    message: str
    stage: str = "validate"


@dataclass(slots=True)
class Outputs:
    """What one call of a processor produced."""

    records: list[OutputBatch] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
