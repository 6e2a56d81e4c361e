"""Market indicators as of their publication: what could be known of a series at a time.

An observation (the consumer prices of May) is published later than it was made, and revised later
still. As of time t a series says the newest publication, not after t, of the newest observation
that was published by t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.features.declared import Indicator

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


class IndicatorTable:
    """All publications of the series of one workspace."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}

    def apply(self, series: str, observed_at: int, published_at: int, value: float) -> None:
        """Take one publication, in any order of times; one that repeats both times replaces it.

        Args:
            series: its name.
            observed_at: the time that the value is about, µs UTC.
            published_at: the time from which it could be known, µs UTC.
            value: in the series' unit; one that is not finite is passed over.
        """
        if math.isfinite(value):
            self._series.setdefault(series, _Series()).apply(observed_at, published_at, value)

    def as_of(self, series: str, times: I8) -> F8:
        """What the series said at each time (µs UTC) [n]; NaN before its first publication."""
        known = self._series.get(series)
        return known.as_of(times) if known is not None else np.full(len(times), np.nan)

    def columns(self, indicators: Sequence[Indicator], times: I8) -> NDArray[np.float32]:
        """Columns [n, I] of a catalogue's indicators at times [n]."""
        found = np.empty((len(times), len(indicators)), np.float32)
        for place, indicator in enumerate(indicators):
            found[:, place] = self.as_of(indicator.series, times)
        return found


class _Series:
    """Publications of one series, and the steps that follow from them."""

    def __init__(self) -> None:
        self._published: dict[tuple[int, int], float] = {}
        self._steps: tuple[I8, F8] | None = None

    def apply(self, observed_at: int, published_at: int, value: float) -> None:
        self._published[published_at, observed_at] = value
        self._steps = None

    def as_of(self, times: I8) -> F8:
        if self._steps is None:
            self._steps = self._made_steps()
        since, values = self._steps
        place = np.searchsorted(since, times, side="right") - 1
        return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)

    def _made_steps(self) -> tuple[I8, F8]:
        """From when [m], ascending, the series says which value [m]."""
        since: list[int] = []
        values: list[float] = []
        newest: int | None = None
        for (published_at, observed_at), value in sorted(self._published.items()):
            if newest is None or observed_at >= newest:
                newest = observed_at
                since.append(published_at)
                values.append(value)
        return np.array(since, np.int64), np.array(values)
