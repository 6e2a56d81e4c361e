"""A canary is a stable, nested share of the leads, another one for each version."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xxhash

from models.lifecycle.canary import in_canary

COUNT = 100_000
HASHED = np.random.default_rng(0).integers(0, 2**64, (COUNT, 2), np.uint64)
COUNTED = np.stack([np.zeros(COUNT, np.uint64), np.arange(COUNT, dtype=np.uint64)], axis=1)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("version", ["0a1b2c3d4e5f", "another"])
@pytest.mark.parametrize("keys", [HASHED, COUNTED], ids=["hashed", "counted"])
def test_the_share_comes_out_within_chance(keys: np.ndarray, version: str, share: float) -> None:
    found = in_canary(keys, version, share).mean()
    assert abs(found - share) < 3.5 * np.sqrt(share * (1 - share) / COUNT)


def test_a_larger_share_holds_the_smaller_one() -> None:
    members = [in_canary(HASHED, "v", share) for share in (0.0, 0.01, 0.05, 0.1, 0.5, 1.0)]
    for smaller, larger in pairwise(members):
        assert not (smaller & ~larger).any()
    assert not members[0].any()
    assert members[-1].all()


def test_a_lead_is_in_or_out_whoever_else_is_asked_for() -> None:
    whole = in_canary(HASHED, "v", 0.2)
    some = np.random.default_rng(1).integers(0, COUNT, 500)
    assert (in_canary(HASHED[some], "v", 0.2) == whole[some]).all()
    assert in_canary(HASHED[:0], "v", 0.2).shape == (0,)


def test_versions_draw_independently_and_both_halves_of_the_key_count() -> None:
    first, second = (in_canary(HASHED, version, 0.1) for version in ("v1", "v2"))
    others = [in_canary(HASHED ^ np.array(bits, np.uint64), "v1", 0.1) for bits in ((0, 1), (1, 0))]
    for other in (second, *others):
        assert (first & other).mean() == pytest.approx(0.01, abs=0.002)


def test_membership_is_the_hash_that_is_described() -> None:
    """In plain integers; another hash would move leads in the middle of a canary."""

    def inside(hi: int, lo: int) -> bool:
        mixed = hi ^ lo * 0x9E3779B97F4A7C15 % 2**64 ^ xxhash.xxh64_intdigest(b"0a1b2c3d4e5f")
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ mixed >> shift) * factor % 2**64
        return (mixed ^ mixed >> 31) < 0.3 * 2**64

    plain = [inside(*pair) for pair in HASHED[:500].tolist()]
    assert in_canary(HASHED[:500], "0a1b2c3d4e5f", 0.3).tolist() == plain
