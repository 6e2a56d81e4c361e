"""One workspace's models over feature rows: logits as sums, scores, grades, reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.calibration.percentile import grade_codes, percentile, score_1_100
from models.targets import Target
from streams.scoring.deltas import Earlier
from streams.scoring.model import Model

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@dataclass(slots=True)
class Scores:
    """Scores of n rows for one target.

    Attributes:
        percentile: NaN until 200 scores were seen.
        top: The k strongest contributions ``[n, k]``: places in ``names``, -1 for fewer.
        top_value: Their values ``[n, k]``; bias + top_value + other is the logit.
        interval: Low and high end of the probability's interval ``[n]`` each, NaN for none.
        champion: Which of ``champions`` scored each row.
        names: Of the mixtures' columns, the catalogue's first.
    """

    logit: F8
    probability: F8
    percentile: F8
    score: NDArray[np.int32]
    grade: NDArray[np.int8]
    bias: F8
    top: NDArray[np.int32]
    top_value: F8
    other: F8
    interval: tuple[F8, F8]
    weights_version: I8
    champion: NDArray[np.int32]
    champions: list[str | None]
    names: pa.Array

    @classmethod
    def empty(cls, n: int, models: list[Model], reasons: int) -> Scores:
        """Room for n rows that these models score, with so many contributions each."""
        f8 = np.empty
        names = models[0].names if models else pa.array([], pa.string())
        if len(models) > 1:
            names = pa.chunked_array([model.names for model in models]).unique()
        return cls(
            f8(n), f8(n), f8(n), np.empty(n, np.int32), np.empty(n, np.int8), f8(n),
            np.empty((n, reasons), np.int32), f8((n, reasons)), f8(n), (f8(n), f8(n)),
            np.empty(n, np.int64), np.zeros(n, np.int32),
            list(dict.fromkeys(model.champion_version for model in models)), names,
        )  # fmt: skip


def score(
    rows: F4,
    model: Model,
    target: Target,
    out: Scores,
    at: I8 | slice,
    earlier: Earlier | None = None,
) -> None:
    """Score events ``at`` by their feature rows ``[m, C]``, and the earlier rows of their leads."""
    weights, n, reasons = model.weights, len(rows), out.top.shape[1]
    if earlier is None:
        mixed = model.mixture.score(rows, reasons)
    else:  # all at once: a call costs as much as many rows
        rows, stale, moved = earlier.with_rows(at, rows)
        mixed = model.mixture.score(rows, reasons, told=n)
        earlier.say(stale, moved, mixed.logits[n:])
    logits = mixed.logits[:n]
    out.logit[at], out.bias[at] = logits, mixed.bias[:n]
    out.probability[at] = probability = sigmoid(logits)
    out.percentile[at] = percentile(logits, weights.quantiles)
    out.score[at] = grade = score_1_100(logits, weights.quantiles, weights.base_rate)
    out.grade[at] = grade_codes(grade, target.grades)
    out.top[at] = _known_by(mixed.index, model.names, out.names)
    out.top_value[at], out.other[at] = mixed.value, mixed.other
    low, high = out.interval
    if len(weights.interval_logits):
        told_low = np.interp(logits, weights.interval_logits, weights.interval_low)
        told_high = np.interp(logits, weights.interval_logits, weights.interval_high)
        low[at], high[at] = np.minimum(told_low, probability), np.maximum(told_high, probability)
    else:
        low[at] = high[at] = np.nan
    out.weights_version[at] = weights.version
    if len(out.champions) > 1:
        out.champion[at] = out.champions.index(model.champion_version)


def _known_by(index: NDArray[np.int32], names: pa.Array, known: pa.Array) -> NDArray[np.int32]:
    """Places in ``names`` as places in ``known``."""
    if names is known:
        return index
    place = pc.index_in(names, value_set=known).to_numpy()
    return np.append(place, np.int32(-1))[index]
