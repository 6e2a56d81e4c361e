"""What the compiled linear models share: weights over an encoding's inputs, and their snapshots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import plain
from models.features.encoding import Encoding
from models.online.interface import Terms, expect_kind, pack_arrays, unpack_arrays

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]


class LinearModel:
    """Online logistic regression over the inputs of an encoding, the bias one of them.

    A model names its state arrays, `w` [D] among them, and learns sparse rows into them.

    Args:
        encoding: The workspace's model inputs, D of them.
        state: Arrays by name; they are changed in place.
    """

    name = ""
    additive = True

    def __init__(self, encoding: Encoding, state: dict[str, F8]) -> None:
        self.encoding = encoding
        self.labels_learned = 0
        self._state = state

    def start_from(self, weights: F8) -> None:
        """Begin with these weights [D] instead of 0; only before the first label."""
        self._state["w"][:] = weights

    def predict_logit(self, rows: NDArray[np.float32]) -> F8:
        """Logits [n] of feature rows [n, C]."""
        return self.encoding.logits_and_contributions(rows, self._current())[2]

    def learn(self, rows: NDArray[np.float32], labels: NDArray[np.bool_]) -> F8:
        """Learn n labels one after the other; the same bits however they are cut into calls.

        Returns:
            The logit of each row before it was learned [n].
        """
        if len(rows) != len(labels):
            raise ValueError(f"{len(rows)} rows with {len(labels)} labels")
        said = np.empty(len(rows))
        self._learn(*self.encoding.sparse(rows), plain(labels, np.bool_), said)
        self.labels_learned += len(rows)
        return said

    def _learn(
        self, offsets: I8, index: I8, value: F8, labels: NDArray[np.bool_], said: F8
    ) -> None:
        """Learn rows given as in `Encoding.sparse`; write what was said of each before."""
        raise NotImplementedError

    def use(self, encoding: Encoding) -> None:
        """Take other centers and scales of the same catalogue's inputs from now on."""
        self.encoding = encoding

    def weights(self) -> F8:
        """A copy of the weights [D], bias first."""
        return self._current().copy()

    def _current(self) -> F8:
        """The weights [D] themselves."""
        return self._state["w"]

    def contributions(self, rows: NDArray[np.float32]) -> Terms:
        """Logits of rows [n, C] as bias + one term per column."""
        bias, terms, logits = self.encoding.logits_and_contributions(rows, self._current())
        names = self.encoding.catalogue.column_names
        return Terms(names, np.full(len(rows), bias), terms, logits)

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        meta = {
            "kind": self.name,
            "catalogue": self.encoding.catalogue.hash,
            "labels_learned": self.labels_learned,
        }
        return pack_arrays(meta, self._state)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state.

        Raises:
            ValueError: not a snapshot of this model over this catalogue.
        """
        meta, arrays = unpack_arrays(data)
        expect_kind(meta, self.name, self.encoding.catalogue.hash)
        if {n: a.shape for n, a in arrays.items()} != {n: a.shape for n, a in self._state.items()}:
            raise ValueError("the snapshot's arrays do not have this catalogue's size")
        self._state = {name: np.array(arrays[name], np.float64) for name in self._state}
        self.labels_learned = int(meta["labels_learned"])

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        self.encoding.warm()
        none, nothing = np.zeros(1, np.int64), np.zeros(0)
        self._learn(none, none[:0], nothing, np.zeros(0, np.bool_), nothing)
