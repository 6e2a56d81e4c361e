"""Compiled FTRL-Proximal logistic regression, held equal to river's by test.

The same model as `river.linear_model.LogisticRegression(optimizer=river.optim.FTRLProximal(…),
intercept_lr=0)` over `Encoding.as_dict`: the bias is an input like any other. Two habits of
river's are kept, since equality is the promise: an input's weight is refreshed from (z, n) only
when a label touches it, *before* that label's gradient enters (so the published weight is one
touch behind z), and a weight whose |z| falls below l1 keeps its last value.
River's `l2` is the proximal one; alpha, beta, l1, l2 as in McMahan et al. 2013.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled
from models.features.encoding import Encoding
from models.online.linear import F8, I8, LinearModel

ALPHA, BETA, L1, L2 = 0.05, 1.0, 0.0, 1.0


class FTRL(LinearModel):
    """Follow the regularised leader; state is z, n and w [D]."""

    name = "ftrl"

    def __init__(
        self,
        encoding: Encoding,
        alpha: float = ALPHA,
        beta: float = BETA,
        l1: float = L1,
        l2: float = L2,
    ) -> None:
        super().__init__(encoding, {name: np.zeros(encoding.size) for name in ("z", "n", "w")})
        self.alpha, self.beta, self.l1, self.l2 = alpha, beta, l1, l2

    def start_from(self, weights: F8) -> None:
        """Begin with these weights [D]: with the z from which FTRL would compute them."""
        self._state["w"][:] = weights
        self._state["z"][:] = -weights * (self.beta / self.alpha + self.l2)

    def _learn(
        self, offsets: I8, index: I8, value: F8, labels: NDArray[np.bool_], said: F8
    ) -> None:
        state = self._state
        _learn(
            offsets, index, value, labels, said,
            state["z"], state["n"], state["w"], self.alpha, self.beta, self.l1, self.l2,
        )  # fmt: skip


@compiled
def _learn(
    offsets: I8,
    index: I8,
    value: F8,
    labels: NDArray[np.bool_],
    said: F8,
    z: F8,
    n: F8,
    w: F8,
    alpha: float,
    beta: float,
    l1: float,
    l2: float,
) -> None:
    for row in range(len(labels)):
        logit = 0.0
        for entry in range(offsets[row], offsets[row + 1]):
            logit += w[index[entry]] * value[entry]
        said[row] = logit
        sign = 1.0 if labels[row] else -1.0
        margin = logit * sign
        if margin > 18.0:  # river's guards against overflow
            slope = -sign * np.exp(-margin)
        elif margin < -18.0:
            slope = -sign
        else:
            slope = -sign / (np.exp(margin) + 1.0)
        for entry in range(offsets[row], offsets[row + 1]):
            i = index[entry]
            gradient = slope * value[entry]
            root = np.sqrt(n[i])
            if abs(z[i]) > l1:
                w[i] = -(z[i] - np.sign(z[i]) * l1) / ((beta + root) / alpha + l2)
            step = (np.sqrt(n[i] + gradient * gradient) - root) / alpha
            z[i] += gradient - step * w[i]
            n[i] += gradient * gradient
