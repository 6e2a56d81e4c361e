"""What scores a lead: linear weights, a champion, a river model, mixed and calibrated as one sum.

logit = a · Σ_k(share_k · logit_k) + b. One pass over the rows gives logits and the strongest
reasons (`Encoding.mixed`); `explain/mixture.py` says the same plainly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.features.encoding import Encoding, Layout, Members, Mixed

F8 = NDArray[np.float64]
_BLOCK = 256
"""Rows whose further terms are made and used at once, while they are near."""


class Summed(Protocol):
    """A member that gives its logits as sums: a champion, or a model that is one term."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its terms."""

    def parts(self, rows: NDArray[np.float32]) -> tuple[float, NDArray[Any]]:
        """Bias and terms [n, T] of rows [n, C]; a row's terms never depend on the others."""


class Mixture:
    """Scores feature rows of one catalogue.

    Args:
        encoding: The workspace's model inputs.
        weights: Of the linear member [D].
        others: The other members, in the order of `shares`.
        shares: Weight of each member's logit, the linear one first; an equal one each if empty.
        a: Slope of the calibration.
        b: Shift of the calibration.

    Raises:
        ValueError: not one share for each member.
    """

    def __init__(
        self,
        encoding: Encoding,
        weights: F8,
        others: Sequence[Summed] = (),
        shares: Sequence[float] = (),
        a: float = 1.0,
        b: float = 0.0,
    ) -> None:
        count = 1 + len(others)
        shares = [*shares] or [1.0 / count] * count
        if len(shares) != count:
            raise ValueError(f"{len(shares)} shares for {count} members")
        self.encoding = encoding
        self._others = tuple(others)
        self._scale = [a * share for share in shares]
        self._weights_b = weights * self._scale[0]
        self._weights_b[0] += b
        columns = encoding.catalogue.column_names
        own = [name for member in others for name in member.names]
        self.names: tuple[str, ...] = tuple(dict.fromkeys((*columns, *own)))
        place = {name: at for at, name in enumerate(self.names)}
        places = np.array([place[name] for name in own], np.int64)
        scaled = zip(others, self._scale[1:], strict=True)
        factors = np.array([s for m, s in scaled for _ in m.names], np.float64)
        order = np.argsort(places, kind="stable")
        counts = np.bincount(places, minlength=len(self.names))
        self._layout = Layout(np.append(0, np.cumsum(counts)), order, factors[order])

    def score(self, rows: NDArray[np.float32], k: int = 0, told: int | None = None) -> Mixed:
        """Logits of rows [n, C] and, for k > 0, their k strongest contributions.

        Args:
            told: Of how many of the rows, the first ones; of all by default.
        """
        scored = self.encoding.unscored(len(rows), k, told)
        if not self._others:
            nothing = np.empty((len(rows), 0))
            self.encoding.mixed(rows, Members(self._weights_b, nothing, self._layout), scored)
            return scored
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            self.encoding.mixed(rows[part], self._members(rows[part]), scored, start)
        return scored

    def _members(self, rows: NDArray[np.float32]) -> Members:
        weights, parts = self._weights_b.copy(), []
        for member, scale in zip(self._others, self._scale[1:], strict=True):
            bias, terms = member.parts(rows)
            weights[0] += scale * bias
            parts.append(terms)
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return Members(weights, joined, self._layout)

    def logits(self, rows: NDArray[np.float32]) -> F8:
        """Logits [n] of rows [n, C]."""
        return self.score(rows).logits
