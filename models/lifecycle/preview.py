"""What a promotion would change for those who act on scores, before anything is promoted.

Both models score the same leads as they are now; a subscriber's threshold splits them twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibration.percentile import GRADES
from models.evaluation.drift import PSI_LIMIT, psi
from models.lifecycle.subscribers import Subscriber, Threshold

F8 = NDArray[np.float64]
Mask = NDArray[np.bool_]

PSI_BINS = 10


@dataclass(frozen=True, slots=True)
class Scores:
    """What one model says of n leads: probabilities [n], scores 1-100 [n], grade codes [n]."""

    probabilities: F8
    scores: NDArray[np.int32]
    grades: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Impact:
    """How many leads one subscriber would gain and lose.

    up: leads that would cross its threshold upwards; down: downwards. now + up - down = then.
    """

    subscriber: str
    threshold: str
    now: int
    then: int
    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Preview:
    """The whole effect of a promotion on n leads.

    moves: [4, 4], leads by grade now (row, A to D) and then (column).
    psi: population stability index of the probabilities over tenths of today's.
    probability_change: mean absolute change of the probability.
    """

    leads: int
    impacts: tuple[Impact, ...]
    moves: tuple[tuple[int, ...], ...]
    psi: float
    probability_change: float

    @property
    def regraded(self) -> int:
        """Leads whose grade would change."""
        return self.leads - sum(row[at] for at, row in enumerate(self.moves))

    @property
    def reasons(self) -> tuple[str, ...]:
        """In words, a line each."""
        lines = [
            f"{impact.subscriber} ({impact.threshold}): {impact.now} leads now, {impact.then} "
            f"then; {impact.up} would come in, {impact.down} would fall out"
            for impact in self.impacts
        ]
        shifted = "shifted" if self.psi >= PSI_LIMIT else "alike"
        return (
            *lines,
            f"{self.regraded} of {self.leads} leads would change their grade",
            f"probabilities would change by {self.probability_change:.4f} on average; their "
            f"distributions are {shifted} (PSI {self.psi:.3f})",
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `grades` names rows and columns of `moves`."""
        return {**asdict(self), "regraded": self.regraded, "grades": GRADES}


def preview(
    current: Scores, proposed: Scores, target: str, subscribers: Iterable[Subscriber]
) -> Preview:
    """Compare what two models say of the same leads, in the same order.

    Args:
        current: Of the models in use.
        proposed: Of those that would be in use.
        target: Subscribers of other targets are left out.
        subscribers: Declared by the workspace.

    Raises:
        ValueError: the two are not of the same leads.
    """
    leads = len(current.probabilities)
    if len(proposed.probabilities) != leads:
        raise ValueError(
            f"{leads} leads scored now and {len(proposed.probabilities)} then: score the same leads"
        )
    impacts = []
    for subscriber in subscribers:
        if subscriber.target != target:
            continue
        now = _taken(subscriber.threshold, current)
        then = _taken(subscriber.threshold, proposed)
        up, down = np.count_nonzero(then & ~now), np.count_nonzero(now & ~then)
        counts = np.count_nonzero(now), np.count_nonzero(then), up, down
        words = subscriber.threshold.words
        impacts.append(Impact(subscriber.name, words, *(int(count) for count in counts)))
    size = len(GRADES)
    pairs = current.grades.astype(np.int64) * size + proposed.grades
    moves = np.bincount(pairs, minlength=size * size).reshape(size, size)
    change = np.abs(proposed.probabilities - current.probabilities)
    return Preview(
        leads,
        tuple(impacts),
        tuple(tuple(row) for row in moves.tolist()),
        distribution_shift(current.probabilities, proposed.probabilities),
        float(change.mean()) if leads else 0.0,
    )


def distribution_shift(now: F8, then: F8) -> float:
    """Population stability index over the tenths of `now` [n]; equal values in one bin."""
    if not len(now) or not len(then):
        return 0.0
    edges = np.unique(np.quantile(now, np.linspace(0.0, 1.0, PSI_BINS + 1)[1:-1]))
    bins = len(edges) + 1
    counts = [np.bincount(np.searchsorted(edges, x), minlength=bins) for x in (now, then)]
    return psi(*counts)


def _taken(threshold: Threshold, scores: Scores) -> Mask:
    """Which leads a threshold takes [n]."""
    if threshold.score is not None:
        taken: Mask = scores.scores >= threshold.score
    elif threshold.probability is not None:
        taken = scores.probabilities >= threshold.probability
    else:
        taken = np.isin(scores.grades, [GRADES.index(grade) for grade in threshold.grades or ()])
    return taken
