"""The one pass that scores is the plain mixture: logits, strongest reasons, the rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_support import CATALOGUE

from models.explain.mixture import mix
from models.explain.top import top_contributions
from models.features.encoding import Encoding
from models.mixture import Mixture
from models.online.interface import Terms

ENCODING = Encoding(CATALOGUE)
COLUMNS = CATALOGUE.column_names


class Made:
    """A member with made-up terms, a different one for each row."""

    def __init__(self, names: tuple[str, ...], seed: int) -> None:
        self.names, self._seed = names, seed

    def contributions(self, rows: np.ndarray) -> Terms:
        by_row = np.nan_to_num(rows.astype(np.float64)).sum(axis=1, keepdims=True)
        shift = np.random.default_rng(self._seed).normal(size=(1, len(self.names)))
        terms = np.sin(by_row + shift)
        bias = np.full(len(rows), 0.25)
        return Terms(self.names, bias, terms, bias + terms.sum(axis=1))

    def parts(self, rows: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.25, self.contributions(rows).contributions


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(0, 20),
    st.lists(st.sampled_from([*COLUMNS, "age*plan", "plan*visit.count"]), unique=True),
    st.booleans(),
    st.integers(0, 8),
)
def test_one_pass_is_the_plain_mixture(
    seed: int, count: int, names: list[str], river: bool, k: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(1, 2, (count, len(COLUMNS))).astype(np.float32)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    weights = rng.normal(size=ENCODING.size)
    others = [Made(tuple(names), seed)] + [Made(("a river model",), 1)] * river
    shares = [0.6, 0.3, 0.1][: 1 + len(others)]
    found = Mixture(ENCODING, weights, others, shares, 0.9, -0.2).score(rows, k)
    bias, contributions, logits = ENCODING.logits_and_contributions(rows, weights)
    plain = [Terms(COLUMNS, np.full(count, bias), contributions, logits)]
    mixed = mix([*plain, *(m.contributions(rows) for m in others)], 0.9, -0.2, shares)
    np.testing.assert_allclose(found.logits, mixed.logits, atol=1e-12)
    if k:
        _, value, other = top_contributions(mixed, k)
        np.testing.assert_allclose(np.abs(found.value), np.abs(value), atol=1e-12)
        total = found.bias + found.value.sum(axis=1) + found.other
        np.testing.assert_allclose(total, found.logits, atol=1e-12)
        np.testing.assert_allclose(other.sum(), found.other.sum(), atol=1e-9)


@given(st.integers(0, 1000), st.integers(0, 12), st.integers(0, 12))
def test_only_the_first_rows_tell_and_all_score_the_same(seed: int, told: int, rest: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(1, 2, (told + rest, len(COLUMNS))).astype(np.float32)
    mixture = Mixture(ENCODING, rng.normal(size=ENCODING.size), [Made(("age", "age*plan"), seed)])
    some, every = mixture.score(rows, 3, told), mixture.score(rows, 3)
    assert np.array_equal(some.logits, every.logits)
    for part in ("index", "value", "other"):
        assert np.array_equal(getattr(some, part), getattr(every, part)[:told])


def test_shares_are_one_for_each_member() -> None:
    with pytest.raises(ValueError, match="1 shares for 2 members"):
        Mixture(ENCODING, np.zeros(ENCODING.size), [Made(("age",), 1)], [1.0])
