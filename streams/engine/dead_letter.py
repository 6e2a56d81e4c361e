"""Dead letters: original key and value untouched, the cause in headers, a limit on the flood."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from streams.engine.errors import DeadLetterFlood


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record for ``<topic>.dlq``; the fields are those of ``dead_letter.avsc``.

    ``value_omitted`` is the size of a value that is too large even for the dead letters; the
    record stands in the source topic, at the offset that the headers say.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    stage: str
    error_class: str
    message: str
    role: str
    attempt: int = 1
    value_omitted: int = 0

    def headers(self, failed_at_us: int) -> list[tuple[str, bytes]]:
        """Kafka headers that say what happened and where the record came from."""
        values = {
            "stage": self.stage,
            "error_class": self.error_class,
            "error_message": self.message[:2000],
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
            "attempt": str(self.attempt),
            "role": self.role,
            "failed_at": str(failed_at_us),
        }
        if self.value_omitted:
            values["value_omitted"] = str(self.value_omitted)
        # a message may quote bytes that are no text
        return [(name, text.encode("utf-8", "replace")) for name, text in values.items()]


class FloodGuard:
    """Counts dead letters over the last minute, of all tasks of a worker.

    Args:
        limit_per_minute: More than these stop the worker: a flood is an outage, not data.
    """

    def __init__(self, limit_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit_per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, count: int) -> None:
        """Count dead letters of now.

        Raises:
            DeadLetterFlood: more than the limit within a minute.
        """
        if not count:
            return
        now = self._clock()
        with self._lock:
            self._seen.append((now, count))
            self._total += count
            while self._seen[0][0] < now - 60:
                self._total -= self._seen.popleft()[1]
            total = self._total
        if total > self.limit:
            raise DeadLetterFlood(
                f"{total} dead letters within a minute, more than the {self.limit} allowed "
                "(dead_letter_limit_per_minute); look at what is sent to the topic and mend it"
            )
