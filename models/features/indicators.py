"""Market indicators as of their publication: what could be known of a series at a time.

An observation (the consumer prices of May) is published later than it was made, and revised later
still. As of time t a series says the newest publication, not after t, of the newest observation
that was published by t.

Publications come late and in any order. What had come when a row was scored is named by the newest
of them, so that its score can be made again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.declared import Indicator

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Indicators:
    """What the series of one workspace say, by the publications that had come; never changes.

    known: id of the newest publication that had come, None before the first. steps: of each series
    from when [m], µs UTC ascending, it says which value [m].
    """

    known: str | None
    steps: Mapping[str, tuple[I8, F8]]

    def as_of(self, series: str, times: I8) -> F8:
        """What the series said at each time (µs UTC) [n]; NaN before its first publication."""
        found = self.steps.get(series)
        if found is None:
            return np.full(len(times), np.nan)
        since, values = found
        place = np.searchsorted(since, times, side="right") - 1
        return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)

    def columns(self, indicators: Sequence[Indicator], times: I8) -> NDArray[np.float32]:
        """Columns [n, I] of a catalogue's indicators at times [n]."""
        found = np.empty((len(times), len(indicators)), np.float32)
        for place, indicator in enumerate(indicators):
            found[:, place] = self.as_of(indicator.series, times)
        return found


NO_INDICATORS = Indicators(None, {})


class IndicatorTable:
    """All publications of the series of one workspace, as they come."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self._ids: set[str] = set()
        self._view: Indicators | None = NO_INDICATORS
        self._known: str | None = None

    def apply(
        self, event_id: str, series: str, observed_at: int, published_at: int, value: float
    ) -> None:
        """Take one publication, in any order of times; one that repeats both times replaces it.

        Args:
            event_id: of the publication; a repeat of one is passed over.
            series: its name.
            observed_at: the time that the value is about, µs UTC.
            published_at: the time from which it could be known, µs UTC.
            value: in the series' unit; one that is not finite is passed over.
        """
        if event_id in self._ids or not math.isfinite(value):
            return
        self._ids.add(event_id)
        self._series.setdefault(series, _Series()).apply(observed_at, published_at, value)
        self._known, self._view = event_id, None

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a record of market indicators, whose fields are those of :meth:`apply`."""
        self.apply(
            row["event_id"], row["series"], row["observed_at"], row["published_at"], row["value"]
        )

    def view(self) -> Indicators:
        """What is known now."""
        if self._view is None:
            steps = {name: series.steps() for name, series in self._series.items()}
            self._view = Indicators(self._known, steps)
        return self._view


class _Series:
    """Publications of one series, and the steps that follow from them."""

    def __init__(self) -> None:
        self._published: dict[tuple[int, int], float] = {}
        self._steps: tuple[I8, F8] | None = None

    def apply(self, observed_at: int, published_at: int, value: float) -> None:
        self._published[published_at, observed_at] = value
        self._steps = None

    def steps(self) -> tuple[I8, F8]:
        if self._steps is None:
            self._steps = self._made_steps()
        return self._steps

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
