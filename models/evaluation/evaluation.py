"""What an evaluation report is about: plain arrays and figures, made by whoever evaluates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.evaluation.drift import Drift
from models.evaluation.estimate import Comparison
from models.evaluation.metrics import Figures
from models.evaluation.segments import Segment


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Rows in any order; what is left empty is left out of the report.

    Attributes:
        title: of the page.
        outcomes: [n].
        probabilities: [n] as published.
        times: [n] of the rows, µs UTC.
        details: lines for the head, e.g. workspace, target.
        baselines: figures of other models on the same rows, by name.
        delays_s: [n] from row to known outcome, seconds.
        drifts: of each feature and of the predictions, against the training window.
        segments: figures by segment, by the words of the column that cuts them.
        contributions: mean absolute contribution by the feature's name, log-odds.
        words: of features, by name.
        estimates: expected figures against those that came, oldest first.
    """

    title: str
    outcomes: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    times: NDArray[np.int64]
    details: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, Figures] = field(default_factory=dict)
    delays_s: NDArray[np.float64] | None = None
    drifts: Sequence[Drift] = ()
    segments: Mapping[str, Sequence[Segment]] = field(default_factory=dict)
    contributions: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    estimates: Sequence[Comparison] = ()

    def said(self, name: str) -> str:
        """A feature in words; both parts of a pair `left*right`."""
        return " and ".join(self.words.get(part, part) for part in name.split("*"))


def span(seconds: float) -> str:
    """A stretch of time in the unit that suits it."""
    for size, unit in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} seconds"
