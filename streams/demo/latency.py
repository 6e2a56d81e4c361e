"""From the append of a source event to the append of its score, by the broker's own clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Latencies:
    """Joins two topics by event id, whichever is read first.

    Example:
        >>> latencies = Latencies()
        >>> latencies.scored(["a"], [1_030])
        >>> latencies.appended(["a"], [1_000])
        >>> latencies.figures()
        (30.0, 30.0)
    """

    def __init__(self) -> None:
        self._appended: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._ms: list[int] = []
        self._at_ms: list[int] = []

    def appended(self, event_ids: Sequence[str], at_ms: Sequence[int]) -> None:
        """Source events and when the broker appended them, ms since 1970."""
        for event_id, at in zip(event_ids, at_ms, strict=True):
            scored = self._waiting.pop(event_id, None)
            if scored is None:
                self._appended[event_id] = at
            else:
                self._add(at, scored)

    def scored(self, event_ids: Sequence[str], at_ms: Sequence[int]) -> None:
        """Scores and when the broker appended them; of several of an event the first counts."""
        for event_id, at in zip(event_ids, at_ms, strict=True):
            began = self._appended.pop(event_id, None)
            if began is None:
                self._waiting.setdefault(event_id, at)
            else:
                self._add(began, at)

    def figures(self, last_s: float | None = None) -> tuple[float, float] | None:
        """(p50, p99) in ms, of all or of those scored in the last seconds; None without any."""
        if not self._ms:
            return None
        ms = np.array(self._ms)
        if last_s is not None:
            at = np.array(self._at_ms)
            ms = ms[at >= at.max() - 1000 * last_s]
        return float(np.percentile(ms, 50)), float(np.percentile(ms, 99))

    def _add(self, began: int, scored: int) -> None:
        self._ms.append(max(0, scored - began))
        self._at_ms.append(scored)
