"""Hashes equal their references, whatever the bytes."""

from __future__ import annotations

import pyarrow as pa
import pytest
import xxhash
from aiokafka.partitioner import murmur2 as reference_murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine import hashing


@settings(deadline=None)
@given(st.lists(st.binary(max_size=100), min_size=1, max_size=20), st.integers(0, 3))
def test_hash128_equals_xxh64(values: list[bytes], skip: int) -> None:
    column = pa.array(values, pa.binary()).slice(skip)
    got = hashing.hash128(column)
    for row, value in zip(got, column.to_pylist(), strict=True):
        assert int(row[0]) == xxhash.xxh64_intdigest(value, 0)
        assert int(row[1]) == xxhash.xxh64_intdigest(value, 1)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20), st.integers(1, 50))
def test_murmur2_equals_kafkas(values: list[bytes], partitions: int) -> None:
    got = hashing.murmur2(pa.array(values, pa.binary()), partitions)
    assert got.tolist() == [(reference_murmur2(v) & 0x7FFFFFFF) % partitions for v in values]


@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=5))
def test_hex_ids_round_trip(values: list[bytes]) -> None:
    ids = [v.hex() for v in values]
    assert hashing.keys_to_hex(hashing.hex_to_keys(pa.array(ids))) == ids


def test_other_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="32 lower-case hex"):
        hashing.hex_to_keys(pa.array(["0" * 32, "g" * 32]))
    with pytest.raises(ValueError, match="32 lower-case hex"):
        hashing.hex_to_keys(pa.array(["0" * 31]))
