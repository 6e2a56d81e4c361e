"""How leads of a category ended lately: decayed target rates, shrunk to the base rate.

Of each category the labels are counted, each with weight 2^(-age / half-life). The rate is
log((w + m·p) / (n - w + m·(1 - p))) - log(p / (1 - p)): the category's log-odds against those of
the base rate p, after m labels of the base rate were put before its own (empirical Bayes with a
beta prior; target encoding: Micci-Barreca, SIGKDD Explorations 3, 2001). Labels are learned in the
order in which they were resolved, and rates can only be asked as of then or later, so that a row
never sees an outcome that came after it. Rows without a category are one more category.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.features.catalogue import FeatureCatalogue
from models.features.declared import Rate
from models.features.state import DAY_US
from models.online.interface import pack_arrays, unpack_arrays

UNKNOWN = -1

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


class TargetRates:
    """Rates of one categorical attribute for one target.

    Args:
        categories: how many category ids there are.
        rate: half-life and prior.

    Attributes:
        learned_until: when the newest label was resolved, µs UTC; None before the first.
    """

    def __init__(self, categories: int, rate: Rate = Rate()) -> None:  # noqa: B008 - frozen
        self._half_life = rate.half_life_days * DAY_US
        self._prior = rate.prior_labels
        # behind the categories: rows that have none, and the base, which is all labels
        self._won: F8 = np.zeros(categories + 2)
        self._all: F8 = np.zeros(categories + 2)
        self._last: I8 = np.zeros(categories + 2, np.int64)
        self.learned_until: int | None = None

    def learn(self, category: I8, outcome: NDArray[np.bool_], resolved_at: I8) -> None:
        """Learn labels [n] one after the other.

        Args:
            category: ids, `UNKNOWN` for a row that had none.
            outcome: whether each was positive.
            resolved_at: when its outcome was known, µs UTC, ascending.

        Raises:
            ValueError: times go back, or an id is not one of the categories.
        """
        category, resolved_at = plain(category, np.int64), plain(resolved_at, np.int64)
        if not len(category):
            return
        if np.any(np.diff(resolved_at) < 0) or (
            self.learned_until is not None and resolved_at[0] < self.learned_until
        ):
            raise ValueError("labels must be learned in the order in which they were resolved")
        categories = len(self._won) - 2
        if category.min() < UNKNOWN or category.max() >= categories:
            raise ValueError(f"a category id is not below {categories}")
        place = np.where(category == UNKNOWN, categories, category)
        _learn(
            place, plain(outcome, np.bool_), resolved_at, self._half_life, self._won, self._all,
            self._last,
        )  # fmt: skip
        self.learned_until = int(resolved_at[-1])

    def rates(self, as_of: int) -> F8:
        """Rate of each category and of rows without one [categories + 1]; 0 without labels.

        Args:
            as_of: µs UTC, not before the newest label.

        Raises:
            ValueError: labels were learned that were not resolved by then.
        """
        if self.learned_until is not None and as_of < self.learned_until:
            raise ValueError(
                f"rates as of {as_of} would know outcomes of {self.learned_until}: ask before "
                "learning them"
            )
        keep = np.exp2(-((as_of - self._last) / self._half_life))
        won, count = self._won * keep, self._all * keep
        # half a label of each outcome keeps the base rate away from 0 and 1
        base = (won[-1] + 0.5) / (count[-1] + 1.0)
        positive = won[:-1] + self._prior * base
        negative = count[:-1] - won[:-1] + self._prior * (1.0 - base)
        return np.asarray(np.log(positive / negative) - np.log(base / (1.0 - base)))

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        none = np.zeros(0, np.int64)
        _learn(none, none.astype(np.bool_), none, self._half_life, self._won, self._all, self._last)

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        meta = {
            "kind": "target_rates",
            "half_life": self._half_life,
            "prior": self._prior,
            "learned_until": self.learned_until,
        }
        arrays = {"won": self._won, "all": self._all, "last": self._last}
        return pack_arrays(meta, arrays)

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is something else or declared otherwise."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "target_rates":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'target_rates'")
        declared = (self._half_life, self._prior, self._won.shape)
        if (meta["half_life"], meta["prior"], arrays["won"].shape) != declared:
            raise ValueError("a snapshot of a rate that was declared otherwise")
        self._won, self._all = np.array(arrays["won"]), np.array(arrays["all"])
        self._last, self.learned_until = np.array(arrays["last"]), meta["learned_until"]


class RateColumns:
    """Where a catalogue's rates stand in a feature row, and how they get there."""

    def __init__(self, catalogue: FeatureCatalogue) -> None:
        names = catalogue.column_names
        self.rated = tuple(
            (slot, names.index(f"{a.name}.rate"), a)
            for slot, a in enumerate(catalogue.attributes)
            if a.rate is not None
        )
        """Column of the category, column of the rate, attribute."""

    def check(self, rates: Mapping[str, F8]) -> None:
        """ValueError unless the rates are of these attributes and categories, or there are none."""
        wanted = {a.name: a.categories + 1 for _, _, a in self.rated}
        found = {name: len(values) for name, values in rates.items()}
        if found and found != wanted:
            raise ValueError(f"rates of {found} categories, the catalogue has {wanted}")

    def fill(self, rows: F4, at: slice | I8, rates: Mapping[str, F8]) -> None:
        """Write the rates of rows' categories into the rows `at` of rows [n, C], in place.

        Args:
            rates: By attribute, as `TargetRates.rates`; 0, the base rate, for one that has none.
        """
        for category, column, attribute in self.rated:
            found = rates.get(attribute.name)
            rows[at, column] = 0.0 if found is None else found[categories_of(rows[at, category])]


def categories_of(column: F4) -> I8:
    """Category ids [n] of a column of feature rows, `UNKNOWN` for missing."""
    known = np.isfinite(column)
    return np.where(known, np.where(known, column, 0.0).astype(np.int64), UNKNOWN)


@compiled
def _learn(
    category: I8,
    outcome: NDArray[np.bool_],
    resolved_at: I8,
    half_life: float,
    won: F8,
    count: F8,
    last: I8,
) -> None:
    base = len(won) - 1
    for label in range(len(category)):
        for place in (category[label], base):
            keep = np.exp2(-((resolved_at[label] - last[place]) / half_life))
            won[place] = won[place] * keep + (1.0 if outcome[label] else 0.0)
            count[place] = count[place] * keep + 1.0
            last[place] = resolved_at[label]
