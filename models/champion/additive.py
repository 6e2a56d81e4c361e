"""An additive model: logit = bias + a table's entry for each column and for some pairs of columns.

A value of a column falls into a bin. Bin 0 is "missing": NaN, and for categories every id that the
model does not know. The bins of a numeric column start at 1: values below the first cut, from the
first cut to below the second, and so on. A categorical column says for each id which bin it is in.

Tables are float32, so that a graph can look up exactly the same numbers; this is its plain
reference (`graph.py` exports it, `parity.py` holds the two equal).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.explain.mixture import sum_terms
from models.online.interface import Terms

F4 = NDArray[np.float32]
I4 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Numeric:
    """Cuts, ascending float32: a value is in bin 1 + the number of cuts that are <= it."""

    cuts: F4

    @property
    def count(self) -> int:
        """Number of bins, the missing one included."""
        return len(self.cuts) + 2

    def bins(self, values: F4) -> I4:
        """The bin of each value [n]."""
        place = 1 + np.searchsorted(self.cuts, values, side="right")
        return np.where(np.isnan(values), 0, place).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Categorical:
    """The bin of each category id [categories]; 0 for an id that counts as missing."""

    places: I4

    @property
    def count(self) -> int:
        """Number of bins, the missing one included."""
        return int(self.places.max(initial=0)) + 1

    def bins(self, values: F4) -> I4:
        """The bin of each value [n]; ids are cut to whole numbers as `Encoding` does."""
        known = (values > -1) & (values < len(self.places))
        ids = np.where(known, values, len(self.places)).astype(np.int64)
        return np.append(self.places, np.int32(0))[ids].astype(np.int32)


@dataclass(frozen=True, slots=True)
class Term:
    """A table over the bins of one column [bins] or of two [bins of left, bins of right]."""

    columns: tuple[int, ...]
    table: F4


class AdditiveModel:
    """An additive model over feature rows; immutable.

    Args:
        names: the columns of a feature row [C].
        bins: how each column is cut [C].
        terms: at least one, each over other columns than the rest.
        bias: logit of a row all of whose terms are 0.

    Raises:
        ValueError: a table does not fit its columns, is not finite, or a cut is out of order.
    """

    additive = True

    def __init__(
        self,
        names: tuple[str, ...],
        bins: tuple[Numeric | Categorical, ...],
        terms: tuple[Term, ...],
        bias: float,
    ) -> None:
        self.columns, self.bins, self.terms, self.bias = names, bins, terms, float(bias)
        self.names = tuple("*".join(names[column] for column in term.columns) for term in terms)
        _check(self)

    def contributions(self, rows: F4) -> Terms:
        """Logits of rows [n, C] as bias + one table entry per term, summed in float64 in order."""
        used = {column for term in self.terms for column in term.columns}
        places = {column: self.bins[column].bins(rows[:, column]) for column in used}
        entries = np.empty((len(rows), len(self.terms)))
        for number, term in enumerate(self.terms):
            entries[:, number] = term.table[tuple(places[column] for column in term.columns)]
        bias = np.full(len(rows), self.bias)
        return Terms(self.names, bias, entries, sum_terms(bias, entries))

    def predict_logit(self, rows: F4) -> NDArray[np.float64]:
        """Logits [n] of feature rows [n, C]."""
        return self.contributions(rows).logits

    def with_terms(self, terms: tuple[Term, ...], bias: float) -> AdditiveModel:
        """The same columns and bins with other terms."""
        return AdditiveModel(self.columns, self.bins, terms, bias)

    def rounded(self, dtype: DTypeLike) -> AdditiveModel:
        """The same model with tables rounded to a smaller type, as an export may store them."""
        terms = [Term(t.columns, t.table.astype(dtype).astype(np.float32)) for t in self.terms]
        return self.with_terms(tuple(terms), self.bias)

    def as_plain(self) -> dict[str, Any]:
        """Plain values (for JSON, tests and differences); `from_plain` gives the model back."""
        bins = [
            {"cuts": b.cuts.tolist()} if isinstance(b, Numeric) else {"places": b.places.tolist()}
            for b in self.bins
        ]
        terms = [{"columns": list(t.columns), "table": t.table.tolist()} for t in self.terms]
        return {"names": list(self.columns), "bins": bins, "terms": terms, "bias": self.bias}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> AdditiveModel:
        """The reverse of `as_plain`."""
        bins = tuple(
            Numeric(np.array(b["cuts"], np.float32))
            if "cuts" in b
            else Categorical(np.array(b["places"], np.int32))
            for b in plain["bins"]
        )
        terms = tuple(
            Term(tuple(t["columns"]), np.array(t["table"], np.float32)) for t in plain["terms"]
        )
        return cls(tuple(plain["names"]), bins, terms, plain["bias"])


def _check(model: AdditiveModel) -> None:
    if len(model.bins) != len(model.columns):
        raise ValueError(f"{len(model.bins)} columns are cut, the row has {len(model.columns)}")
    for name, bins in zip(model.columns, model.bins, strict=True):
        if isinstance(bins, Numeric):
            if not (np.isfinite(bins.cuts).all() and (np.diff(bins.cuts) > 0).all()):
                raise ValueError(f"the cuts of {name} are not finite and ascending")
        elif bins.places.min(initial=0) < 0:
            raise ValueError(f"a category of {name} has a negative bin")
    if not model.terms:
        raise ValueError("an additive model needs at least one term")
    if len(set(model.names)) != len(model.names):
        raise ValueError("two terms are of the same columns: add their tables")
    for name, term in zip(model.names, model.terms, strict=True):
        if len(term.columns) not in (1, 2) or len(set(term.columns)) != len(term.columns):
            raise ValueError(f"the term {name} is not of one column or two different ones")
        shape = tuple(model.bins[column].count for column in term.columns)
        if term.table.shape != shape or term.table.dtype != np.float32:
            raise ValueError(f"the table of {name} is {term.table.shape}, its bins are {shape}")
        if not np.isfinite(term.table).all():
            raise ValueError(f"the table of {name} is not finite")
    if not np.isfinite(model.bias):
        raise ValueError("the bias is not finite")
