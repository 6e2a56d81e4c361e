"""Packed byte strings against Python lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.packed import Packed

VALUES = st.lists(st.none() | st.binary(max_size=12), max_size=20)
PRESENT = st.lists(st.binary(max_size=12), max_size=20)


@settings(deadline=None)
@given(VALUES, st.data())
def test_they_are_what_went_in(values: list[bytes | None], data: st.DataObject) -> None:
    packed = Packed.of(values)
    assert len(packed) == len(values)
    assert packed.to_list() == values
    assert packed.to_column().equals(pa.array(values, pa.binary()))
    some = data.draw(st.lists(st.integers(0, len(values) - 1)) if values else st.just([]))
    assert packed.take(np.array(some, np.int64)).to_list() == [values[i] for i in some]
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    assert packed.rows(start, stop).to_list() == values[start:stop]
    assert packed.rows(start, stop).to_column().to_pylist() == values[start:stop]


@settings(deadline=None)
@given(VALUES, st.integers(0, 5))
def test_columns_also_sliced_ones(values: list[bytes | None], cut: int) -> None:
    for kind in (pa.binary(), pa.large_binary()):
        assert Packed.of_column(pa.array(values, kind)[cut:]).to_list() == values[cut:]
    text = [None if v is None else v.hex() for v in values]
    got = Packed.of_column(pa.array(text, pa.string())[cut:]).to_list()
    assert got == [None if t is None else t.encode() for t in text[cut:]]


@settings(deadline=None)
@given(PRESENT, st.binary(max_size=6))
def test_behind_a_head(values: list[bytes], head: bytes) -> None:
    assert Packed.of(values).behind(head).to_list() == [head + v for v in values]


def test_other_columns_are_refused() -> None:
    for column in (pa.array([]), pa.array([1]), pa.array(["a"]).dictionary_encode()):
        with pytest.raises(TypeError, match="neither string nor binary"):
            Packed.of_column(column)


def test_fixed_rows_and_nulls() -> None:
    rows = np.array([(1, 2), (3, 4)], np.dtype([("a", "<u2"), ("b", "u1")]))
    assert Packed.of_rows(rows, b"!").to_list() == [b"!\x01\x00\x02", b"!\x03\x00\x04"]
    keys = np.array([[1, 2], [3, 4]], "<u2")
    assert Packed.of_rows(keys, b"").to_list() == [b"\1\0\2\0", b"\3\0\4\0"]
    assert Packed.nulls(2).to_list() == [None, None]
