"""Robust scaling follows numpy's quantiles, through drift, whatever the cuts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Transform
from models.features.encoding import Encoding
from models.features.scaling import WINDOW, RobustScaler, weighted_quantiles

ROBUST = Transform("robust", 7.0, 3.0)
CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("price", "numeric", "numbers.price", transform=ROBUST),
        Attribute("age", "numeric", "numbers.age", transform=Transform("standard", 40, 10)),
        Attribute("size", "numeric", "numbers.size", transform=ROBUST),
    ),
    Behaviour(),
)
C = len(CATALOGUE.columns)


def rows_of(price: np.ndarray, size: np.ndarray | float = np.nan) -> np.ndarray:
    rows = np.zeros((len(price), C), np.float32)
    rows[:, 0], rows[:, 2] = price, size
    return rows


def learned(*parts: np.ndarray) -> RobustScaler:
    scaler = RobustScaler(CATALOGUE)
    for part in parts:
        scaler.add(part)
    return scaler


def test_equal_weights_give_numpys_quantiles() -> None:
    draw = np.random.default_rng(1)
    for n in (1, 2, 5, 100):
        values, shares = draw.lognormal(size=n), np.array([0.1, 0.25, 0.5, 0.9])
        assert np.allclose(
            weighted_quantiles(values, np.full(n, 2.0), shares),
            np.quantile(values, shares, method="hazen"),
        )


@pytest.mark.parametrize("shape", ["normal", "lognormal", "laplace"])
def test_on_stationary_data_it_is_near_the_quantiles_of_all(shape: str) -> None:
    draw = np.random.default_rng(2)
    values = 500 + 20 * getattr(draw, shape)(size=20_000)
    scaler = learned(rows_of(values))
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    scale = (high - low) / 1.349
    assert abs(scaler.center[0] - middle) < 0.15 * scale
    assert abs(scaler.scale[0] / scale - 1) < 0.15


def test_outliers_do_not_move_it() -> None:
    draw = np.random.default_rng(3)
    values = draw.normal(size=5_000)
    spoiled = np.where(draw.random(5_000) < 0.05, 1e9, values)
    clean, dirty = learned(rows_of(values)), learned(rows_of(spoiled))
    assert abs(clean.center[0] - dirty.center[0]) < 0.15
    assert abs(clean.scale[0] / dirty.scale[0] - 1) < 0.2


def test_it_follows_drift_within_some_half_lives() -> None:
    draw = np.random.default_rng(4)
    before, after = draw.normal(0, 1, 4_000), draw.normal(100, 5, 1_536)
    scaler = learned(rows_of(before))
    assert abs(scaler.center[0]) < 0.2
    scaler.add(rows_of(after))
    recent = np.quantile(after[-768:], [0.25, 0.5, 0.75])
    assert abs(scaler.center[0] - recent[1]) < 1.0
    assert abs(scaler.scale[0] * 1.349 / (recent[2] - recent[0]) - 1) < 0.2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 1_500), max_size=8), st.integers(0, 2**32))
def test_cuts_change_nothing_and_snapshots_continue(places: list[int], seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = rows_of(draw.normal(size=1_500), draw.lognormal(size=1_500))
    rows[draw.random(rows.shape) < 0.2] = np.nan
    whole, cut = learned(rows), RobustScaler(CATALOGUE)
    for start, stop in pairwise([0, *sorted(places), len(rows)]):
        fresh = RobustScaler(CATALOGUE)
        fresh.restore(cut.snapshot())
        fresh.add(rows[start:stop])
        cut = fresh
    assert cut.snapshot() == whole.snapshot()


def test_only_robust_columns_change_and_few_rows_already_tell() -> None:
    fresh = learned()
    assert (fresh.center[0], fresh.scale[0]) == (7.0, 3.0)
    scaler = learned(rows_of(np.array([10.0, 20.0, 30.0, 40.0])))
    assert scaler.center[0] == pytest.approx(25, abs=0.1)
    assert (scaler.center[1], scaler.scale[1]) == (40.0, 10.0)
    assert (scaler.center[2], scaler.scale[2]) == (7.0, 3.0)  # never known
    encoded = Encoding(CATALOGUE).scaled(scaler.center, scaler.scale)
    assert encoded.as_dict(rows_of(np.array([25.0]))[0]).get("price", 0.0) == pytest.approx(
        0, abs=0.01
    )


def test_columns_that_are_mostly_or_always_one_value_keep_a_positive_scale() -> None:
    mostly = np.zeros(2_000)
    mostly[::10] = 50.0
    scaler = learned(rows_of(mostly, 3.0))
    assert (scaler.center[0], scaler.center[2]) == (0.0, 3.0)
    assert scaler.scale[0] == pytest.approx(5 / 0.7979, rel=0.1)
    assert scaler.scale[2] == 1.0


def test_no_more_is_remembered_than_the_window() -> None:
    draw = np.random.default_rng(6)
    tail = rows_of(draw.normal(size=WINDOW))
    one = learned(rows_of(draw.normal(1e6, 1, 1_024)), tail)
    other = learned(rows_of(draw.normal(-1e6, 1, 1_024)), tail)
    assert one.snapshot() == other.snapshot()


def test_foreign_snapshots_are_refused() -> None:
    other = FeatureCatalogue(1, CATALOGUE.attributes[:1], CATALOGUE.behaviour)
    with pytest.raises(ValueError, match="other columns"):
        learned().restore(RobustScaler(other).snapshot())
    with pytest.raises(ValueError):
        learned().restore(b"nothing")
