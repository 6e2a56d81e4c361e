"""A static logistic regression over feature rows: the first champion, and evaluation's baseline.

Ridge-penalised maximum likelihood by Newton's method (the bias is not penalised): convex, so the
result does not depend on a start or a seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.features.encoding import Encoding

_BLOCK = 8_192
_BIAS_RIDGE = 1e-6


def train_static(
    encoding: Encoding,
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    l2: float = 10.0,
    max_steps: int = 50,
) -> NDArray[np.float64]:
    """Weights [D] of a logistic regression on labelled feature rows.

    Args:
        encoding: of the rows' catalogue.
        rows: [n, C].
        labels: [n].
        l2: strength of the pull of every weight but the bias to 0.
        max_steps: of Newton's method; 5 to 10 suffice.

    Raises:
        ValueError: no rows, or only one outcome.
    """
    positives = int(np.count_nonzero(labels))
    if not 0 < positives < len(labels):
        raise ValueError(
            f"{positives} positives in {len(labels)} labels: training needs both outcomes; "
            "wait for more labels"
        )
    ridge = np.full(encoding.size, l2)
    ridge[0] = _BIAS_RIDGE
    weights = np.zeros(encoding.size)
    weights[0] = np.log(positives / (len(labels) - positives))
    loss, slope, curvature = _derivatives(encoding, rows, labels, weights, ridge)
    for _ in range(max_steps):
        step = np.linalg.solve(curvature, slope)
        size = 1.0
        while size > 1e-6:  # halve until the loss falls: Newton overshoots on separable data
            tried = weights - size * step
            new_loss, new_slope, new_curvature = _derivatives(encoding, rows, labels, tried, ridge)
            if new_loss <= loss:
                break
            size /= 2
        else:
            break
        gain = loss - new_loss
        weights, loss, slope, curvature = tried, new_loss, new_slope, new_curvature
        if gain <= 1e-12 * max(1.0, abs(loss)):
            break
    return weights


def _derivatives(
    encoding: Encoding,
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float64],
    ridge: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    loss = 0.5 * float((ridge * weights * weights).sum())
    slope = ridge * weights
    curvature = np.diag(ridge)
    for start in range(0, len(rows), _BLOCK):
        inputs = encoding.dense(rows[start : start + _BLOCK])
        outcome = labels[start : start + _BLOCK]
        logits = inputs @ weights
        probability = sigmoid(logits)
        loss += float(np.logaddexp(0.0, np.where(outcome, -logits, logits)).sum())
        slope = slope + inputs.T @ (probability - outcome)
        curvature = curvature + (inputs * (probability * (1.0 - probability))[:, None]).T @ inputs
    return loss, slope, curvature
