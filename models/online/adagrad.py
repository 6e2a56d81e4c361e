"""Compiled AdaGrad logistic regression, held equal to river's by test.

The same model as `river.linear_model.LogisticRegression(optimizer=river.optim.AdaGrad(rate),
intercept_lr=0)` over `Encoding.as_dict`. Each input's step shrinks with the gradients it has seen:
Duchi, Hazan, Singer 2011, "Adaptive subgradient methods".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled
from models.features.encoding import Encoding
from models.online.linear import F8, I8, LinearModel

RATE = 0.02
_EPS = 1e-8


class AdaGrad(LinearModel):
    """Gradient steps scaled per input; state is the squared gradients g2 and w [D].

    Raises:
        ValueError: a rate that is not above 0.
    """

    name = "adagrad"

    def __init__(self, encoding: Encoding, rate: float = RATE) -> None:
        if not rate > 0:
            raise ValueError(f"adagrad: rate {rate} learns nothing. Fix: a rate above 0")
        super().__init__(encoding, {name: np.zeros(encoding.size) for name in ("g2", "w")})
        self.rate = rate

    def _learn(
        self, offsets: I8, index: I8, value: F8, labels: NDArray[np.bool_], said: F8
    ) -> None:
        state = self._state
        _learn(offsets, index, value, labels, said, state["g2"], state["w"], self.rate)


@compiled
def _learn(
    offsets: I8,
    index: I8,
    value: F8,
    labels: NDArray[np.bool_],
    said: F8,
    g2: F8,
    w: F8,
    rate: float,
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
            g2[i] += gradient * gradient
            w[i] -= rate / np.sqrt(g2[i] + _EPS) * gradient
