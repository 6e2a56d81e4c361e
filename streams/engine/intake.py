"""The bounded queue between the event loop and a task's thread.

The loop must never wait: when a task has enough, its partition is paused instead. Slices come in
order or not at all: after a seek older ones may still be on their way, and a slice may get lost
when a fetch fails half-way or a rebalance stops the flow. So a slice is accepted only if it
follows on what was accepted before, and a gap sends the consumer back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from streams.engine.records import RecordSlice

HIGH_ROWS, LOW_ROWS = 98_304, 32_768
HIGH_BYTES, LOW_BYTES = 64 << 20, 16 << 20
BATCH_BYTES = 16 << 20
_REWIND_AGAIN_S = 1.0


class Intake:
    """Slices waiting for one task.

    Args:
        flow_changed: Called with a topic when :meth:`wants` may answer otherwise than before.
        rewind: Called with a topic and an offset when records are missing from there on.
    """

    def __init__(
        self, flow_changed: Callable[[str], None], rewind: Callable[[str, int], None]
    ) -> None:
        self._flow_changed, self._rewind = flow_changed, rewind
        self._queue: deque[tuple[RecordSlice, int]] = deque()
        self._rows = self._bytes = 0
        self._expected: dict[str, int] = {}
        self._paused: set[str] = set()
        self._rewound: dict[str, tuple[int, float]] = {}
        self._ready = threading.Condition()
        self._closed = False

    @property
    def waiting_rows(self) -> int:
        """Records that were accepted and not yet taken."""
        return self._rows

    @property
    def positions(self) -> dict[str, int]:
        """Offset, per topic, below which everything was accepted."""
        with self._ready:
            return dict(self._expected)

    def wants(self, topic: str) -> bool:
        """Whether the topic's partition shall be fetched now."""
        with self._ready:
            return not self._closed and topic in self._expected and topic not in self._paused

    def expect(self, offsets: Mapping[str, int]) -> None:
        """Drop everything and accept only what follows on these offsets."""
        with self._ready:
            self._queue.clear()
            self._rows = self._bytes = 0
            self._paused.clear()
            self._rewound.clear()
            self._expected = dict(offsets)

    def offer(self, part: RecordSlice) -> bool:
        """Accept a slice if it follows on; returns whether it did. Never blocks."""
        with self._ready:
            expected = self._expected.get(part.topic)
            if self._closed or expected is None or part.next_offset <= expected:
                return False
            if part.start_offset > expected:
                self._miss(part.topic, expected)
                return False
            if len(part) and part.offset < expected:
                part = part.after(expected)
            self._expected[part.topic] = part.next_offset
            if not len(part):
                return True
            self._queue.append((part, part.nbytes))
            self._rows += len(part)
            self._bytes += part.nbytes
            full = self._rows >= HIGH_ROWS or self._bytes >= HIGH_BYTES
            if full and part.topic not in self._paused:
                self._paused.add(part.topic)
                self._flow_changed(part.topic)
            self._ready.notify()
            return True

    def fetch_again(self, topic: str) -> None:
        """Go back to where accepted records end, since some were lost behind it."""
        with self._ready:
            expected = self._expected.get(topic)
            if expected is not None and not self._closed:
                self._rewind(topic, expected)

    def _miss(self, topic: str, expected: int) -> None:
        # many slices may be on their way behind the gap: one step back is enough for them
        now = time.monotonic()
        offset, again = self._rewound.get(topic, (-1, 0.0))
        if offset != expected or now > again:
            self._rewound[topic] = (expected, now + _REWIND_AGAIN_S)
            self._rewind(topic, expected)

    def take(self, max_rows: int, timeout: float) -> list[RecordSlice]:
        """Return slices of one topic, at most ``max_rows`` records and about 16 MB.

        Waits up to ``timeout`` seconds for some; empty when there are none.
        """
        with self._ready:
            if not self._queue and not self._closed:
                self._ready.wait(timeout)
            taken: list[RecordSlice] = []
            rows = size = 0
            while self._queue and not self._closed:
                head, head_size = self._queue[0]
                if taken and head.topic != taken[0].topic:
                    break
                if rows + len(head) > max_rows or size + head_size > BATCH_BYTES:
                    if not taken:
                        taken.append(self._cut_head(max_rows))
                    break
                self._queue.popleft()
                taken.append(head)
                rows += len(head)
                size += head_size
                self._rows -= len(head)
                self._bytes -= head_size
            if self._paused and self._rows < LOW_ROWS and self._bytes < LOW_BYTES:
                paused, self._paused = self._paused, set()
                for topic in sorted(paused):
                    self._flow_changed(topic)
            return taken

    def _cut_head(self, max_rows: int) -> RecordSlice:
        """Take as much of the first slice as fits, one record at least."""
        head, head_size = self._queue[0]
        sizes = np.maximum(head.key_length, 0) + np.maximum(head.value_length, 0)
        fits = int(np.searchsorted(np.cumsum(sizes), BATCH_BYTES, "right"))
        fits = max(1, min(fits, max_rows))
        if fits == len(head):
            self._queue.popleft()
        else:
            self._queue[0] = (head.rows(fits, len(head)), head_size - int(sizes[:fits].sum()))
        self._rows -= fits
        self._bytes -= int(sizes[:fits].sum())
        return head.rows(0, fits)

    def close(self) -> None:
        """Accept and return nothing more; wakes a waiting :meth:`take`."""
        with self._ready:
            self._closed = True
            self._queue.clear()
            self._rows = self._bytes = 0
            self._ready.notify_all()
