"""How good probabilities are, in plain numpy; ties are shared, so the order of rows never matters.

Every function takes outcomes bool [n] and probabilities float64 [n]; None where a figure has no
meaning (no rows, or one outcome only).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Outcomes = NDArray[np.bool_]
Probabilities = NDArray[np.float64]

MANY_LABELS, ECE_LIMIT = 4_000, 0.02
_SMALLEST = 1e-15


def _ranges(probabilities: Probabilities) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many are below, and how many are not above, each probability."""
    ordered = np.sort(probabilities)
    return (
        np.searchsorted(ordered, probabilities, side="left"),
        np.searchsorted(ordered, probabilities, side="right"),
    )


def auc(outcomes: Outcomes, probabilities: Probabilities) -> float | None:
    """Chance that a positive stands above a negative, ties by half."""
    positives = int(np.count_nonzero(outcomes))
    negatives = len(outcomes) - positives
    if not positives or not negatives:
        return None
    below, upto = _ranges(probabilities)
    ranks = float((below + upto + 1)[outcomes].sum()) / 2
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(outcomes: Outcomes, probabilities: Probabilities) -> float | None:
    """Mean precision at each positive, tied probabilities as one threshold."""
    positives = int(np.count_nonzero(outcomes))
    if not positives:
        return None
    thresholds, group = np.unique(-probabilities, return_inverse=True)
    hits = np.bincount(group, weights=outcomes, minlength=len(thresholds))
    taken = np.cumsum(np.bincount(group, minlength=len(thresholds)))
    return float((np.cumsum(hits) / taken * hits).sum() / positives)


def log_loss(outcomes: Outcomes, probabilities: Probabilities) -> float | None:
    """Mean negative log-likelihood in nats."""
    if not len(outcomes):
        return None
    given = np.where(outcomes, probabilities, 1.0 - probabilities)
    return float(-np.log(np.maximum(given, _SMALLEST)).mean())


def brier(outcomes: Outcomes, probabilities: Probabilities) -> float | None:
    """Mean squared error of the probability."""
    return float(((probabilities - outcomes) ** 2).mean()) if len(outcomes) else None


def _places(probabilities: Probabilities, bins: int) -> NDArray[np.int64]:
    """Each one's bin of equal mass; equal probabilities share one."""
    below, upto = _ranges(probabilities)
    places: NDArray[np.int64] = (below + upto) * bins // (2 * max(len(probabilities), 1))
    return np.minimum(places, bins - 1)


def calibration_bins(
    outcomes: Outcomes, probabilities: Probabilities, bins: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Bins of equal mass, equal probabilities in the same bin: size, mean said, share that came.

    Empty bins (many ties) are left out.
    """
    place = _places(probabilities, bins)
    size = np.bincount(place, minlength=bins)
    used = size > 0
    said = np.bincount(place, weights=probabilities, minlength=bins)[used] / size[used]
    came = np.bincount(place, weights=outcomes, minlength=bins)[used] / size[used]
    return size[used], said, came


def ece(outcomes: Outcomes, probabilities: Probabilities, bins: int = 10) -> float | None:
    """Expected calibration error: mean gap between said and came over bins of equal mass."""
    if not len(outcomes):
        return None
    size, said, came = calibration_bins(outcomes, probabilities, bins)
    return float((size * np.abs(said - came)).sum() / len(outcomes))


def ece_of_perfect(probabilities: Probabilities, draws: int = 400, seed: int = 0) -> float | None:
    """95th percentile of the ECE that perfectly calibrated probabilities show by chance alone."""
    if not len(probabilities):
        return None
    generator = np.random.Generator(np.random.PCG64(seed))
    place, bins = _places(probabilities, 10), 10
    said = np.bincount(place, weights=probabilities, minlength=bins)
    found = [
        np.abs(said - np.bincount(place[generator.random(len(place)) < probabilities], None, bins))
        for _ in range(draws)
    ]
    return float(np.quantile(np.sum(found, axis=1) / len(place), 0.95))


def ece_limit(probabilities: Probabilities) -> float | None:
    """ECE up to which probabilities count as calibrated: .02 from 4,000 labels up.

    Below, what a perfectly calibrated model shows by chance (95th percentile); None without rows.
    """
    return ECE_LIMIT if len(probabilities) >= MANY_LABELS else ece_of_perfect(probabilities)


def lift_top_decile(outcomes: Outcomes, probabilities: Probabilities) -> float | None:
    """Share of positives in the top tenth against that in all; ties at the edge count in part."""
    positives = int(np.count_nonzero(outcomes))
    if not positives:
        return None
    taken = -(-len(outcomes) // 10)
    edge = np.sort(probabilities)[len(outcomes) - taken]
    above, at = probabilities > edge, probabilities == edge
    left = taken - int(np.count_nonzero(above))
    share = left / int(np.count_nonzero(at))
    hits = np.count_nonzero(outcomes & above) + share * np.count_nonzero(outcomes & at)
    return float(hits / taken / (positives / len(outcomes)))


@dataclass(frozen=True, slots=True)
class Figures:
    """The public figures of an evaluation; names are part of the command line's contract."""

    labels: int
    positives: int
    auc: float | None
    average_precision: float | None
    log_loss: float | None
    brier: float | None
    ece: float | None
    lift_top_decile: float | None

    def as_dict(self) -> dict[str, float | int | None]:
        """By name, for JSON."""
        return asdict(self)


def figures(outcomes: Outcomes, probabilities: Probabilities) -> Figures:
    """All figures at once."""
    return Figures(
        len(outcomes),
        int(np.count_nonzero(outcomes)),
        auc(outcomes, probabilities),
        average_precision(outcomes, probabilities),
        log_loss(outcomes, probabilities),
        brier(outcomes, probabilities),
        ece(outcomes, probabilities),
        lift_top_decile(outcomes, probabilities),
    )
