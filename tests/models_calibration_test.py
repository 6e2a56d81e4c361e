"""Logits become calibrated probabilities, percentiles, scores and grades."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import AffineCalibration, sigmoid
from models.calibration.percentile import (
    MIN_SCORES,
    RecentScores,
    grade_codes,
    percentile,
    score_1_100,
)
from models.evaluation.metrics import log_loss
from models.targets import Grades

DAY = 86_400_000_000


def stream(count: int, a: float, b: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and outcomes whose true logit is a·logit + b."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(-1.5, 1.2, count)
    return logits, generator.random(count) < sigmoid(a * logits + b)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.3), (1.0, 0.0), (1.6, -0.7), (0.8, 1.5)])
def test_a_distorted_model_is_put_right(a: float, b: float) -> None:
    logits, outcomes = stream(12_000, a, b)
    calibration = AffineCalibration(4_000, 25, 5)
    calibration.learn(logits[:8_000], outcomes[:8_000])
    assert calibration.a == pytest.approx(a, abs=0.15)
    assert calibration.b == pytest.approx(b, abs=0.2)
    truth = log_loss(outcomes[8_000:], sigmoid(a * logits[8_000:] + b))
    found = log_loss(outcomes[8_000:], sigmoid(calibration.apply(logits[8_000:])))
    assert truth is not None
    assert found == pytest.approx(truth, abs=0.003)


def test_it_starts_as_the_identity_and_few_labels_move_it_little() -> None:
    calibration = AffineCalibration()
    assert (calibration.a, calibration.b) == (1.0, 0.0)
    calibration.learn(np.full(5, -3.0), np.ones(5, np.bool_))
    assert abs(calibration.a - 1) + abs(calibration.b) < 1.5
    assert calibration.labels_learned == 5


def test_it_follows_a_changed_base_rate() -> None:
    calibration = AffineCalibration(4_000, 25, 5)
    calibration.learn(*stream(6_000, 1.0, 0.0))
    calibration.learn(*stream(8_000, 1.0, 1.0, seed=1))
    assert calibration.b == pytest.approx(1.0, abs=0.3)


def test_the_default_goes_a_part_of_the_way() -> None:
    """Labels come late, so what they say of calibration is old: it is believed in part."""
    calibration = AffineCalibration()
    calibration.learn(*stream(8_000, 0.5, 1.0))
    assert 0.45 < calibration.a < 0.95
    assert 0.1 < calibration.b < 0.8


@pytest.mark.parametrize("outcome", [True, False])
def test_extreme_logits_and_one_sided_outcomes_stay_finite(outcome: bool) -> None:
    calibration = AffineCalibration()
    logits = np.tile([1e9, -1e9, 0.0, 500.0], 2_000)
    calibration.learn(logits, np.full(len(logits), outcome))
    assert 0.1 <= calibration.a <= 3.0
    assert abs(calibration.b) <= 5.0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=4))
def test_cuts_and_restarts_change_no_bit(places: list[int]) -> None:
    logits, outcomes = stream(300, 0.7, 0.2)
    whole, cut = AffineCalibration(), AffineCalibration()
    whole.learn(logits, outcomes)
    for part in np.split(np.arange(300), sorted(places)):
        cut.learn(logits[part], outcomes[part])
        again = AffineCalibration(window=10)
        again.restore(cut.snapshot())
        cut = again
    assert cut.snapshot() == whole.snapshot()


def test_quantiles_are_those_of_the_last_thirty_days() -> None:
    recent = RecentScores()
    generator = np.random.default_rng(3)
    for day in range(60):
        logits = generator.normal(day >= 30, 1, 1_000)
        recent.add(logits, np.full(1_000, day * DAY) + generator.integers(0, DAY, 1_000))
    quantiles = recent.quantiles()
    assert recent.count == 30_000
    assert len(quantiles) == 101
    assert (np.diff(quantiles) >= 0).all()
    assert quantiles[50] == pytest.approx(1.0, abs=0.06)
    assert quantiles[90] == pytest.approx(1 + 1.2816, abs=0.1)


def test_a_busy_day_weighs_as_much_as_it_had_scores() -> None:
    recent = RecentScores()
    recent.add(np.zeros(9_000), np.arange(9_000))
    recent.add(np.ones(1_000), DAY + np.arange(1_000))
    quantiles = recent.quantiles()
    assert quantiles[85] == 0
    assert quantiles[97] == 1


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_sample_does_not_depend_on_order_or_cuts(random: object) -> None:
    generator = np.random.default_rng(random.randint(0, 9_999))  # type: ignore[attr-defined]
    logits, times = generator.normal(size=3_000), generator.integers(0, 10 * DAY, 3_000)
    whole, mixed = RecentScores(), RecentScores()
    whole.add(logits, times)
    for part in np.array_split(generator.permutation(3_000), 7):
        mixed.add(logits[part], times[part])
    assert whole.quantiles().tobytes() == mixed.quantiles().tobytes()
    again = RecentScores()
    again.restore(mixed.snapshot())
    assert again.snapshot() == mixed.snapshot()


def test_a_score_from_long_ago_does_not_come_back() -> None:
    recent = RecentScores()
    recent.add(np.zeros(500), np.full(500, 100 * DAY))
    recent.add(np.ones(500), np.full(500, 69 * DAY))
    assert recent.count == 500


def test_below_two_hundred_scores_there_are_no_quantiles() -> None:
    recent = RecentScores()
    recent.add(np.zeros(MIN_SCORES - 1), np.arange(MIN_SCORES - 1))
    assert len(recent.quantiles()) == 0
    recent.add(np.zeros(1), np.zeros(1, np.int64))
    assert len(recent.quantiles()) == 101


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-4, 4), min_size=101, max_size=101),
    st.lists(st.floats(-6, 6), min_size=2, max_size=20),
)
def test_percentile_is_monotone_and_within_bounds(values: list[int], asked: list[float]) -> None:
    quantiles = np.sort(np.array(values, np.float64))
    shares = percentile(np.sort(np.array(asked)), quantiles)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (np.diff(shares) >= 0).all()


def test_percentile_interpolates_and_halves_ties() -> None:
    quantiles = np.arange(101.0)
    assert percentile(np.array([-1, 0, 50, 50.5, 100, 200.0]), quantiles).tolist() == [
        0, 0, 0.5, 0.505, 1, 1,
    ]  # fmt: skip
    assert percentile(np.zeros(1), np.zeros(101)).tolist() == [0.5]
    assert np.isnan(percentile(np.zeros(1), np.empty(0))).all()


def test_scores_run_from_one_to_a_hundred() -> None:
    quantiles = np.arange(101.0)
    scores = score_1_100(np.array([-5, 0, 50, 100, 900.0]), quantiles, 0.1)
    assert scores.tolist() == [1, 1, 50, 100, 100]


def test_without_quantiles_odds_against_the_base_rate_decide() -> None:
    base = float(np.log(0.1 / 0.9))
    logits = base + np.log([0.5, 1.0, 2.0])
    assert score_1_100(logits, np.empty(0), 0.1).tolist() == [34, 50, 67]
    extreme = score_1_100(np.array([-800.0, 800.0]), np.empty(0), 0.0)
    assert extreme.tolist() == [1, 100]


def test_grades_follow_the_target() -> None:
    scores = np.array([100, 80, 79, 60, 59, 40, 39, 1], np.int32)
    assert grade_codes(scores, Grades()).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
