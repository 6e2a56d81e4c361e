"""Searches labelled feature rows for columns that know the outcome: the tests of single columns.

A column is accused when it is far better than chance allows (lower confidence bound of its AUC,
corrected for the number of tests) and in one of these ways better than a feature can be:

- `outcome`: nearly the outcome itself, lower bound at least `NEARLY_CERTAIN`,
- `pure`: whatever it says in so many leads (known, missing, one value), all ended alike,
- `dominant`: alone it beats all columns weaker than itself together, by more than `MARGIN`.

The last is a suspicion, the others are leaks. Confidence counts leads, not rows, since rows of one
lead are no independent evidence (standard error: Hanley and McNeil, Radiology 143, 1982). What
times and events tell is in `time_travel.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import auc

Severity = Literal["leak", "suspect"]

ERROR_RATE = 0.01
NEARLY_CERTAIN = 0.90
STRONG = 0.80
MARGIN = 0.10
MIN_LEADS = 30
FOLDS = 5
_BINS = 32
_PRIOR = 5.0
_WHOLE_ROWS = 40_000

F8 = NDArray[np.float64]
B1 = NDArray[np.bool_]
I8 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One column as of n labelled rows.

    values: float [n], NaN where nothing is known; a category's number where `categorical`.
    told: whether the values were told by events (attributes, fields); behaviour is counted.
    words: what single values mean, for `pure`; numbers stand for themselves.
    """

    name: str
    values: F8
    categorical: bool = False
    told: bool = True
    words: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one column, by which test, in a sentence."""

    column: str
    severity: Severity
    test: str
    says: str


@dataclass(frozen=True, slots=True)
class Strength:
    """How well one column tells outcomes apart, at its best: AUC, its lower bound, and how."""

    auc: float
    lower: float
    how: str


class RowAudit:
    """Tests of single columns over labelled rows.

    Args:
        outcome: whether each row's label is positive [n].
        lead: number of each row's lead, 0 and up [n].
        tests: how many columns are to be tested in all, for the correction.
    """

    def __init__(self, outcome: B1, lead: I8, tests: int) -> None:
        self._outcome, self._lead = outcome, lead
        self._fold = lead % FOLDS
        self._z = NormalDist().inv_cdf(1 - ERROR_RATE / max(3 * tests, 1))

    def strength(self, column: Candidate) -> Strength | None:
        """The strongest of: value (either direction), known or not, out-of-fold target rates.

        None where too few leads of one outcome are there to say anything.
        """
        known = ~np.isnan(column.values)
        found = [self._judged(known.astype(np.float64), slice(None), "whether it is known")]
        if not column.categorical:
            found.append(self._judged(column.values[known], known, "its value"))
        found.append(
            self._judged(self._out_of_fold(_groups(column)), slice(None), "target rates of values")
        )
        return max((f for f in found if f is not None), key=lambda f: f.lower, default=None)

    def _judged(self, scores: F8, rows: B1 | slice, how: str) -> Strength | None:
        outcome, lead = self._outcome[rows], self._lead[rows]
        positives = len(np.unique(lead[outcome]))
        negatives = len(np.unique(lead[~outcome]))
        if min(positives, negatives) < MIN_LEADS:
            return None
        raw = auc(outcome, scores)
        if raw is None:
            return None
        best = max(raw, 1.0 - raw)
        return Strength(best, best - self._z * _hanley_mcneil(best, positives, negatives), how)

    def _out_of_fold(self, group: I8) -> F8:
        """Share of positives of each row's group among the other folds' rows, shrunk."""
        cells = np.zeros((FOLDS, int(group.max(initial=0)) + 1, 2))
        np.add.at(cells, (self._fold, group, self._outcome.astype(np.int64)), 1.0)
        others = cells.sum(0) - cells
        base = others[:, :, 1].sum(1, keepdims=True) / np.maximum(others.sum((1, 2))[:, None], 1)
        rates = (others[:, :, 1] + _PRIOR * base) / (others.sum(2) + _PRIOR)
        return np.asarray(rates[self._fold, group] - base[self._fold, 0])

    def pure(self, column: Candidate) -> str | None:
        """A sentence where all leads of which it says one thing ended alike, against all odds."""
        if not column.told:
            return None
        everyone, base = len(np.unique(self._lead)), float(self._outcome.mean())
        for said, rows in _sayings(column):
            leads = np.unique(self._lead[rows])
            if not MIN_LEADS <= len(leads) <= everyone - MIN_LEADS:
                continue
            mine = self._outcome[rows]
            odds = base if not mine.any() else 1.0 - base if mine.all() else 0.0
            if odds * len(leads) >= MIN_LEADS:
                ended = "negative" if not mine.any() else "positive"
                return (
                    f"all {len(leads):,} leads of which it {said} ended {ended}, where "
                    f"{odds * len(leads):,.0f} were to be expected otherwise"
                )
        return None

    def findings(self, columns: Sequence[Candidate], whole: Sequence[Candidate]) -> list[Finding]:
        """What stands against each of `columns`; `whole` are the columns that models see."""
        strengths = {c.name: self.strength(c) for c in (*columns, *whole)}
        found: list[Finding] = []
        for column in columns:
            own = strengths[column.name]
            if own is not None and own.lower >= NEARLY_CERTAIN:
                says = f"by {own.how} alone it has AUC {own.auc:.3f} (at least {own.lower:.3f})"
                found.append(Finding(column.name, "leak", "outcome", says))
                continue
            pure = self.pure(column)
            if pure is not None:
                found.append(Finding(column.name, "leak", "pure", pure))
                continue
            if own is None or own.lower < STRONG:
                continue
            weaker = [c for c in whole if _auc_of(strengths[c.name]) < own.auc - 0.02]
            together = self.together(weaker)
            if own.lower > together + MARGIN:
                says = (
                    f"by {own.how} alone it has AUC {own.auc:.3f} (at least {own.lower:.3f}), all "
                    f"{len(weaker)} weaker columns together {together:.3f}"
                )
                found.append(Finding(column.name, "suspect", "dominant", says))
        return found

    def together(self, columns: Sequence[Candidate]) -> float:
        """AUC of boosted trees over these columns, each fold of leads judged by the others'."""
        import lightgbm

        rows = np.flatnonzero(self._lead < np.sort(self._lead)[: _WHOLE_ROWS + 1].max() + 1)
        outcome, fold = self._outcome[rows], self._fold[rows]
        if not columns or outcome.all() or not outcome.any():
            return 0.5
        matrix = np.column_stack([c.values[rows] for c in columns])
        parameters = {
            "objective": "binary", "num_leaves": 15, "learning_rate": 0.1, "num_threads": 1,
            "deterministic": True, "seed": 0, "verbosity": -1, "min_data_in_leaf": 20,
        }  # fmt: skip
        categorical = [i for i, c in enumerate(columns) if c.categorical]
        scores = np.zeros(len(rows))
        for part in range(FOLDS):
            mine = fold == part
            if not mine.any() or outcome[~mine].all() or not outcome[~mine].any():
                continue
            data = lightgbm.Dataset(
                matrix[~mine], outcome[~mine].astype(np.float64), categorical_feature=categorical
            )
            model = lightgbm.train(parameters, data, 60)
            scores[mine] = model.predict(matrix[mine], raw_score=True)
        return auc(outcome, scores) or 0.5


def _auc_of(strength: Strength | None) -> float:
    return strength.auc if strength is not None else 0.5


def _hanley_mcneil(value: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC; at 1 that of one pair in doubt, since 0 would be no doubt."""
    a = min(value, 1.0 - 0.5 / (positives * negatives))
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = a * (1 - a) + (positives - 1) * (q1 - a * a) + (negatives - 1) * (q2 - a * a)
    return float(np.sqrt(variance / (positives * negatives)))


def _groups(column: Candidate) -> I8:
    """A group for each row: 0 missing, then the category, or one of 32 bins of equal mass."""
    known = ~np.isnan(column.values)
    group = np.zeros(len(known), np.int64)
    values = column.values[known]
    if column.categorical:
        group[known] = values.astype(np.int64) + 1
    elif len(values):
        edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
        group[known] = np.searchsorted(edges, values, side="right") + 1
    return group


def _sayings(column: Candidate) -> Iterator[tuple[str, B1]]:
    """What a column can say, in words, and of which rows: known, missing, each common value."""
    known = ~np.isnan(column.values)
    yield "is known", known
    yield "is not known", ~known
    values, counts = np.unique(column.values[known], return_counts=True)
    for value in values[counts >= MIN_LEADS][:1000].tolist():
        named = column.words[int(value)] if column.categorical and column.words else f"{value:g}"
        yield f"says {named!r}" if column.categorical else f"is {named}", column.values == value
