"""Which rows a filter of the mapping lets through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.files.columns import Columns, true, valid
from connectors.files.model import Condition, NumberSpec

_COMPARE: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]] = {
    "greater": np.greater,
    "at_least": np.greater_equal,
    "less": np.less,
    "at_most": np.less_equal,
}


def passing(columns: Columns, conditions: tuple[Condition, ...]) -> NDArray[np.bool_]:
    """Mask [n] of the rows that meet every condition. Text that is no number is not greater."""
    mask = np.ones(columns.n, dtype=np.bool_)
    for condition in conditions:
        mask &= _one(columns, condition)
    return mask


def _one(columns: Columns, c: Condition) -> NDArray[np.bool_]:
    text = columns.text(c.column)
    there = valid(text)
    mask = np.ones(columns.n, dtype=np.bool_)
    if c.null is not None:
        mask &= there != c.null
    if c.not_null is not None:
        mask &= there == c.not_null
    if c.equals is not None:
        mask &= true(pc.equal(text, c.equals))
    if c.not_equals is not None:
        mask &= true(pc.not_equal(text, c.not_equals))
    if c.in_ is not None:
        mask &= true(pc.is_in(text, value_set=pa.array(c.in_, pa.string())))
    if c.not_in is not None:
        mask &= there & ~true(pc.is_in(text, value_set=pa.array(c.not_in, pa.string())))
    if c.starts_with is not None:
        mask &= true(pc.starts_with(text, c.starts_with))
    if c.matches is not None:
        mask &= true(pc.match_substring_regex(text, c.matches))
    limits = {key: getattr(c, key) for key in _COMPARE if getattr(c, key) is not None}
    if limits:
        numbers, present, _ = columns.number(NumberSpec(column=c.column))
        for key, limit in limits.items():
            mask &= present & _COMPARE[key](numbers, limit)
    return mask
