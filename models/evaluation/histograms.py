"""Counts of feature rows and of logits, for drift and for figures before labels come.

Bins are fixed by the catalogue alone, so that counts of any rows may be added: partitions to a
whole, epochs to a window, and a training window may be compared with today.

- Numbers: 16 bins over the model input v (`encoding.py`: transformed, clipped to ±10), equal steps
  of v/(1 + |v|), so they are narrow near 0 and wide far out. Behaviour columns are never negative
  and use all 16 above 0; attributes use 8 on each side. A catalogue's edges are turned back into
  the column's own unit once, so that counting compares raw values and needs no logarithm.
- Categories: the category's id modulo 16.
- Missing: one bin more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.features.catalogue import FeatureCatalogue
from models.features.encoding import CATEGORY, CLIP, Encoding
from models.online.interface import pack_arrays, unpack_arrays

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

VALUE_BINS = 16
MISSING = VALUE_BINS  # the last bin
BINS = VALUE_BINS + 1
LOGIT_BINS = 64
LOGIT_LIMIT = 8.0  # logits beyond enter the outermost bins
LOGIT_WIDTH = 2 * LOGIT_LIMIT / LOGIT_BINS
LOGIT_CENTRES: F8 = -LOGIT_LIMIT + LOGIT_WIDTH * (np.arange(LOGIT_BINS, dtype=np.float64) + 0.5)


class FeatureBins:
    """The bins of a catalogue's columns; constants only.

    Attributes:
        edges: [C, 15] float32, ascending, in each column's own unit; a value on an edge belongs
            above it.
        categories: [C], the number of a categorical column's categories, 0 for numbers.
    """

    def __init__(self, catalogue: FeatureCatalogue) -> None:
        self.catalogue = catalogue
        encoding = Encoding(catalogue)
        is_category = encoding.form == CATEGORY
        self.categories: I8 = np.where(is_category, encoding.width - 1, 0)
        signed = [c.kind in ("numeric", "rate", "indicator") for c in catalogue.columns]
        last = CLIP / (1.0 + CLIP)
        both = np.linspace(-last, last, VALUE_BINS + 1)[1:-1]
        above = np.linspace(0.0, last, VALUE_BINS + 1)[1:-1]
        squeezed = np.where(np.array(signed)[:, None], both, above)
        inputs = squeezed / (1.0 - np.abs(squeezed))
        raw = inputs * encoding.scale[:, None] + encoding.center[:, None]
        with np.errstate(over="ignore"):  # an edge that no float32 reaches is infinite
            logs = np.sign(raw) * np.expm1(np.abs(raw))
            self.edges: F4 = np.where(encoding.is_log[:, None], logs, raw).astype(np.float32)

    def zeros(self) -> I8:
        """Counts [C, 17] of no rows."""
        return np.zeros((len(self.categories), BINS), np.int64)

    def count(self, rows: F4, into: I8) -> None:
        """Add feature rows [n, C] to counts `into` [C, 17], in place."""
        _count_rows(plain(rows, np.float32), self.edges, self.categories, into)

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        self.count(np.zeros((1, len(self.categories)), np.float32), self.zeros())
        count_logits(np.zeros(1), np.zeros(LOGIT_BINS, np.int64))


def count_logits(logits: F8, into: I8) -> None:
    """Add logits [n] to counts `into` [64] of equal bins over ±8, in place; NaN is left out."""
    _count_logits(plain(logits, np.float64), into)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted of some scored rows: features [C, 17], logits [64], int64.

    Plain sums: `a + b` is what counting both at once would have given.
    """

    features: I8
    logits: I8

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return int(self.features[0].sum()) if len(self.features) else int(self.logits.sum())

    def add(self, bins: FeatureBins, rows: F4, logits: F8) -> None:
        """Count feature rows [n, C] and their logits [n], in place."""
        bins.count(rows, self.features)
        count_logits(logits, self.logits)

    def __add__(self, other: Counts) -> Counts:
        """The counts of both."""
        return Counts(self.features + other.features, self.logits + other.logits)

    def pack(self, catalogue: FeatureCatalogue) -> bytes:
        """As bytes; the same bytes for the same counts."""
        meta = {"kind": "counts", "catalogue": catalogue.hash}
        size = np.int32 if self.rows <= np.iinfo(np.int32).max else np.int64
        arrays = {"features": self.features.astype(size), "logits": self.logits.astype(size)}
        return pack_arrays(meta, arrays)

    @staticmethod
    def unpack(data: bytes, catalogue: FeatureCatalogue) -> Counts:
        """The reverse of `pack`; ValueError if it is something else or of another catalogue."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "counts":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'counts'")
        if meta.get("catalogue") != catalogue.hash:
            raise ValueError(
                "the counts belong to another feature catalogue. Fix: count the training rows anew"
            )
        return Counts(arrays["features"].astype(np.int64), arrays["logits"].astype(np.int64))


def no_counts(bins: FeatureBins) -> Counts:
    """Counts of no rows."""
    return Counts(bins.zeros(), np.zeros(LOGIT_BINS, np.int64))


def counts_of(bins: FeatureBins, rows: F4, logits: F8) -> Counts:
    """Counts of feature rows [n, C] and their logits [n], e.g. of a champion's training window."""
    counts = no_counts(bins)
    counts.add(bins, rows, logits)
    return counts


@compiled
def _count_rows(rows: F4, edges: F4, categories: I8, counts: I8) -> None:
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            x = rows[row, column]
            if np.isnan(x):
                place = 16
            elif categories[column] > 0:
                category = int(x)
                known = 0 <= category < categories[column]
                place = category & 15 if known else 16
            else:  # a search without branches: 4 comparisons for 16 bins
                place = 8 * (x >= edges[column, 7])
                place += 4 * (x >= edges[column, place + 3])
                place += 2 * (x >= edges[column, place + 1])
                place += 1 * (x >= edges[column, place])
            counts[column, place] += 1


@compiled
def _count_logits(logits: F8, counts: I8) -> None:
    for i in range(len(logits)):
        x = logits[i]
        if not np.isnan(x):
            place = int(np.floor((min(max(x, -8.0), 8.0) + 8.0) * 4.0))
            counts[min(place, 63)] += 1
