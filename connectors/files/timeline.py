"""Puts records in the order of event time, whatever the order they come in.

Records are totally ordered by (time, row, event number). Sorted chunks wait until no earlier record
can come (the floor of :class:`connectors.files.convert.Converted`), then leave in windows of a
fixed size. A file without a promised order waits as a whole: beyond `memory_bytes` the waiting
records are written to a temporary Arrow file and mapped back, so that memory stays bounded; 16
bytes a record (time, order) always stay in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from connectors.files.events import Chunk
from connectors.files.records import INDICATORS_TOPIC

MEMORY_BYTES = 512 << 20
"""Waiting records above this go to a temporary file."""

_STEP_WINDOWS = 16
"""A release of everything gathers about this many windows at a time."""


@dataclass(frozen=True, slots=True)
class Window:
    """`count` records that follow each other in the total order.

    topics: (topic, places in the window [k], RecordBatch [k]) of each topic, indicators first;
    times: event times of all records in order, microseconds [count].
    """

    topics: tuple[tuple[str, NDArray[np.int64], Any], ...]
    times: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Records in the window."""
        return len(self.times)

    def part(self, start: int, stop: int) -> list[tuple[str, Any]]:
        """(topic, RecordBatch) of the records start:stop of the total order."""
        parts = []
        for topic, places, records in self.topics:
            first, last = np.searchsorted(places, (start, stop)).tolist()
            if last > first:
                parts.append((topic, records.slice(first, last - first)))
        return parts


@dataclass(slots=True)
class _Waiting:
    topic: str
    times: NDArray[np.int64]
    seq: NDArray[np.int64]
    records: Any
    spilled: bool = False


class Timeline:
    """Merges chunks. Use as a context manager: leaving removes the temporary files."""

    def __init__(self, window_records: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self._size = window_records
        self._memory_bytes = memory_bytes
        self._waiting: list[_Waiting] = []
        self._in_memory = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files = 0

    def __enter__(self) -> Timeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiting.clear()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def waiting(self) -> int:
        """Records that have not left yet."""
        return sum(len(chunk.times) for chunk in self._waiting)

    def push(self, chunk: Chunk) -> None:
        """Takes a chunk [k] in any order."""
        times, seq, records = chunk.times, chunk.seq, chunk.records
        if np.any(times[1:] < times[:-1]):
            order = np.lexsort((seq, times))
            times, seq, records = times[order], seq[order], records.take(pa.array(order))
        self._waiting.append(_Waiting(chunk.topic, times, seq, records))
        self._in_memory += records.nbytes
        if self._in_memory > self._memory_bytes:
            self._spill()

    def release(self, floor: int | None) -> Iterator[Window]:
        """Full windows of the records earlier than `floor`; with None every record."""
        if floor is not None:
            yield from self._before(floor, keep_part=True)
            return
        step = _STEP_WINDOWS * self._size
        every = [chunk.times for chunk in self._waiting]
        times = np.sort(np.concatenate(every)) if every else np.empty(0, dtype=np.int64)
        for boundary in np.unique(times[step::step]):
            yield from self._before(int(boundary), keep_part=True)
        yield from self._before(None, keep_part=False)

    def _before(self, floor: int | None, keep_part: bool) -> Iterator[Window]:
        due: list[_Waiting] = []
        later: list[_Waiting] = []
        for chunk in self._waiting:
            n = len(chunk.times)
            cut = n if floor is None else int(np.searchsorted(chunk.times, floor, side="left"))
            if cut:
                due.append(_part(chunk, 0, cut))
            if cut < n:
                later.append(_part(chunk, cut, n))
        total = sum(len(chunk.times) for chunk in due)
        taken = total - total % self._size if keep_part else total
        if not taken:
            return
        merged = _Merged(due)
        rest = merged.rest(taken)
        self._waiting = rest + later
        self._in_memory = sum(c.records.nbytes for c in self._waiting if not c.spilled)
        for start in range(0, taken, self._size):
            yield merged.window(start, min(start + self._size, taken))

    def _spill(self) -> None:
        """Writes the records in memory to a file, one a topic, and maps them back."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="leadstream-import-")
        for topic in sorted({chunk.topic for chunk in self._waiting if not chunk.spilled}):
            chunks = [c for c in self._waiting if c.topic == topic and not c.spilled]
            path = Path(self._folder.name) / f"{self._files}.arrow"
            self._files += 1
            with pa.ipc.new_file(str(path), chunks[0].records.schema) as writer:
                for chunk in chunks:
                    writer.write_batch(chunk.records)
            mapped = pa.ipc.open_file(pa.memory_map(str(path)))
            for i, chunk in enumerate(chunks):
                chunk.records = mapped.get_batch(i)
                chunk.spilled = True
        self._in_memory = 0


class _Merged:
    """Parts of chunks as one sequence in the total order."""

    def __init__(self, parts: list[_Waiting]) -> None:
        # Indicators sort first by name here, and so stand first in each window.
        self._topics = sorted({p.topic for p in parts}, key=lambda t: (t != INDICATORS_TOPIC, t))
        parts = sorted(parts, key=lambda part: self._topics.index(part.topic))
        times = np.concatenate([part.times for part in parts])
        seq = np.concatenate([part.seq for part in parts])
        order = np.lexsort((seq, times))
        self._times, self._seq, self._at = times[order], seq[order], order
        self._records = {
            topic: pa.concat_batches([p.records for p in parts if p.topic == topic])
            for topic in self._topics
        }
        ends = np.cumsum([self._records[topic].num_rows for topic in self._topics])
        self._ends = dict(zip(self._topics, ends.tolist(), strict=True))

    def _of_topic(self, topic: str, start: int, stop: int) -> tuple[NDArray[np.bool_], Any]:
        """(mask of the topic's records in start:stop, those records in order)."""
        at = self._at[start:stop]
        end = self._ends[topic]
        begin = end - self._records[topic].num_rows
        mask = (at >= begin) & (at < end)
        return mask, self._records[topic].take(pa.array(at[mask] - begin))

    def window(self, start: int, stop: int) -> Window:
        topics = []
        for topic in self._topics:
            mask, records = self._of_topic(topic, start, stop)
            if records.num_rows:
                topics.append((topic, np.flatnonzero(mask), records))
        return Window(tuple(topics), self._times[start:stop])

    def rest(self, start: int) -> list[_Waiting]:
        """What comes after `start`, one chunk a topic."""
        out = []
        for topic in self._topics:
            mask, records = self._of_topic(topic, start, len(self._at))
            if records.num_rows:
                times, seq = self._times[start:][mask], self._seq[start:][mask]
                out.append(_Waiting(topic, times, seq, records))
        return out


def _part(chunk: _Waiting, start: int, stop: int) -> _Waiting:
    if start == 0 and stop == len(chunk.times):
        return chunk
    return _Waiting(
        chunk.topic,
        chunk.times[start:stop],
        chunk.seq[start:stop],
        chunk.records.slice(start, stop - start),
        chunk.spilled,
    )
