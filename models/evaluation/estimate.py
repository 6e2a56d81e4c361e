"""How good scores will turn out to be, before their labels come.

If probabilities are calibrated, they say themselves how often they will be right: of n rows with
probability p, n·p will be won (confidence-based performance estimation, CBPE; Garcia et al. 2023,
NannyML). So the expected AUC, log-loss and Brier score follow from the histogram of logits alone.
`EstimateLedger` keeps that histogram an epoch, compares it with the labels of the same rows once
they are there, and shows the error that the estimate had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.compiled import compiled, plain
from models.evaluation.histograms import LOGIT_BINS, LOGIT_CENTRES
from models.online.interface import pack_arrays, unpack_arrays

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]

EPOCHS = 400  # kept; an epoch whose labels come later is no longer compared
COMPLETE = 0.95  # share of an epoch's rows that must be labelled before it is compared

_P: F8 = sigmoid(LOGIT_CENTRES)
_LOSS_WON, _LOSS_LOST = np.log1p(np.exp(-LOGIT_CENTRES)), np.log1p(np.exp(LOGIT_CENTRES))


@dataclass(frozen=True, slots=True)
class Expected:
    """Figures of some rows, expected or as they came, from the same bins of logits.

    auc is None without both outcomes, the others without rows. log_loss_range: 95 % of what
    calibrated probabilities would show by chance; None for figures as they came.
    """

    rows: int
    base_rate: float | None
    auc: float | None
    log_loss: float | None
    brier: float | None
    log_loss_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """An epoch's expected figures and what came; `expected` was made from all of its rows."""

    epoch: int
    labels: int
    expected: Expected
    came: Expected

    def error(self, figure: str) -> float | None:
        """Expected less came of `auc`, `log_loss`, `brier` or `base_rate`; None if unknown."""
        expected, came = getattr(self.expected, figure), getattr(self.came, figure)
        return None if expected is None or came is None else float(expected - came)


def expected_figures(counts: I8) -> Expected:
    """Figures to be expected of rows whose calibrated logits were counted in [64] bins."""
    rows = int(counts.sum())
    if not rows:
        return Expected(0, None, None, None, None)
    won = counts * _P
    figures = _figures(won, counts - won)
    spread = counts * _P * (1 - _P) * (_LOSS_LOST - _LOSS_WON) ** 2
    half = 1.96 * math.sqrt(float(spread.sum())) / rows
    loss = figures.log_loss or 0.0
    return replace(figures, rows=rows, log_loss_range=(max(0.0, loss - half), loss + half))


def figures_as_came(won: I8, lost: I8) -> Expected:
    """Figures of labelled rows by bin of their logit [64]."""
    return _figures(won.astype(np.float64), lost.astype(np.float64))


def _figures(won: F8, lost: F8) -> Expected:
    positives, negatives = float(won.sum()), float(lost.sum())
    rows = positives + negatives
    if rows <= 0:
        return Expected(0, None, None, None, None)
    below = np.cumsum(lost) - lost
    auc = None
    if positives > 0 and negatives > 0:
        auc = float((won * (below + lost / 2)).sum() / (positives * negatives))
    loss = float((won * _LOSS_WON + lost * _LOSS_LOST).sum()) / rows
    square = float((won * (1 - _P) ** 2 + lost * _P**2).sum()) / rows
    return Expected(round(rows), positives / rows, auc, loss, square)


class EstimateLedger:
    """Per epoch of scoring: logits as scored, and the outcomes of those rows as they come.

    Count the rows that a label will come for (those kept pending), each with the calibrated logit
    that was published for it, in the epoch in which it was scored; give each label that same epoch
    and logit. A retracted label's correction may simply be left out.
    """

    def __init__(self, epochs: int = EPOCHS) -> None:
        self._clear(epochs)

    def _clear(self, epochs: int) -> None:
        self._epoch = np.full(epochs, -1, np.int64)
        self._scored = np.zeros((epochs, LOGIT_BINS), np.int64)
        self._won = np.zeros((epochs, LOGIT_BINS), np.int64)
        self._lost = np.zeros((epochs, LOGIT_BINS), np.int64)

    def add_scored(self, epoch: int, counts: I8) -> None:
        """Add counts [64] of an epoch's logits; an epoch too old to be kept is left out."""
        slot = epoch % len(self._epoch)
        if epoch < self._epoch[slot]:
            return
        if epoch > self._epoch[slot]:
            self._epoch[slot] = epoch
            self._scored[slot] = self._won[slot] = self._lost[slot] = 0
        self._scored[slot] += counts

    def add_labels(self, epochs: I8, logits: F8, outcomes: NDArray[np.bool_]) -> None:
        """Add n labels: epoch in which the row was scored, its published logit, its outcome [n].

        Labels of epochs too old to be kept are left out. They may come before the epoch's counts.
        """
        _add_labels(
            plain(epochs, np.int64), plain(logits, np.float64), plain(outcomes, np.bool_),
            self._epoch, self._scored, self._won, self._lost,
        )  # fmt: skip

    def _labelled(self) -> I8:
        labelled: I8 = self._won + self._lost
        return labelled

    def estimate(self, epochs: int | None = None) -> Expected:
        """Expected figures of rows without an outcome yet, of the newest `epochs` (all if None)."""
        kept = self._epoch >= 0
        if epochs is not None:
            kept &= self._epoch > self._epoch.max() - epochs
        unknown = np.maximum(self._scored - self._labelled(), 0)
        return expected_figures(unknown[kept].sum(axis=0))

    def comparisons(
        self, complete: float = COMPLETE, newest: int | None = None
    ) -> list[Comparison]:
        """Epochs of which this share of rows is labelled, oldest first; all, or the newest few."""
        rows, labels = self._scored.sum(axis=1), self._labelled().sum(axis=1)
        known = (self._epoch >= 0) & (rows > 0) & (labels >= complete * rows)
        slots = np.flatnonzero(known)
        slots = slots[np.argsort(self._epoch[slots], kind="stable")]
        if newest is not None:
            slots = slots[max(0, len(slots) - newest) :]
        return [
            Comparison(
                int(self._epoch[slot]),
                int(labels[slot]),
                expected_figures(self._scored[slot]),
                figures_as_came(self._won[slot], self._lost[slot]),
            )
            for slot in slots
        ]

    def snapshot(self) -> bytes:
        """The whole state: 780 bytes an epoch that is kept."""
        used = np.flatnonzero(self._epoch >= 0)
        arrays: dict[str, NDArray[Any]] = {
            "epoch": self._epoch[used],
            "scored": self._scored[used].astype(np.int32),
            "won": self._won[used].astype(np.int32),
            "lost": self._lost[used].astype(np.int32),
        }
        return pack_arrays({"kind": "estimates", "epochs": len(self._epoch)}, arrays)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state and size; ValueError if it is something else."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "estimates":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'estimates'")
        self._clear(int(meta["epochs"]))
        used = arrays["epoch"] % len(self._epoch)
        self._epoch[used], self._scored[used] = arrays["epoch"], arrays["scored"]
        self._won[used], self._lost[used] = arrays["won"], arrays["lost"]

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        EstimateLedger(1).add_labels(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.bool_))


def mean_error(comparisons: list[Comparison], figure: str) -> float | None:
    """Mean absolute error of the estimates of a figure, weighted by labels; None without any."""
    known = [(c.labels, e) for c in comparisons if (e := c.error(figure)) is not None]
    if not known:
        return None
    return sum(labels * abs(error) for labels, error in known) / sum(labels for labels, _ in known)


@compiled
def _add_labels(
    epochs: I8, logits: F8, outcomes: NDArray[np.bool_], kept: I8, scored: I8, won: I8, lost: I8
) -> None:
    for i in range(len(epochs)):
        slot = epochs[i] % len(kept)
        if epochs[i] < kept[slot] or np.isnan(logits[i]):
            continue
        if epochs[i] > kept[slot]:
            kept[slot] = epochs[i]
            scored[slot] = won[slot] = lost[slot] = 0
        # the bins of `histograms.count_logits`
        place = min(int(np.floor((min(max(logits[i], -8.0), 8.0) + 8.0) * 4.0)), 63)
        if outcomes[i]:
            won[slot, place] += 1
        else:
            lost[slot, place] += 1
