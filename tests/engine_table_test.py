"""The table behaves as a dict of rows, whatever is inserted, deleted or loaded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.table import Table

DTYPE = np.dtype([("count", "i8"), ("decayed", "f4", (3,))])
KEYS = st.lists(st.integers(0, 40), max_size=30)


def _keys(numbers: list[int]) -> np.ndarray:
    # few distinct values so that probing chains and the free list are exercised
    return np.array([[n % 7, n] for n in numbers], np.uint64).reshape(-1, 2)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(["add", "delete", "take"]), KEYS), max_size=12))
def test_table_equals_a_dict(steps: list[tuple[str, list[int]]]) -> None:
    table, plain = Table("t", DTYPE, capacity=4), {}
    copy, gone = {}, set()
    for what, numbers in steps:
        keys = _keys(numbers)
        if what == "add":
            rows, new = table.find_or_insert(keys)
            for number, is_new in zip(numbers, new, strict=True):
                assert is_new == (number not in plain)
                plain[number] = plain.get(number, 0) + 1
            np.add.at(table.rows["count"], rows, 1)
            table.touch(rows)
        elif what == "delete":
            table.delete(keys)
            for number in numbers:
                plain.pop(number, None)
        else:
            changes = table.take_changes()
            for key, row in zip(changes.keys, changes.rows, strict=True):
                copy[int(key[1])] = int(row["count"])
            for key in changes.deleted:
                copy.pop(int(key[1]), None)
        assert len(table) == len(plain)
    changes = table.take_changes()
    copy |= {int(k[1]): int(r["count"]) for k, r in zip(changes.keys, changes.rows, strict=True)}
    gone = {int(k[1]) for k in changes.deleted}
    assert {k: v for k, v in copy.items() if k not in gone} == plain
    every = _keys(list(range(41)))
    found = table.find(every)
    assert {n: int(table.rows["count"][r]) for n, r in enumerate(found) if r >= 0} == plain


def test_growth_keeps_rows() -> None:
    table = Table("t", DTYPE, capacity=2)
    keys = np.random.default_rng(1).integers(0, 2**63, (5000, 2)).astype(np.uint64)
    rows, new = table.find_or_insert(keys)
    assert new.all()
    table.rows["count"][rows] = np.arange(5000)
    more = np.random.default_rng(2).integers(0, 2**63, (5000, 2)).astype(np.uint64)
    table.find_or_insert(more)
    assert (table.rows["count"][table.find(keys)] == np.arange(5000)).all()
    assert len(table) == 10_000
