"""An interval on each probability, from how similar scores turned out: inductive Venn–Abers.

Vovk & Petej 2014, "Venn–Abers predictors". For a logit s, isotonic regression is fitted to the last
N (logit, outcome) pairs and (s, lost), then to the pairs and (s, won); its values at s are p0 and
p1. One of them is a calibrated probability whatever the model is like (as long as pairs and score
are exchangeable), so [p0, p1] says how well the labels pin the probability down: [0, 1] without
labels, narrow where many similar scores turned out.

Both curves rise with s and change only at the pairs, so they are computed once, at publication, on
a grid of 101 logits (quantiles of the pairs'), and scores interpolate in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled
from models.online.interface import pack_arrays, unpack_arrays

F8 = NDArray[np.float64]

WINDOW = 5_000
GRID = 101


@dataclass(frozen=True, slots=True)
class IntervalTable:
    """p0 and p1 on a grid of logits; arrays [G] float64, all ascending, p0 <= p1."""

    grid: F8
    p0: F8
    p1: F8

    def apply(self, logits: F8, probabilities: F8) -> tuple[F8, F8]:
        """Lower and upper ends [n] for scores.

        Args:
            logits: [n], on the scale of the pairs that were learned.
            probabilities: as published [n]; an interval that does not hold its probability is
                widened to it, so that lower <= probability <= upper always.
        """
        low = np.interp(logits, self.grid, self.p0)
        high = np.interp(logits, self.grid, self.p1)
        return np.minimum(low, probabilities), np.maximum(high, probabilities)


class VennAbers:
    """The last `window` pairs of a target.

    Learn the mixture's logits *before* the affine calibration, and apply the table to those too:
    then a change of (a, b) moves no interval. Take logits made before the model learned the label.
    """

    def __init__(self, window: int = WINDOW) -> None:
        if window < 1:
            raise ValueError(f"a window of {window} labels holds nothing. Fix: at least 1")
        self.labels_learned = 0
        self._logits = np.zeros(window)
        self._outcomes = np.zeros(window, np.bool_)

    def learn(self, logits: F8, outcomes: NDArray[np.bool_]) -> None:
        """Take pairs of logits [n] and outcomes [n], in order."""
        window = len(self._logits)
        last = slice(max(0, len(logits) - window), None)
        places = (self.labels_learned + np.arange(len(logits)))[last] % window
        self._logits[places], self._outcomes[places] = logits[last], outcomes[last]
        self.labels_learned += len(logits)

    def table(self, size: int = GRID) -> IntervalTable:
        """The curves as of now; some 3 ms for 5,000 pairs."""
        count = min(self.labels_learned, len(self._logits))
        if not count:
            return IntervalTable(np.zeros(1), np.zeros(1), np.ones(1))
        value, group = np.unique(self._logits[:count], return_inverse=True)
        weight = np.bincount(group).astype(np.float64)
        won = np.bincount(group, weights=self._outcomes[:count]).astype(np.float64)
        inner = np.quantile(self._logits[:count], np.linspace(0, 1, size - 2))
        grid = np.unique(np.concatenate([[value[0] - 1.0], inner, [value[-1] + 1.0]]))
        p0, p1 = np.empty(len(grid)), np.empty(len(grid))
        _curves(value, weight, won, grid, p0, p1)
        # theory has them ascending; the last bit of a division need not be
        p0, p1 = np.maximum.accumulate(p0), np.maximum.accumulate(p1)
        return IntervalTable(grid, np.minimum(p0, p1), p1)

    def snapshot(self) -> bytes:
        """The whole state."""
        meta = {"kind": "venn_abers", "labels_learned": self.labels_learned}
        return pack_arrays(meta, {"logits": self._logits, "outcomes": self._outcomes})

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state and window; ValueError if it is something else."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "venn_abers":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'venn_abers'")
        self._logits, self._outcomes = np.array(arrays["logits"]), np.array(arrays["outcomes"])
        self.labels_learned = int(meta["labels_learned"])

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        one = VennAbers(1)
        one.learn(np.zeros(1), np.ones(1, np.bool_))
        one.table()


@compiled
def _curves(value: F8, weight: F8, won: F8, grid: F8, p0: F8, p1: F8) -> None:
    """Isotonic regression of the pairs and one more at each grid point; its value there.

    Pools from both ends: the blocks of what lies below, those of what lies above, then the point's
    own grows over both sides until all are in order.
    """
    m = len(value)
    # blocks of what lies below the point, last one on top of a stack that only grows with the grid
    below_w, below_y, below = np.empty(m), np.empty(m), 0
    above_w, above_y = np.empty(m), np.empty(m)
    taken = 0
    for point in range(len(grid)):
        while taken < m and value[taken] < grid[point]:
            w, y = weight[taken], won[taken]
            while below > 0 and below_y[below - 1] * w >= y * below_w[below - 1]:
                below -= 1
                w += below_w[below]
                y += below_y[below]
            below_w[below], below_y[below] = w, y
            below += 1
            taken += 1
        tied = taken < m and value[taken] == grid[point]
        first = taken + 1 if tied else taken
        above = 0
        for i in range(m - 1, first - 1, -1):
            w, y = weight[i], won[i]
            while above > 0 and above_y[above - 1] * w <= y * above_w[above - 1]:
                above -= 1
                w += above_w[above]
                y += above_y[above]
            above_w[above], above_y[above] = w, y
            above += 1
        for outcome in range(2):
            w = 1.0 + (weight[taken] if tied else 0.0)
            y = outcome + (won[taken] if tied else 0.0)
            left, right = below - 1, above - 1
            pooled = True
            while pooled:
                pooled = False
                if left >= 0 and below_y[left] * w >= y * below_w[left]:
                    w += below_w[left]
                    y += below_y[left]
                    left -= 1
                    pooled = True
                if right >= 0 and above_y[right] * w <= y * above_w[right]:
                    w += above_w[right]
                    y += above_y[right]
                    right -= 1
                    pooled = True
            if outcome:
                p1[point] = y / w
            else:
                p0[point] = y / w
