"""A young history knows its wins before its losses: the base rate until the deadlines have passed.

A row is won at once but lost only at its deadline, so a workspace whose history is shorter than the
horizon has labels of winners only, and every model learns that all leads win. Until two horizons
have passed, the mean probability is therefore held to what cohorts say: before the first deadline
to the share of kept rows that have won so far; then to the share of wins among the rows whose
deadline has passed, fading out, since from then on wins and losses come in their proportion. Where
losses are told by events of their own, labels are no one-sided sample and nothing is done. Where
the deadline makes positives (churn), wins and losses change places. (The
delayed feedback of conversions: Chapelle 2014, "Modeling delayed feedback in display advertising".)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.online.interface import pack_arrays, unpack_arrays

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

_PRIOR = 1.0  # a win and a loss that are put before what was counted
_STEPS = 30
_TOLD = 10  # losses by events of their own, from which on labels are taken as they come


class YoungHistory:
    """Cohorts of one target, until two horizons have passed.

    Args:
        horizon_us: of the target.
        early: which outcomes are known before the deadline: positives, or negatives (False).
    """

    def __init__(self, horizon_us: int, *, early: bool = True) -> None:
        self._horizon, self._early = horizon_us, early
        self._first = -1  # time of the oldest row, µs
        self._now = 0  # event time reached, µs
        self._kept = 0
        self._lost = self._told = 0
        self._wins: I8 = np.zeros(0, np.int64)  # row times

    @property
    def over(self) -> bool:
        """Whether the labels speak for themselves."""
        if self._told >= _TOLD:
            return True
        return self._first >= 0 and self._now >= self._first + 2 * self._horizon

    def kept(self, rows: int) -> None:
        """Count rows that wait for an outcome from now on."""
        self._kept += rows

    def learn(self, row_time: I8, resolved_at: I8, outcomes: NDArray[np.bool_]) -> None:
        """Take n labels: µs of row and outcome, whether positive."""
        if self.over or not len(row_time):
            return
        outcomes = outcomes == self._early
        first = int(row_time.min())
        self._first = first if self._first < 0 else min(self._first, first)
        self._now = max(self._now, int(resolved_at.max()))
        self._lost += int((~outcomes).sum())
        self._told += int((~outcomes & (resolved_at < row_time + self._horizon)).sum())
        self._wins = np.concatenate([self._wins, row_time[outcomes]])
        if self.over:
            self._wins = np.zeros(0, np.int64)

    def reach(self, now_us: int) -> None:
        """Event time has come so far, labels or not."""
        self._now = max(self._now, now_us)

    def base_rate(self) -> float | None:
        """Share of positives, by cohorts; None once the history speaks for itself."""
        if self.over or self._first < 0:
            return None
        wins = self._share_of_wins()
        return wins if self._early else 1.0 - wins

    def _share_of_wins(self) -> float:
        if self._now < self._first + self._horizon:
            known = max(self._kept, len(self._wins) + self._lost)
            return (len(self._wins) + _PRIOR) / (known + 2 * _PRIOR)
        ripe = int((self._wins + self._horizon <= self._now).sum())
        return (ripe + _PRIOR) / (ripe + self._lost + 2 * _PRIOR)

    def shift(self, logits: F8) -> float:
        """What to add to calibrated logits so that their mean probability is the base rate.

        Args:
            logits: of recent rows [n], calibrated.

        Returns:
            0 once the history speaks for itself, or without rows.
        """
        rate = self.base_rate()
        if rate is None or not len(logits):
            return 0.0
        low, high = -30.0, 30.0
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if float(sigmoid(logits + middle).mean()) < rate:
                low = middle
            else:
                high = middle
        first_deadline = self._first + self._horizon
        fade = min(1.0, 1.0 - (self._now - first_deadline) / self._horizon)
        return (low + high) / 2 * fade

    def snapshot(self) -> bytes:
        """The whole state."""
        meta = {
            "kind": "young_history", "first": self._first, "now": self._now, "kept": self._kept,
            "lost": self._lost, "told": self._told,
        }  # fmt: skip
        return pack_arrays(meta, {"wins": self._wins})

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is something else."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "young_history":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'young_history'")
        self._first, self._now = int(meta["first"]), int(meta["now"])
        self._kept, self._lost = int(meta["kept"]), int(meta["lost"])
        self._told = int(meta["told"])
        self._wins = np.array(arrays["wins"])
