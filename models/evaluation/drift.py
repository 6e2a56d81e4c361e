"""Drift of features and predictions: a window of recent epochs against the training window.

Two measures of two histograms p (reference) and q (recent):

- PSI, the population stability index Σ (q - p)·ln(q/p), over bins that either used, half a row
  added to each. Usual reading: .1 little, .25 much. Without any drift it is about
  (1/n + 1/m)·χ²(bins - 1) (Yurdakul 2018, "Statistical properties of the population stability
  index"), so it drifts only above what few rows show by chance.
- KS, the largest gap between both distribution functions, over bins in the order of values, the
  missing left out; by chance it stays below √(ln(2/α)/2·(1/n + 1/m)) (Smirnov). Not for categories.

Rows of one lead resemble each other, so n rows tell less than n leads: `design_effect` (rows of a
lead within a window, about) divides the counts before chance is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.evaluation.histograms import MISSING, Counts, FeatureBins

I8 = NDArray[np.int64]

PSI_LIMIT = 0.2
KS_LIMIT = 0.15
CHANCE = 0.001  # of a false alarm by chance at one check, over all columns together
PREDICTIONS = "predictions"


@dataclass(frozen=True, slots=True)
class Drift:
    """One histogram against its reference; `ks` is None for categories and where nothing is known.

    The limits are the larger of what matters (PSI .2, KS .15) and what chance explains.
    """

    name: str
    psi: float
    psi_limit: float
    ks: float | None
    ks_limit: float
    reference_rows: int
    recent_rows: int

    @property
    def strength(self) -> float:
        """The measure that is nearest to its limit, or furthest over it, as a share of it."""
        return max(self.psi / self.psi_limit, (self.ks or 0.0) / self.ks_limit)

    @property
    def drifted(self) -> bool:
        """Whether a measure is over its limit."""
        return self.strength > 1.0


def psi(reference: I8, recent: I8) -> float:
    """Population stability index of counts [B]; 0 if either has none."""
    if not reference.sum() or not recent.sum():
        return 0.0
    used = (reference > 0) | (recent > 0)
    p, q = reference[used] + 0.5, recent[used] + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def ks(reference: I8, recent: I8) -> float | None:
    """Largest gap between the distribution functions of counts [B]; None if either has none."""
    if not reference.sum() or not recent.sum():
        return None
    gap = np.cumsum(reference) / reference.sum() - np.cumsum(recent) / recent.sum()
    return float(np.abs(gap).max())


def psi_by_chance(reference: I8, recent: I8, chance: float, design_effect: float = 1.0) -> float:
    """What PSI exceeds without drift with this `chance` only; infinite if either has no rows."""
    n, m = int(reference.sum()), int(recent.sum())
    if not n or not m:
        return math.inf
    freedom = max(int(np.count_nonzero((reference > 0) | (recent > 0))) - 1, 1)
    return design_effect * (1 / n + 1 / m) * _chi_square_quantile(freedom, 1 - chance)


def ks_by_chance(n: int, m: int, chance: float, design_effect: float = 1.0) -> float:
    """What KS exceeds without drift with this `chance` only; infinite if either has no rows."""
    if not n or not m:
        return math.inf
    return math.sqrt(design_effect * math.log(2 / chance) / 2 * (1 / n + 1 / m))


def _chi_square_quantile(freedom: int, share: float) -> float:
    """Wilson & Hilferty 1931; in the far tail up to 4 % too high, below freedom 5 up to 15 %."""
    part = 2 / (9 * freedom)
    return freedom * (1 - part + NormalDist().inv_cdf(share) * math.sqrt(part)) ** 3


def compare(
    name: str,
    reference: I8,
    recent: I8,
    ordered: bool = True,
    chance: float = CHANCE,
    design_effect: float = 1.0,
) -> Drift:
    """Drift between two histograms [B] of the same bins; KS only if their order has a meaning."""
    n, m = int(reference.sum()), int(recent.sum())
    return Drift(
        name,
        psi(reference, recent),
        max(PSI_LIMIT, psi_by_chance(reference, recent, chance, design_effect)),
        ks(reference, recent) if ordered else None,
        max(KS_LIMIT, ks_by_chance(n, m, chance, design_effect)),
        n,
        m,
    )


def feature_drifts(
    bins: FeatureBins, reference: Counts, recent: Counts, design_effect: float = 1.0
) -> tuple[Drift, ...]:
    """Drift of each column of the catalogue, in its order.

    KS judges the values that are known; how many are missing enters PSI.
    """
    chance = CHANCE / (len(bins.categories) + 1)
    found = []
    for place, name in enumerate(bins.catalogue.column_names):
        p, q = reference.features[place], recent.features[place]
        whole = compare(name, p, q, False, chance, design_effect)
        if not bins.categories[place]:
            known, n, m = (p[:MISSING], q[:MISSING]), int(p[:MISSING].sum()), int(q[:MISSING].sum())
            limit = max(KS_LIMIT, ks_by_chance(n, m, chance, design_effect))
            whole = Drift(
                name, whole.psi, whole.psi_limit, ks(*known), limit, whole.reference_rows,
                whole.recent_rows,
            )  # fmt: skip
        found.append(whole)
    return tuple(found)


def prediction_drift(
    reference: Counts, recent: Counts, columns: int, design_effect: float = 1.0
) -> Drift:
    """Drift of the logits; `columns` of the catalogue share the chance of a false alarm."""
    chance = CHANCE / (columns + 1)
    return compare(PREDICTIONS, reference.logits, recent.logits, True, chance, design_effect)
