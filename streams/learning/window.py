"""The last labels that were learned, in the order in which they were.

Training fits them, and the online model learns them anew when one of them is taken back. A row
is written once, so the changelog carries each label once more and not the whole window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.engine.table import Table

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Keys = NDArray[np.uint64]

ONLINE, CHAMPION, RIVER = range(3)
"""Members of a mixture, in the order of its shares."""
MEMBERS = 3


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels in the order in which they are learned; arrays are ``[n]``, features ``[n, C]``.

    keys: hash of each label's id ``[n, 2]``. logit: what was published for the row.
    """

    keys: Keys
    features: NDArray[np.float32]
    positive: NDArray[np.bool_]
    logit: F8
    row_time: I8
    resolved_at: I8

    def __len__(self) -> int:
        return len(self.positive)

    def part(self, at: slice | NDArray[np.bool_]) -> Labels:
        """Some of the labels."""
        return Labels(
            self.keys[at],
            self.features[at],
            self.positive[at],
            self.logit[at],
            self.row_time[at],
            self.resolved_at[at],
        )

    @classmethod
    def of(cls, rows: NDArray[np.void], keys: Keys, columns: int) -> Labels:
        """Labels from rows of a table."""
        return cls(
            keys,
            np.ascontiguousarray(rows["features"][:, :columns]),
            rows["positive"] > 0,
            np.ascontiguousarray(rows["logit"]),
            np.ascontiguousarray(rows["row_time"]),
            np.ascontiguousarray(rows["resolved_at"]),
        )


@dataclass(frozen=True, slots=True)
class Learned:
    """Labels with their number (0 is the first ever) and what the mixture said before them.

    said: the logit of each member, NaN of one that there was not; shares: its weight in the
    mixture ``[n, 3]``, columns `ONLINE`, `CHAMPION`, `RIVER`.
    """

    labels: Labels
    number: I8
    said: F8
    shares: F8

    def __len__(self) -> int:
        return len(self.number)

    @property
    def mixed(self) -> F8:
        """The uncalibrated mixture ``[n]``."""
        return mixed(self.said, self.shares)


def mixed(said: F8, shares: F8) -> F8:
    """Weighted sum of the logits ``[n, 3]`` of the members that there are."""
    total: F8 = np.nansum(shares * said, axis=1)
    return total


def window_dtype(columns: int) -> np.dtype[np.void]:
    """Row of the table of a window for a catalogue of so many feature columns."""
    return np.dtype(
        [
            ("number", "<i8"),
            ("resolved_at", "<i8"),
            ("row_time", "<i8"),
            ("logit", "<f8"),
            ("said", "<f8", (MEMBERS,)),
            ("shares", "<f8", (MEMBERS,)),
            ("positive", "<u8"),
            ("features", "<f4", (columns + columns % 2,)),
        ]
    )


class TrainingWindow:
    """The last labels of one target.

    Args:
        table: Of :func:`window_dtype`; the state is in it.
        columns: Feature columns of the catalogue.
    """

    def __init__(self, table: Table, columns: int) -> None:
        self._table, self._columns = table, columns

    def __len__(self) -> int:
        return len(self._table)

    def add(self, labels: Labels, first: int, said: F8, shares: F8) -> None:
        """Take labels numbered from ``first`` on."""
        at, _ = self._table.find_or_insert(labels.keys)
        new = np.zeros(len(at), self._table.dtype)
        new["number"] = np.arange(first, first + len(at))
        new["resolved_at"], new["row_time"] = labels.resolved_at, labels.row_time
        new["logit"], new["positive"] = labels.logit, labels.positive
        new["said"], new["shares"] = said, shares
        new["features"][:, : self._columns] = labels.features
        self._table.rows[at] = new
        self._table.touch(at)

    def forget(self, before: int) -> None:
        """Drop labels with a smaller number."""
        live = self._table.live_rows()
        old = live[self._table.rows["number"][live] < before]
        self._table.delete(self._table.keys[old].copy())

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Which labels ``[n, 2]`` are in the window ``[n]``."""
        found: NDArray[np.bool_] = self._table.find(keys) >= 0
        return found

    def take_back(self, keys: Keys) -> Learned:
        """Remove labels, all of them there; gives what they were, in their order."""
        taken = self._rows(self._table.find(keys))
        self._table.delete(keys)
        return taken

    def since(self, number: int) -> Learned:
        """Labels from a number on, in their order."""
        live = self._table.live_rows()
        return self._rows(live[self._table.rows["number"][live] >= number])

    def set_said(self, keys: Keys, said: F8, shares: F8) -> None:
        """Set what the members said before labels that are in the window."""
        at = self._table.find(keys)
        self._table.rows["said"][at], self._table.rows["shares"][at] = said, shares
        self._table.touch(at)

    def _rows(self, at: I8) -> Learned:
        at = at[np.argsort(self._table.rows["number"][at], kind="stable")]
        rows = self._table.rows[at]
        return Learned(
            Labels.of(rows, self._table.keys[at].copy(), self._columns),
            np.ascontiguousarray(rows["number"]),
            np.ascontiguousarray(rows["said"]),
            np.ascontiguousarray(rows["shares"]),
        )
