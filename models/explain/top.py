"""The few contributions worth telling, and the rest as one number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.online.interface import Terms

TOP = 5


def top_contributions(
    terms: Terms, k: int = TOP
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """The k largest contributions by absolute value of each row.

    Returns:
        index [n, k] into `terms.names`, largest first, ties by column (-1 where there are fewer
        than k terms); value [n, k] (0 there); other [n], the logit less the bias and the values,
        so that bias + values + other is the logit to the last bit or the one before.
    """
    count = len(terms.bias)
    index = np.full((count, k), -1, np.int32)
    value = np.zeros((count, k))
    other = np.empty(count)
    _top(
        plain(terms.bias, np.float64), plain(terms.contributions, np.float64),
        plain(terms.logits, np.float64), index, value, other,
    )  # fmt: skip
    return index, value, other


@compiled
def _top(
    bias: NDArray[np.float64],
    contributions: NDArray[np.float64],
    logits: NDArray[np.float64],
    index: NDArray[np.int32],
    value: NDArray[np.float64],
    other: NDArray[np.float64],
) -> None:
    k = index.shape[1]
    for row in range(contributions.shape[0]):
        kept = 0
        for column in range(contributions.shape[1]):
            size = abs(contributions[row, column])
            if kept == k and not size > abs(value[row, k - 1]):
                continue
            place = kept if kept < k else k - 1
            while place > 0 and size > abs(value[row, place - 1]):
                value[row, place] = value[row, place - 1]
                index[row, place] = index[row, place - 1]
                place -= 1
            value[row, place] = contributions[row, column]
            index[row, place] = column
            kept = min(kept + 1, k)
        told = bias[row]
        for place in range(kept):
            told += value[row, place]
        other[row] = logits[row] - told
