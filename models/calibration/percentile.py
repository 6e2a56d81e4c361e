"""Where a score stands among recent ones: percentile, 1-100 score and grade.

`RecentScores` keeps, per day of event time, the scores with the smallest hashes of (time, logit):
a bounded sample that does not depend on the order in which scores arrive. A day's sample weighs
as many scores as the day had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.online.interface import pack_arrays, unpack_arrays
from models.targets import DAY_US, Grades

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

DAYS = 30
A_DAY = 256  # scores kept of each day
MIN_SCORES = 200  # below, scores come from the probability relative to the base rate
GRADES = ("A", "B", "C", "D")


class RecentScores:
    """The last 30 days of one target's logits, by event time."""

    def __init__(self) -> None:
        self._logits = np.zeros((DAYS, A_DAY))
        self._hashes = np.zeros((DAYS, A_DAY), np.int64)
        self._day = np.full(DAYS, -1, np.int64)
        self._seen = np.zeros(DAYS, np.int64)

    def add(self, logits: F8, times: I8) -> None:
        """Take scores' logits [n] and times [n] (µs); those older than 30 days are left out."""
        _add(
            plain(logits, np.float64), plain(times, np.int64),
            self._logits, self._hashes, self._day, self._seen,
        )  # fmt: skip

    @property
    def count(self) -> int:
        """How many scores the window had."""
        return int(self._seen[self._recent()].sum())

    def _recent(self) -> NDArray[np.bool_]:
        recent: NDArray[np.bool_] = (self._day >= 0) & (self._day > self._day.max() - DAYS)
        return recent

    def quantiles(self) -> F8:
        """The 0th to 100th percentile of the logits [101]; empty below 200 scores."""
        if self.count < MIN_SCORES:
            return np.empty(0)
        values, weights = [], []
        for slot in np.flatnonzero(self._recent()):
            kept = min(int(self._seen[slot]), A_DAY)
            values.append(self._logits[slot, :kept])
            weights.append(np.full(kept, self._seen[slot] / kept))
        value, weight = np.concatenate(values), np.concatenate(weights)
        order = np.lexsort((weight, value))
        value, weight = value[order], weight[order]
        middle = (np.cumsum(weight) - weight / 2) / weight.sum()
        return np.interp(np.linspace(0.0, 1.0, 101), middle, value)

    def snapshot(self) -> bytes:
        """The whole state."""
        arrays = {
            "logits": self._logits,
            "hashes": self._hashes,
            "day": self._day,
            "seen": self._seen,
        }
        return pack_arrays({"kind": "recent_scores"}, arrays)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is something else."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "recent_scores":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'recent_scores'")
        if arrays["logits"].shape != (DAYS, A_DAY):
            raise ValueError("the snapshot keeps another number of scores: rebuild it")
        self._logits = np.array(arrays["logits"])
        self._hashes = np.array(arrays["hashes"])
        self._day, self._seen = np.array(arrays["day"]), np.array(arrays["seen"])


def percentile(logits: F8, quantiles: F8) -> F8:
    """The share in [0, 1] of recent scores below each logit, ties by half [n].

    NaN where `quantiles` is empty (fewer than 200 scores so far).
    """
    out = np.full(len(logits), np.nan)
    if len(quantiles):
        _percentile(plain(logits, np.float64), plain(quantiles, np.float64), out)
    return out


def score_1_100(logits: F8, quantiles: F8, base_rate: float) -> NDArray[np.int32]:
    """Scores 1 + floor(99·percentile), at most 100 [n].

    Without quantiles the lead's odds against the base rate's stand in for the percentile:
    odds/(odds + base odds), so the base rate scores 50, twice its odds 67, half its odds 34.
    """
    share = percentile(logits, quantiles)
    if not len(quantiles):
        base = min(max(base_rate, 1e-6), 1.0 - 1e-6)
        share = 1.0 / (1.0 + np.exp(np.clip(np.log(base / (1.0 - base)) - logits, -700, 700)))
    scores: NDArray[np.int32] = np.minimum(1 + np.floor(99.0 * share), 100).astype(np.int32)
    return scores


def grade_codes(scores: NDArray[np.int32], grades: Grades) -> NDArray[np.int8]:
    """0 for A to 3 for D [n]; `GRADES` has the letters."""
    return ((scores < grades.a).astype(np.int8) + (scores < grades.b) + (scores < grades.c)).astype(
        np.int8
    )


@compiled
def _hash(time: int, bits: int) -> int:
    """A 63-bit mix of both, good enough to sample by (splitmix64's finisher)."""
    mixed = np.uint64(time) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(bits)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1))  # type: ignore[return-value]


@compiled
def _add(logits: F8, times: I8, kept: F8, hashes: I8, days: I8, seen: I8) -> None:
    bits = logits.view(np.int64)
    newest = days.max()
    for i in range(len(logits)):
        day = times[i] // DAY_US
        if day <= newest - DAYS:
            continue
        newest = max(newest, day)
        slot = day % DAYS
        if days[slot] != day:
            days[slot] = day
            seen[slot] = 0
        mark = _hash(times[i], bits[i])
        place = seen[slot]
        if place >= A_DAY:
            place = 0
            for other in range(A_DAY):
                if hashes[slot, other] > hashes[slot, place]:
                    place = other
            if mark >= hashes[slot, place]:
                place = -1
        if place >= 0:
            kept[slot, place] = logits[i]
            hashes[slot, place] = mark
        seen[slot] += 1


@compiled
def _percentile(logits: F8, quantiles: F8, out: F8) -> None:
    last = len(quantiles) - 1
    for i in range(len(logits)):
        x = logits[i]
        below = np.searchsorted(quantiles, x, side="left")
        upto = np.searchsorted(quantiles, x, side="right")
        if upto > below:
            out[i] = (below + upto - 1) / 2.0 / last
        elif below == 0:
            out[i] = 0.0
        elif below > last:
            out[i] = 1.0
        else:
            low, high = quantiles[below - 1], quantiles[below]
            out[i] = (below - 1 + (x - low) / (high - low)) / last
