"""One workspace's models over feature rows: logits as sums, scores, grades, reasons, deltas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.calibration.percentile import grade_codes, percentile, score_1_100
from models.targets import Target
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
        interval: Low and high end of the probability's interval ``[n, 2]``, NaN for none.
        model: Number that stands for weights and champion together.
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
    interval: F8
    weights_version: I8
    champion_version: NDArray[np.object_]
    model: I8
    names: list[str]

    @classmethod
    def empty(cls, n: int, names: tuple[str, ...], reasons: int) -> Scores:
        """Room for n rows, with so many contributions each."""
        f8 = np.empty
        return cls(
            f8(n), f8(n), f8(n), np.empty(n, np.int32), np.empty(n, np.int8), f8(n),
            np.empty((n, reasons), np.int32), f8((n, reasons)), f8(n), np.full((n, 2), np.nan),
            np.empty(n, np.int64), np.full(n, None, object), np.empty(n, np.int64), list(names),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Moved:
    """What moved each score since the lead's last one ``[n]``; NaN at its first."""

    last_logit: F8
    event: F8
    time: F8
    model: F8

    def put(self, at: I8, parts: tuple[F8, F8, F8]) -> None:
        """Set the parts (event, time, model) of the rows ``at``."""
        self.event[at], self.time[at], self.model[at] = parts


def score(rows: F4, model: Model, target: Target, out: Scores, at: I8) -> None:
    """Score feature rows ``[n, C]`` into the rows ``at`` of ``out``."""
    weights = model.weights
    mixed = model.mixture.score(rows, out.top.shape[1])
    out.logit[at], out.bias[at] = mixed.logits, mixed.bias
    out.probability[at] = probability = sigmoid(mixed.logits)
    out.percentile[at] = percentile(mixed.logits, weights.quantiles)
    out.score[at] = grade = score_1_100(mixed.logits, weights.quantiles, weights.base_rate)
    out.grade[at] = grade_codes(grade, target.grades)
    out.top[at] = _known_by(mixed.index, model.mixture.names, out.names)
    out.top_value[at], out.other[at] = mixed.value, mixed.other
    if len(weights.interval_logits):
        low = np.interp(mixed.logits, weights.interval_logits, weights.interval_low)
        high = np.interp(mixed.logits, weights.interval_logits, weights.interval_high)
        out.interval[at, 0] = np.minimum(low, probability)
        out.interval[at, 1] = np.maximum(high, probability)
    out.weights_version[at], out.model[at] = weights.version, model.code
    if model.champion_version is not None:
        out.champion_version[at] = model.champion_version


def _known_by(
    index: NDArray[np.int32], names: tuple[str, ...], known: list[str]
) -> NDArray[np.int32]:
    """Places in ``names`` as places in ``known``, which grows by names not seen before."""
    if tuple(known[: len(names)]) == names:
        return index
    for name in names:
        if name not in known:
            known.append(name)
    place = np.array([*(known.index(name) for name in names), -1], np.int32)
    return place[index]


def deltas(
    model: Model,
    before: F4,
    aged: F4,
    logits: F8,
    last_logits: F8,
    last_model: I8,
) -> tuple[F8, F8, F8]:
    """Split each score's change into what the lead did, passing time, and what the models learned.

    With f the present model, x the lead's row: model = f(x_last) - logit_last, time = f(x_last aged
    to now) - f(x_last), event = f(x_now) - f(x_last aged). Where the model is the same as at the
    last score, f(x_last) is logit_last and the model's part exactly 0. They add up to the change.

    Args:
        model: What scored these rows.
        before: Rows as of the lead's last score ``[n, C]``; ``aged`` the same as of now.
        logits: The new scores ``[n]``; ``last_logits`` the last ones, NaN for none.
        last_model: ``Model.code`` of the last scores ``[n]``.

    Returns:
        The parts of event, time and model ``[n]`` each.
    """
    has_last = ~np.isnan(last_logits)
    at_last = last_logits.copy()
    other = np.flatnonzero(has_last & (last_model != model.code))
    if len(other):
        at_last[other] = model.mixture.logits(before[other])
    at_now = at_last.copy()
    # a row that time did not change scores the same
    moved = np.flatnonzero(has_last & _differ(before, aged))
    if len(moved):
        at_now[moved] = model.mixture.logits(aged[moved])
    return logits - at_now, at_now - at_last, at_last - last_logits


def _differ(left: F4, right: F4) -> NDArray[np.bool_]:
    """Which rows are not the same bits ``[n]``."""
    differ: NDArray[np.bool_] = (left.view(np.int32) != right.view(np.int32)).any(axis=1)
    return differ
