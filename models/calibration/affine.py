"""Online affine calibration of logits: probability = sigmoid(a·logit + b).

A recursive second-order (Laplace) step a label: the information matrix fades with a window of
labels, so that the map follows drift, and both parameters are pulled towards (1, 0), so that few
labels change little. The pull is strong by default: labels come late, and a map that believes them
wholly does harm on drifting data (measured on the public sets: models/README.md). Sequential and in
float64: the same bits however labels are cut into calls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.online.interface import pack_arrays, unpack_arrays

F8 = NDArray[np.float64]

WINDOW = 1_000.0  # labels; older ones fade
PRIOR_A, PRIOR_B = 400.0, 400.0  # information of the pull to (1, 0); a label gives p·(1-p)
A_MIN, A_MAX, B_LIMIT = 0.1, 3.0, 5.0


class AffineCalibration:
    """The map (a, b) of one target, learned label by label; a stays in [0.1, 3], b in ±5."""

    def __init__(
        self, window: float = WINDOW, prior_a: float = PRIOR_A, prior_b: float = PRIOR_B
    ) -> None:
        self._settings = np.array([1.0 - 1.0 / window, prior_a, prior_b])
        # a, b, then the information matrix as (aa, ab, bb)
        self._state = np.array([1.0, 0.0, prior_a, 0.0, prior_b])
        self.labels_learned = 0

    @property
    def a(self) -> float:
        """Slope on the mixed logit."""
        return float(self._state[0])

    @property
    def b(self) -> float:
        """Shift of the logit."""
        return float(self._state[1])

    def apply(self, logits: F8) -> F8:
        """Calibrated logits [n] of mixed logits [n]."""
        return self.a * logits + self.b

    def learn(self, logits: F8, labels: NDArray[np.bool_]) -> None:
        """Learn from mixed, uncalibrated logits [n] and their outcomes [n], one after the other.

        Take logits made before the model learned these labels, else calibration looks too good.
        """
        _learn(plain(logits, np.float64), plain(labels, np.bool_), self._settings, self._state)
        self.labels_learned += len(logits)

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        meta = {"kind": "affine", "labels_learned": self.labels_learned}
        return pack_arrays(meta, {"settings": self._settings, "state": self._state})

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state and settings; ValueError if it is something else."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "affine":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'affine'")
        self._settings = np.array(arrays["settings"])
        self._state = np.array(arrays["state"])
        self.labels_learned = int(meta["labels_learned"])


def sigmoid(logits: F8) -> F8:
    """Probabilities of logits, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -700.0, 700.0)))


@compiled
def _learn(logits: F8, labels: NDArray[np.bool_], settings: F8, state: F8) -> None:
    keep, prior_a, prior_b = settings[0], settings[1], settings[2]
    for i in range(len(logits)):
        x = min(max(logits[i], -30.0), 30.0)
        a, b = state[0], state[1]
        p = 1.0 / (1.0 + np.exp(-(a * x + b)))
        information = p * (1.0 - p)
        aa = keep * state[2] + (1.0 - keep) * prior_a + information * x * x
        ab = keep * state[3] + information * x
        bb = keep * state[4] + (1.0 - keep) * prior_b + information
        error = p - (1.0 if labels[i] else 0.0)
        slope_a = error * x + (1.0 - keep) * prior_a * (a - 1.0)
        slope_b = error + (1.0 - keep) * prior_b * b
        determinant = aa * bb - ab * ab
        state[0] = min(max(a - (bb * slope_a - ab * slope_b) / determinant, A_MIN), A_MAX)
        state[1] = min(max(b - (aa * slope_b - ab * slope_a) / determinant, -B_LIMIT), B_LIMIT)
        state[2], state[3], state[4] = aa, ab, bb
