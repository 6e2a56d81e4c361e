"""A digest names a set of labels, however they came; any change of one of them changes it."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.lifecycle.lineage import LabelDigest

COUNT = 40
GENERATOR = np.random.default_rng(2)
IDS = [f"{index:032x}" for index in range(COUNT)]
TIMES, RESOLVED = GENERATOR.integers(0, 10**15, (2, COUNT))
OUTCOMES = GENERATOR.random(COUNT) < 0.3
FEATURES = GENERATOR.normal(size=(COUNT, 5)).astype(np.float32)
FEATURES[3, 1] = np.nan
FEATURES[4, 2] = 0.0


def digest(*parts: np.ndarray, features: np.ndarray = FEATURES) -> str:
    taken = LabelDigest()
    for part in parts:
        ids = [IDS[row] for row in part]
        taken.add(ids, TIMES[part], RESOLVED[part], OUTCOMES[part], features[part])
    return taken.digest()


WHOLE = digest(np.arange(COUNT))


@settings(max_examples=40)
@given(st.permutations(range(COUNT)), st.lists(st.integers(0, COUNT), max_size=5))
def test_order_and_chunks_do_not_matter(order: list[int], cuts: list[int]) -> None:
    assert digest(*np.split(np.array(order), sorted(cuts))) == WHOLE


def test_it_can_be_computed_by_hand() -> None:
    rows = [
        struct.pack("<qqBI", TIMES[i], RESOLVED[i], int(OUTCOMES[i]), 32) + IDS[i].encode()
        + FEATURES[i].astype("<f4").tobytes()
        for i in range(COUNT)
    ]  # fmt: skip
    one_by_one = sorted(hashlib.sha256(row).digest() for row in rows)
    assert hashlib.sha256(b"".join(one_by_one)).hexdigest() == WHOLE.split(":")[1]


def test_every_change_shows() -> None:
    changed = FEATURES.copy()
    changed[7, 0] = np.nextafter(changed[7, 0], np.float32(9))
    rows = np.arange(COUNT)
    found = {digest(rows, features=changed), digest(rows[1:]), digest(rows, rows[:1]), digest()}
    assert len(found | {WHOLE}) == 5


def test_one_nan_and_one_zero_are_like_another() -> None:
    same = FEATURES.copy()
    same[3, 1] = np.uint32([0xFFC12345]).view(np.float32)[0]
    same[4, 2] = -0.0
    assert digest(np.arange(COUNT), features=same) == WHOLE


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="every label needs"):
        LabelDigest().add(IDS[:1], TIMES[:2], RESOLVED[:2], OUTCOMES[:2], FEATURES[:2])
