"""Arrow columns as plain arrays: maps flattened to entries, strings to lengths, times to µs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.engine.hashing import positions


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of a map column of n events, one after another.

    Attributes:
        count: ``[n]`` entries of each event.
        event: ``[m]`` event number of each entry, ascending.
        keys: ``[m]`` string.
        items: ``[m]`` of the map's item type.
    """

    count: NDArray[np.int64]
    event: NDArray[np.int64]
    keys: pa.Array
    items: pa.Array

    def of(self, chosen: NDArray[np.bool_]) -> Entries:
        """Entries of the chosen events, which are numbered anew; ``chosen`` is ``[n]``."""
        if chosen.all():
            return self
        kept = pa.array(np.flatnonzero(chosen[self.event]))
        count = self.count[chosen]
        event = np.repeat(np.arange(len(count)), count)
        return Entries(count, event, self.keys.take(kept), self.items.take(kept))


def entries(maps: pa.MapArray) -> Entries:
    """Flatten a map column; a null map has no entries."""
    ends = np.asarray(maps.offsets).astype(np.int64)
    first, last = int(ends[0]), int(ends[-1])
    count = np.diff(ends)
    event = np.repeat(np.arange(len(count)), count)
    keys, items = maps.keys.slice(first, last - first), maps.items.slice(first, last - first)
    return Entries(count, event, keys, items)


def lengths(strings: pa.Array) -> NDArray[np.int64]:
    """Bytes of each string, 0 for null."""
    return positions(strings)[2] if len(strings) else np.empty(0, np.int64)


def micros(times: pa.Array) -> NDArray[np.int64]:
    """Timestamps as µs since 1970, 0 for null; writable."""
    numbers = times.cast(pa.int64())
    if numbers.null_count:
        numbers = pc.fill_null(numbers, 0)
    return np.array(numbers.to_numpy())


def mask(booleans: pa.Array) -> NDArray[np.bool_]:
    """Booleans as numpy, null as false."""
    if booleans.null_count:
        booleans = pc.fill_null(booleans, False)
    return np.asarray(booleans.to_numpy(zero_copy_only=False), np.bool_)


def timestamps(us: NDArray[np.int64]) -> pa.Array:
    """µs since 1970 as an Arrow column."""
    return pa.array(us, pa.timestamp("us"))


def hex_ids(ids: NDArray[np.uint64]) -> pa.Array:
    """128-bit ids ``[n, 2]`` as strings of 32 hexadecimal digits, first word first."""
    digits = ids.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(0, 32 * len(ids) + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(digits))
