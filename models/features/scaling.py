"""Center and scale of numeric columns, learned online: decayed median and interquartile range.

Of each column with `transform: {kind: robust}` the newest 1,024 known values are kept, weighted by
2^(-age / 256 rows), and every 256 rows (at first after 1, 2, 4, … rows) its weighted quantiles are
taken (Hazen's plotting positions). Rows are learned in order and renewals fall on fixed numbers of
rows, so the result does not depend on how rows were cut into calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.features.catalogue import FeatureCatalogue
from models.online.interface import pack_arrays, unpack_arrays

WINDOW = 1024
HALF_LIFE = 256
RENEWAL = 256
_QUARTILES = np.array([0.25, 0.5, 0.75])
_NORMAL_IQR = 1.349  # of a normal distribution with standard deviation 1
_NORMAL_DEVIATION = 0.7979  # its mean absolute deviation

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


class RobustScaler:
    """Learns what `Encoding.scaled` takes. Columns that are not robust keep their transform's.

    Attributes:
        center: [C], the decayed median; as declared until a value is known.
        scale: [C], interquartile range / 1.349, so that a normal column gets standard deviation 1;
            where half of the values are one, their mean deviation stands for it, else 1.
        rows_learned: rows so far.
    """

    def __init__(self, catalogue: FeatureCatalogue) -> None:
        transforms = [column.transform for column in catalogue.columns]
        self._columns: I8 = np.flatnonzero([t.kind == "robust" for t in transforms])
        self.center: F8 = np.array([t.center for t in transforms], np.float64)
        self.scale: F8 = np.array([t.scale for t in transforms], np.float64)
        self.rows_learned = 0
        self._values: F4 = np.zeros((len(self._columns), WINDOW), np.float32)
        self._known: I8 = np.zeros(len(self._columns), np.int64)

    @property
    def until_renewal(self) -> int:
        """After how many further rows center and scale change."""
        return _next_renewal(self.rows_learned) - self.rows_learned

    def add(self, rows: F4) -> None:
        """Learn feature rows [n, C] one after the other; what is not finite says nothing."""
        rows, start = plain(rows, np.float32), 0
        while start < len(rows):
            left = self.until_renewal
            stop = min(len(rows), start + left)
            _push(rows[start:stop], self._columns, self._values, self._known)
            self.rows_learned += stop - start
            if stop - start == left:
                self._renew()
            start = stop

    def _renew(self) -> None:
        for number, column in enumerate(self._columns.tolist()):
            known = int(self._known[number])
            if known == 0:
                continue
            age = (known - 1 - np.arange(min(known, WINDOW))) % WINDOW
            values = self._values[number, : len(age)].astype(np.float64)
            weights = np.exp2(-age / HALF_LIFE)
            low, middle, high = weighted_quantiles(values, weights, _QUARTILES)
            scale = (high - low) / _NORMAL_IQR
            if not scale > 0:
                scale = np.average(np.abs(values - middle), weights=weights) / _NORMAL_DEVIATION
            self.center[column], self.scale[column] = middle, scale if scale > 0 else 1.0

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        _push(np.zeros((0, len(self.center)), np.float32), self._columns, self._values, self._known)

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        arrays: dict[str, NDArray[Any]] = {
            "columns": self._columns,
            "center": self.center,
            "scale": self.scale,
            "values": self._values,
            "known": self._known,
        }
        return pack_arrays({"kind": "robust_scaler", "rows_learned": self.rows_learned}, arrays)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is something else or of other columns."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "robust_scaler":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'robust_scaler'")
        for name, mine in (("center", self.center), ("values", self._values)):
            if arrays[name].shape != mine.shape:
                raise ValueError("a snapshot of other columns: the catalogue has changed")
        if not np.array_equal(arrays["columns"], self._columns):
            raise ValueError("a snapshot of other columns: the catalogue has changed")
        self.center, self.scale = np.array(arrays["center"]), np.array(arrays["scale"])
        self._values, self._known = np.array(arrays["values"]), np.array(arrays["known"])
        self.rows_learned = int(meta["rows_learned"])


def _next_renewal(rows: int) -> int:
    """After how many rows center and scale are taken anew, when there were so many."""
    return 1 << rows.bit_length() if rows < RENEWAL else (rows // RENEWAL + 1) * RENEWAL


def weighted_quantiles(values: F8, weights: F8, shares: F8) -> F8:
    """Quantiles of values [n >= 1] with positive weights [n], interpolated between their middles.

    With equal weights these are numpy's by `method="hazen"`.
    """
    order = np.argsort(values, kind="stable")
    weights = weights[order]
    middles = np.cumsum(weights) - weights / 2
    return np.interp(shares, middles / weights.sum(), values[order])


@compiled
def _push(rows: F4, columns: I8, values: F4, known: I8) -> None:
    for row in range(rows.shape[0]):
        for number in range(len(columns)):
            value = rows[row, columns[number]]
            if np.isfinite(value):
                values[number, known[number] % values.shape[1]] = value
                known[number] += 1
