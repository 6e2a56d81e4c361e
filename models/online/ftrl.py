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

from models.compiled import compiled, plain
from models.features.encoding import Encoding
from models.online.interface import Terms, expect_kind, pack_arrays, unpack_arrays

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]

ALPHA, BETA, L1, L2 = 0.05, 1.0, 0.0, 1.0


class FTRL:
    """Online logistic regression over the inputs of an encoding; state is z, n and w [D]."""

    name = "ftrl"
    additive = True

    def __init__(
        self,
        encoding: Encoding,
        alpha: float = ALPHA,
        beta: float = BETA,
        l1: float = L1,
        l2: float = L2,
    ) -> None:
        self.encoding = encoding
        self.alpha, self.beta, self.l1, self.l2 = alpha, beta, l1, l2
        self.labels_learned = 0
        self._z, self._n, self._w = (np.zeros(encoding.size) for _ in range(3))

    def predict_logit(self, rows: NDArray[np.float32]) -> F8:
        """Logits [n] of feature rows [n, C]."""
        return self.encoding.logits_and_contributions(rows, self._w)[2]

    def learn(self, rows: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        """Learn n labels one after the other; the same bits however they are cut into calls."""
        if len(rows) != len(labels):
            raise ValueError(f"{len(rows)} rows with {len(labels)} labels")
        offsets, index, value = self.encoding.sparse(rows)
        _learn(
            offsets, index, value, plain(labels, np.bool_),
            self._z, self._n, self._w, self.alpha, self.beta, self.l1, self.l2,
        )  # fmt: skip
        self.labels_learned += len(rows)

    def weights(self) -> F8:
        """A copy of the weights [D], bias first."""
        return self._w.copy()

    def contributions(self, rows: NDArray[np.float32]) -> Terms:
        """Logits of rows [n, C] as bias + one term per column."""
        bias, terms, logits = self.encoding.logits_and_contributions(rows, self._w)
        names = self.encoding.catalogue.column_names
        return Terms(names, np.full(len(rows), bias), terms, logits)

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        meta = {
            "kind": "ftrl",
            "catalogue": self.encoding.catalogue.hash,
            "labels_learned": self.labels_learned,
        }
        return pack_arrays(meta, {"z": self._z, "n": self._n, "w": self._w})

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state.

        Raises:
            ValueError: not a snapshot of FTRL over this catalogue.
        """
        meta, arrays = unpack_arrays(data)
        expect_kind(meta, "ftrl", self.encoding.catalogue.hash)
        state = [np.array(arrays[name], np.float64) for name in ("z", "n", "w")]
        if any(array.shape != (self.encoding.size,) for array in state):
            raise ValueError("the snapshot's arrays do not have this catalogue's size")
        self._z, self._n, self._w = state
        self.labels_learned = int(meta["labels_learned"])

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        self.encoding.warm()
        none, empty = np.zeros(1, np.int64), np.zeros(0)
        _learn(
            none, none[:0], empty, np.zeros(0, np.bool_),
            self._z, self._n, self._w, self.alpha, self.beta, self.l1, self.l2,
        )  # fmt: skip


@compiled
def _learn(
    offsets: I8,
    index: I8,
    value: F8,
    labels: NDArray[np.bool_],
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
