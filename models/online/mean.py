"""The plain mean of several linear models over the same inputs, which is one linear model.

Since all members weigh the same inputs, their mean costs nothing where leads are scored. How it
compares with its members stands in models/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.features.encoding import Encoding
from models.online.interface import expect_kind, pack_arrays, unpack_arrays
from models.online.linear import F8, LinearModel


class Mean(LinearModel):
    """Learns each label with every member; its weights are the mean of theirs.

    Args:
        encoding: The workspace's model inputs, those of every member.
        members: Fresh linear models, each kind once.
    """

    name = "mean"

    def __init__(self, encoding: Encoding, members: Sequence[LinearModel]) -> None:
        super().__init__(encoding, {})
        self.members = list(members)

    def learn(self, rows: NDArray[np.float32], labels: NDArray[np.bool_]) -> F8:
        """Learn n labels one after the other; gives what was said before each, logits [n]."""
        said = np.zeros(len(rows))
        for member in self.members:
            said += member.learn(rows, labels)
        self.labels_learned += len(rows)
        return said / len(self.members)

    def start_from(self, weights: F8) -> None:
        """Begin with these weights [D] in every member."""
        for member in self.members:
            member.start_from(weights)

    def use(self, encoding: Encoding) -> None:
        """Take other centers and scales of the same catalogue's inputs from now on."""
        self.encoding = encoding
        for member in self.members:
            member.use(encoding)

    def _current(self) -> F8:
        total = np.zeros(self.encoding.size)
        for member in self.members:
            total += member.weights()
        return total / len(self.members)

    def snapshot(self) -> bytes:
        """The members' whole state."""
        meta = {
            "kind": self.name,
            "catalogue": self.encoding.catalogue.hash,
            "members": {member.name: member.snapshot() for member in self.members},
        }
        return pack_arrays(meta, {})

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; all of it or, if it does not fit, nothing.

        Raises:
            ValueError: not a snapshot of these members over this catalogue.
        """
        meta, _ = unpack_arrays(data)
        expect_kind(meta, self.name, self.encoding.catalogue.hash)
        names = [member.name for member in self.members]
        if sorted(meta["members"]) != sorted(names):
            raise ValueError(f"a snapshot of {sorted(meta['members'])}, expected {sorted(names)}")
        before = [member.snapshot() for member in self.members]
        try:
            for member in self.members:
                member.restore(meta["members"][member.name])
        except ValueError:
            for member, state in zip(self.members, before, strict=True):
                member.restore(state)
            raise
        self.labels_learned = self.members[0].labels_learned

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        for member in self.members:
            member.warm()
