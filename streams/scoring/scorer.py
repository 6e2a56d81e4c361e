"""One workspace's models over feature rows: logits as sums, scores, grades, reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.calibration.percentile import grade_codes, percentile, score_1_100
from models.explain.mixture import mix
from models.explain.top import TOP, top_contributions
from models.features.encoding import Encoding
from models.online.interface import Terms
from models.targets import Target
from streams.scoring.model_store import Model


@dataclass(slots=True)
class Scores:
    """Scores of n rows for one target.

    Attributes:
        top: Column of the k strongest contributions ``[n, k]``, -1 where there are fewer.
        top_value: Their values ``[n, k]``; bias + top_value + other is the logit.
        percentile: NaN until 200 scores were seen.
    """

    logit: NDArray[np.float64]
    probability: NDArray[np.float64]
    percentile: NDArray[np.float64]
    score: NDArray[np.int32]
    grade: NDArray[np.int8]
    bias: NDArray[np.float64]
    top: NDArray[np.int32]
    top_value: NDArray[np.float64]
    other: NDArray[np.float64]
    weights_version: NDArray[np.int64]
    champion_version: NDArray[np.object_]

    @classmethod
    def empty(cls, n: int) -> Scores:
        """Room for n rows."""
        f8 = np.empty
        return cls(
            f8(n), f8(n), f8(n), np.empty(n, np.int32), np.empty(n, np.int8), f8(n),
            np.empty((n, TOP), np.int32), f8((n, TOP)), f8(n), np.empty(n, np.int64),
            np.full(n, None, object),
        )  # fmt: skip


class Scorer:
    """Scores rows of one workspace.

    Args:
        encoding: The workspace's model inputs.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._names = encoding.catalogue.column_names

    def score(
        self,
        rows: NDArray[np.float32],
        model: Model,
        target: Target,
        out: Scores,
        start: int,
        stop: int,
    ) -> None:
        """Score ``rows[start:stop]`` into the same rows of ``out``."""
        part, weights = rows[start:stop], model.weights
        bias, contributions, logits = self._encoding.logits_and_contributions(part, weights.weights)
        terms = [Terms(self._names, np.full(len(part), bias), contributions, logits)]
        if model.champion is not None:
            terms.append(model.champion.contributions(part))
        mixed = mix(terms, weights.calibration_a, weights.calibration_b)
        top, value, other = top_contributions(mixed)
        at = slice(start, stop)
        out.logit[at], out.bias[at] = mixed.logits, mixed.bias
        out.probability[at] = sigmoid(mixed.logits)
        out.percentile[at] = percentile(mixed.logits, weights.quantiles)
        out.score[at] = score_1_100(mixed.logits, weights.quantiles, weights.base_rate)
        out.grade[at] = grade_codes(out.score[at], target.grades)
        out.top[at], out.top_value[at], out.other[at] = top, value, other
        out.weights_version[at] = weights.version
        if model.champion is not None:
            out.champion_version[at] = model.champion.version
