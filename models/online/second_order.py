"""Compiled second-order logistic regression: an extended Kalman filter over the weights.

Weights are Gaussian with mean w and covariance P. A label moves them along P·x, by how unsure they
are, and makes them surer; with every label a little is forgotten, so that the model follows drift.
After Penny and Roberts 1999, "Dynamic logistic regression". For a label y of inputs x, with
p = sigmoid(w·x), h = p(1 - p) and g = P·x / (1 + h·x·P·x):

    P ← P - h·g·(P·x)ᵀ      w ← w + g·(y - p)      P ← P / keep, no variance above the prior's
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled
from models.features.encoding import Encoding
from models.online.linear import F8, I8, LinearModel

MOST_INPUTS = 512
VARIANCE = 0.03
KEEP = 0.9998


class SecondOrder(LinearModel):
    """A full covariance: D² numbers, 18 µs a label for 135 inputs; state is w [D] and p [D, D].

    Args:
        encoding: The workspace's model inputs, D of them.
        variance: Of each weight before the first label.
        keep: Share of what is known that outlives a label; 1 forgets nothing.

    Raises:
        ValueError: more inputs than a covariance and its snapshots can be kept for, or parameters
            outside 0 < variance and 0 < keep <= 1.
    """

    name = "second_order"

    def __init__(self, encoding: Encoding, variance: float = VARIANCE, keep: float = KEEP) -> None:
        n = encoding.size
        if n > MOST_INPUTS:
            raise ValueError(
                f"second_order keeps a number for each pair of inputs, and this catalogue has {n} "
                f"inputs. Fix: use ftrl, or fewer buckets (at most {MOST_INPUTS} inputs)"
            )
        if not (variance > 0 and 0 < keep <= 1):
            raise ValueError(
                f"second_order: variance {variance} and keep {keep} make no filter. Fix: variance "
                "above 0, keep above 0 and at most 1"
            )
        super().__init__(encoding, {"w": np.zeros(n), "p": np.eye(n) * variance})
        self.variance, self.keep = variance, keep

    def _learn(
        self, offsets: I8, index: I8, value: F8, labels: NDArray[np.bool_], said: F8
    ) -> None:
        w, p = self._state["w"], self._state["p"]
        _learn(offsets, index, value, labels, said, w, p, self.variance, self.keep)


@compiled
def _learn(
    offsets: I8,
    index: I8,
    value: F8,
    labels: NDArray[np.bool_],
    said: F8,
    w: F8,
    p: F8,
    variance: float,
    keep: float,
) -> None:
    n = len(w)
    px, spreading = np.empty(n), 1.0 / keep
    for row in range(len(labels)):
        start, stop = offsets[row], offsets[row + 1]
        logit = 0.0
        for entry in range(start, stop):
            logit += w[index[entry]] * value[entry]
        said[row] = logit
        for i in range(n):
            total = 0.0
            for entry in range(start, stop):
                total += p[i, index[entry]] * value[entry]
            px[i] = total
        spread = 0.0
        for entry in range(start, stop):
            spread += px[index[entry]] * value[entry]
        chance = 1.0 / (1.0 + np.exp(-min(max(logit, -30.0), 30.0)))
        h = chance * (1.0 - chance)
        scale = 1.0 / (1.0 + h * spread)
        error = (1.0 if labels[row] else 0.0) - chance
        for i in range(n):
            w[i] += scale * px[i] * error
            gain = h * scale * px[i]
            for j in range(n):
                p[i, j] = (p[i, j] - gain * px[j]) * spreading
        for i in range(n):
            if p[i, i] > variance:  # shrink its row and column, so that P stays a covariance
                ratio = np.sqrt(variance / p[i, i])
                for j in range(n):
                    p[i, j] *= ratio
                    p[j, i] *= ratio
