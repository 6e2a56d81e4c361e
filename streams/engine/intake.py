"""The bounded queue between the event loop and a task's thread.

The loop must never wait: when a task has enough, its partition is paused instead. Slices that do
not follow on what was accepted are dropped: after a seek, older ones may still be on their way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from streams.engine.records import RecordSlice

HIGH_ROWS = 32_768
LOW_ROWS = 8_192


class Intake:
    """Slices waiting for one task.

    Args:
        pause: Called from the loop when a partition shall not be fetched for now.
        resume: Called from the task's thread when it may be fetched again.
    """

    def __init__(
        self,
        pause: Callable[[TopicPartition], None],
        resume: Callable[[TopicPartition], None],
    ) -> None:
        self._pause, self._resume = pause, resume
        self._queue: deque[RecordSlice] = deque()
        self._rows = 0
        self._expected: dict[str, int] = {}
        self._paused: set[TopicPartition] = set()
        self._ready = threading.Condition()
        self._closed = False

    @property
    def waiting_rows(self) -> int:
        """Records that were accepted and not yet taken."""
        return self._rows

    def expect(self, offsets: Mapping[str, int]) -> None:
        """Drop everything and accept only what follows on these offsets."""
        with self._ready:
            self._queue.clear()
            self._rows = 0
            self._paused.clear()
            self._expected = dict(offsets)

    def offer(self, part: RecordSlice) -> bool:
        """Accept a slice if it follows on; returns whether it did. Never blocks."""
        with self._ready:
            expected = self._expected.get(part.topic, -1)
            if self._closed or not part.start_offset <= expected < part.next_offset:
                return False
            if len(part) and part.offset < expected:
                part = part.after(expected)
            self._expected[part.topic] = part.next_offset
            if not len(part):
                return True
            self._queue.append(part)
            self._rows += len(part)
            if self._rows >= HIGH_ROWS:
                tp = TopicPartition(part.topic, part.partition)
                if tp not in self._paused:
                    self._paused.add(tp)
                    self._pause(tp)
            self._ready.notify()
            return True

    def take(self, max_rows: int, timeout: float) -> list[RecordSlice]:
        """Return slices of one topic, about ``max_rows`` records; empty after ``timeout`` seconds."""
        with self._ready:
            if not self._queue and not self._closed:
                self._ready.wait(timeout)
            taken: list[RecordSlice] = []
            rows = 0
            while self._queue and not self._closed:
                head = self._queue[0]
                if taken and (head.topic != taken[0].topic or rows + len(head) > max_rows):
                    break
                if len(head) > max_rows:
                    taken.append(head.rows(0, max_rows))
                    self._queue[0] = head.rows(max_rows, len(head))
                    rows += max_rows
                    break
                taken.append(self._queue.popleft())
                rows += len(head)
            self._rows -= rows
            if self._paused and self._rows < LOW_ROWS:
                paused, self._paused = self._paused, set()
                for tp in paused:
                    self._resume(tp)
            return taken

    def close(self) -> None:
        """Accept and return nothing more; wakes a waiting :meth:`take`."""
        with self._ready:
            self._closed = True
            self._queue.clear()
            self._rows = 0
            self._ready.notify_all()
