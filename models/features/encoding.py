"""From a feature row to a linear model's inputs, and its logit as a sum of one term per column.

Inputs (D in all): the constant 1 (bias) first, then per column of the row

- numeric attribute, recency, gap, share, rate, indicator: its transformed value and a missing flag,
- categorical attribute, kind of an event: one input per category and one for missing,
- counts, decayed counts, event_count, days_since_first, sessions: their transformed value.

Behaviour is transformed by log1p (shares and rates not at all); attributes and indicators as their
catalogue says. A transformed value is clipped to ±10, so that one absurd number cannot throw a
model off. Missing: value 0, flag 1.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.features.catalogue import FeatureCatalogue

CLIP = 10.0
VALUE, VALUE_AND_FLAG, CATEGORY = 0, 1, 2
_CATEGORIES = {"categorical", "sequence_kind"}
_WITH_FLAG = {"numeric", "recency", "gap", "sequence_share", "rate", "indicator"}

I1 = NDArray[np.int8]
I8 = NDArray[np.int64]
F4 = NDArray[np.float32]
F8 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which further terms belong to which column of a mixture: the catalogue's C, then others.

    Column c has the terms order[start[c] : start[c + 1]], each multiplied by its factor [T].
    """

    start: I8
    order: I8
    factors: F8


@dataclass(frozen=True, slots=True)
class Members:
    """A mixture over n rows as one sum, its weights and calibration multiplied in.

    weights: [D] of the linear member, bias first, the other members' biases in it.
    terms: [n, T] of the others, float32 or float64; `layout` says where they belong.
    """

    weights: F8
    terms: NDArray[Any]
    layout: Layout


@dataclass(frozen=True, slots=True)
class Mixed:
    """Scores of n rows: bias, logits [n]; as `top_contributions` index, value, other [told]."""

    bias: F8
    logits: F8
    index: NDArray[np.int32]
    value: F8
    other: F8


class Encoding:
    """The inputs of one catalogue's models. Immutable; its arrays are per column [C]."""

    def __init__(self, catalogue: FeatureCatalogue) -> None:
        forms: list[int] = []
        widths: list[int] = []
        names = ["bias"]
        for column in catalogue.columns:
            if column.kind in _CATEGORIES:
                forms.append(CATEGORY)
                widths.append(column.categories + 1)
                names += [f"{column.name}#{category}" for category in range(column.categories)]
                names.append(f"{column.name}?")
            elif column.kind in _WITH_FLAG:
                forms.append(VALUE_AND_FLAG)
                widths.append(2)
                names += [column.name, f"{column.name}?"]
            else:
                forms.append(VALUE)
                widths.append(1)
                names.append(column.name)
        self.catalogue = catalogue
        self.input_names = tuple(names)
        self.size = len(names)
        self.form: I1 = np.array(forms, np.int8)
        self.width: I8 = np.array(widths, np.int64)
        self.start: I8 = np.cumsum(np.array([1, *widths[:-1]], np.int64))
        transforms = [column.transform for column in catalogue.columns]
        plain = [transform.kind == "identity" for transform in transforms]
        self.is_log: NDArray[np.bool_] = np.array([t.kind == "log1p" for t in transforms])
        self.center: F8 = np.where(plain, 0.0, [t.center for t in transforms])
        self.scale: F8 = np.where(plain, 1.0, [t.scale for t in transforms])
        self.is_robust: NDArray[np.bool_] = np.array([t.kind == "robust" for t in transforms])

    def scaled(self, center: F8, scale: F8) -> Encoding:
        """The encoding with center and scale [C] of its robust columns as learned; a cheap copy.

        Raises:
            ValueError: they are not of this catalogue's columns, or a scale is not positive.
        """
        if center.shape != self.center.shape or scale.shape != self.scale.shape:
            raise ValueError(f"center {center.shape}, scale {scale.shape}: not {self.center.shape}")
        if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("a center is not finite or a scale not positive")
        changed = copy.copy(self)
        changed.center = np.where(self.is_robust, center, self.center)
        changed.scale = np.where(self.is_robust, scale, self.scale)
        return changed

    def logits_and_contributions(
        self, rows: F4, weights: F8, out: F8 | None = None
    ) -> tuple[float, F8, F8]:
        """Score rows with linear weights.

        Args:
            rows: feature rows [n, C].
            weights: one per input [D].
            out: [n, C] for the contributions; made if None.

        Returns:
            bias (weights[0]), contributions [n, C], and logits [n] with
            logit = bias + contributions summed in column order, in float64.
        """
        if weights.shape != (self.size,):
            raise ValueError(f"weights have shape {weights.shape}, this catalogue {self.size}")
        rows, weights = plain(rows, np.float32), plain(weights, np.float64)
        if out is None:
            out = np.empty(rows.shape, np.float64)
        logits = np.empty(len(rows))
        _contributions(
            self.form, self.start, self.width, self.is_log, self.center, self.scale,
            rows, weights, out, logits,
        )  # fmt: skip
        return float(weights[0]), out, logits

    def unscored(self, n: int, k: int = 0, told: int | None = None) -> Mixed:
        """Room for the scores of n rows; the first `told` (all by default) tell k contributions."""
        told = n if told is None else told
        index, value = np.full((told, k), -1, np.int32), np.zeros((told, k))
        return Mixed(np.empty(n), np.empty(n), index, value, np.zeros(told))

    def mixed(self, rows: F4, members: Members, out: Mixed, first: int = 0) -> None:
        """Score rows with a whole mixture in one pass; the plain way is `explain/mixture.py`.

        Args:
            rows: feature rows [n, C].
            members: the mixture's weights and further terms of these rows.
            out: written from its row `first` on.
        """
        rows, layout = plain(rows, np.float32), members.layout
        _mixed(
            self.form, self.start, self.width, self.is_log, self.center, self.scale,
            rows, plain(members.weights, np.float64), plain(members.terms, members.terms.dtype),
            layout.start, layout.order, layout.factors, first,
            out.bias, out.index, out.value, out.other, out.logits,
        )  # fmt: skip

    def sparse(self, rows: F4) -> tuple[I8, I8, F8]:
        """Non-zero inputs of rows [n, C] as (offsets [n+1], input numbers [m], values [m])."""
        rows = plain(rows, np.float32)
        limit = len(rows) * (len(self.form) + 1)
        offsets = np.empty(len(rows) + 1, np.int64)
        index, value = np.empty(limit, np.int64), np.empty(limit)
        count = _sparse(
            self.form, self.start, self.width, self.is_log, self.center, self.scale,
            rows, offsets, index, value,
        )  # fmt: skip
        return offsets, index[:count], value[:count]

    def dense(self, rows: F4) -> F8:
        """All inputs of rows [n, C] as a matrix [n, D]."""
        offsets, index, value = self.sparse(rows)
        matrix = np.zeros((len(rows), self.size))
        matrix[np.repeat(np.arange(len(rows)), np.diff(offsets)), index] = value
        return matrix

    def as_dict(self, row: F4) -> dict[str, float]:
        """River's x for one row [C]: the non-zero inputs by name, with `bias` 1."""
        _, index, value = self.sparse(row.reshape(1, -1))
        return {self.input_names[i]: v for i, v in zip(index.tolist(), value.tolist(), strict=True)}

    def warm(self) -> None:
        """Compile (or load from the cache) before being ready."""
        row = np.zeros((1, len(self.form)), np.float32)
        self.logits_and_contributions(row, np.zeros(self.size))
        none = np.zeros(0, np.int64)
        layout = Layout(np.zeros(row.size + 1, np.int64), none, none.astype(np.float64))
        for kind in (np.float32, np.float64):
            members = Members(np.zeros(self.size), np.zeros((1, 0), kind), layout)
            self.mixed(row, members, self.unscored(1, 1))
        self.sparse(row)


@compiled
def _input(
    form: int, start: int, width: int, is_log: bool, center: float, scale: float, x: float
) -> tuple[int, float]:
    """The one input of a column that is not zero for value x: its number and its value."""
    if np.isnan(x):
        if form == VALUE:
            return start, 0.0
        return start + width - 1, 1.0
    if form == CATEGORY:
        category = int(x)
        if category < 0 or category >= width - 1:
            return start + width - 1, 1.0
        return start + category, 1.0
    value = x
    if is_log:
        value = np.log1p(x) if x >= 0 else -np.log1p(-x)
    value = (value - center) / scale
    return start, min(max(value, -CLIP), CLIP)


@compiled
def _contributions(
    form: I1,
    start: I8,
    width: I8,
    is_log: NDArray[np.bool_],
    center: F8,
    scale: F8,
    rows: F4,
    weights: F8,
    out: F8,
    logits: F8,
) -> None:
    for row in range(rows.shape[0]):
        total = weights[0]
        for column in range(rows.shape[1]):
            index, value = _input(
                form[column], start[column], width[column],
                is_log[column], center[column], scale[column], np.float64(rows[row, column]),
            )  # fmt: skip
            term = weights[index] * value
            out[row, column] = term
            total += term
        logits[row] = total


@compiled
def _mixed(
    form: I1,
    start: I8,
    width: I8,
    is_log: NDArray[np.bool_],
    center: F8,
    scale: F8,
    rows: F4,
    weights: F8,
    terms: NDArray[Any],
    term_start: I8,
    term_order: I8,
    factors: F8,
    first: int,
    bias: F8,
    index: NDArray[np.int32],
    value: F8,
    other: F8,
    logits: F8,
) -> None:
    k, told = index.shape[1], index.shape[0]
    columns = len(term_start) - 1
    sums = np.zeros(columns)
    for own in range(rows.shape[0]):
        row = first + own
        total = bias[row] = weights[0]
        for column in range(columns):
            term = 0.0
            if column < rows.shape[1]:
                at, x = _input(
                    form[column], start[column], width[column],
                    is_log[column], center[column], scale[column], np.float64(rows[own, column]),
                )  # fmt: skip
                term = weights[at] * x
            for each in range(term_start[column], term_start[column + 1]):
                term += factors[each] * terms[own, term_order[each]]
            sums[column] = term
            total += term
        logits[row] = total
        if row >= told or k == 0:
            continue
        kept, least = 0, -1.0
        for column in range(columns):
            size = abs(sums[column])
            if not size > least:
                continue
            place = kept if kept < k else k - 1
            while place > 0 and size > abs(value[row, place - 1]):
                value[row, place] = value[row, place - 1]
                index[row, place] = index[row, place - 1]
                place -= 1
            value[row, place] = sums[column]
            index[row, place] = column
            kept = min(kept + 1, k)
            if kept == k:
                least = abs(value[row, k - 1])
        rest = weights[0]
        for place in range(kept):
            rest += value[row, place]
        other[row] = total - rest


@compiled
def _sparse(
    form: I1,
    start: I8,
    width: I8,
    is_log: NDArray[np.bool_],
    center: F8,
    scale: F8,
    rows: F4,
    offsets: I8,
    indices: I8,
    values: F8,
) -> int:
    count = 0
    for row in range(rows.shape[0]):
        offsets[row] = count
        indices[count] = 0
        values[count] = 1.0
        count += 1
        for column in range(rows.shape[1]):
            index, value = _input(
                form[column], start[column], width[column],
                is_log[column], center[column], scale[column], np.float64(rows[row, column]),
            )  # fmt: skip
            if value != 0.0:
                indices[count] = index
                values[count] = value
                count += 1
    offsets[rows.shape[0]] = count
    return count
