"""How fast records are sent: as fast as possible, at a rate, or as they happened but faster."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Pacer(Protocol):
    """Says how many of the next records are due."""

    def due(self, times: NDArray[np.int64], now: float) -> tuple[int, float]:
        """(how many of the records may go now, seconds until the next may go).

        times: event times of the records that wait, microseconds, in order [n >= 1]; now: seconds
        of a clock that never goes back. The caller sends what it is told to, then asks again.
        """


class FullSpeed:
    """Everything is due at once."""

    def due(self, times: NDArray[np.int64], now: float) -> tuple[int, float]:
        """All of them."""
        return len(times), 0.0


class ConstantRate:
    """`events_per_s` from the first call on; what was held up is caught up with."""

    def __init__(self, events_per_s: float) -> None:
        if not events_per_s > 0:
            raise ValueError("the rate is greater than 0 events/s")
        self._rate = events_per_s
        self._start: float | None = None
        self._sent = 0

    def due(self, times: NDArray[np.int64], now: float) -> tuple[int, float]:
        """As many as the time since the first call allows."""
        if self._start is None:
            self._start = now
        allowed = int((now - self._start) * self._rate) + 1 - self._sent
        count = max(0, min(len(times), allowed))
        self._sent += count
        return count, max(0.0, self._start + self._sent / self._rate - now)


class CompressedTime:
    """Event time passes `factor` times as fast as the clock, from the first record on."""

    def __init__(self, factor: float) -> None:
        if not factor > 0:
            raise ValueError("the speed is greater than 0")
        self._us_per_s = factor * 1_000_000
        self._start: tuple[float, int] | None = None

    def due(self, times: NDArray[np.int64], now: float) -> tuple[int, float]:
        """Those whose event time has come."""
        if self._start is None:
            self._start = (now, int(times[0]))
        began, first = self._start
        reached = first + (now - began) * self._us_per_s
        count = int(np.searchsorted(times, reached, side="right"))
        if count == len(times):
            return count, 0.0
        return count, max(0.0, (int(times[count]) - reached) / self._us_per_s)
