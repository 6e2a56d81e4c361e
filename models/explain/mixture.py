"""The mixture of all models of a target, calibrated, as one sum.

logit = a · Σ_k(m_k · logit_k) + b. Since every model gives a sum of terms, so does the mixture:
contribution = a · Σ_k(m_k · contribution_k), bias = a · Σ_k(m_k · bias_k) + b. A model without a
term contributes 0 to it; a model that cannot add brings one term of its own. Scoring does the same
in one pass (`Encoding.mixed`) and is held equal to this by test.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.online.interface import Terms


def mix(
    models: Sequence[Terms],
    a: float = 1.0,
    b: float = 0.0,
    shares: Sequence[float] | None = None,
) -> Terms:
    """Weighted mean of the models' terms, mapped by the calibration (a, b).

    Args:
        models: the terms of the same n rows by each model, in a fixed order.
        shares: each model's weight in the mixture; equal ones if None.
        a: slope of the calibration.
        b: shift of the calibration.

    Returns:
        Terms whose logits are exactly bias + contributions, summed in column order in float64.
        Columns: those of the first model, then what later models add.

    Raises:
        ValueError: no models, or not of the same rows.
    """
    if not models:
        raise ValueError("a mixture needs at least one model")
    count = len(models[0].bias)
    if any(len(terms.bias) != count for terms in models):
        raise ValueError("the models scored different numbers of rows")
    names = tuple(dict.fromkeys(name for terms in models for name in terms.names))
    bias = np.zeros(count)
    contributions = np.zeros((count, len(names)))
    for terms, share in zip(models, shares or [1.0 / len(models)] * len(models), strict=True):
        bias += share * terms.bias
        if terms.names == names:
            contributions += share * terms.contributions
        else:
            places = [names.index(name) for name in terms.names]
            contributions[:, places] += share * terms.contributions
    bias = a * bias + b
    contributions *= a
    return Terms(names, bias, contributions, sum_terms(bias, contributions))


def sum_terms(bias: NDArray[np.float64], terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits [n] as bias [n] + terms [n, C] in column order: the one order of every logit."""
    logits = np.empty(len(bias))
    _sum_terms(plain(bias, np.float64), plain(terms, np.float64), logits)
    return logits


@compiled
def _sum_terms(
    bias: NDArray[np.float64], terms: NDArray[np.float64], logits: NDArray[np.float64]
) -> None:
    for row in range(terms.shape[0]):
        total = bias[row]
        for column in range(terms.shape[1]):
            total += terms[row, column]
        logits[row] = total
