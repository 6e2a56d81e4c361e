"""The gate lets a challenger through only if it is not worse, and says what it looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import sigmoid
from models.evaluation.metrics import auc, log_loss
from models.lifecycle import gate
from models.lifecycle.gate import GateResult, decide, latency_refusal, losses, split_in_time
from models.lifecycle.settings import GateSettings

GATE = GateSettings(draws=400, blocks=25)
F8 = np.ndarray


def story(count: int = 4_000, seed: int = 0) -> tuple[F8, F8, F8]:
    """True logits, outcomes, row times."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(-1, 1.2, count)
    return truth, generator.random(count) < sigmoid(truth), np.arange(count) * 1_000_000


def noisy(truth: F8, noise: float, seed: int = 9) -> F8:
    """Logits that know less; shrunk so that they stay calibrated."""
    generator = np.random.default_rng(seed)
    share = 1.2**2 / (1.2**2 + noise**2)
    return -1 + share * (truth + 1 + generator.normal(0, noise, len(truth)))


def judge(challenger: F8, incumbent: F8 | None, **more: object) -> GateResult:
    _, outcomes, times = story()
    return decide(GATE, challenger, incumbent, outcomes, times, **more)  # type: ignore[arg-type]


TRUTH = story()[0]


def test_a_better_challenger_passes_and_the_figures_say_by_how_much() -> None:
    result = judge(TRUTH, noisy(TRUTH, 1.0))
    assert result.passed
    assert result.failed == ()
    figures = result.figures
    assert figures["log_loss_difference_high"] < 0 < figures["auc_difference_low"]
    _, outcomes, _ = story()
    assert figures["log_loss"] == pytest.approx(log_loss(outcomes, sigmoid(TRUTH)), abs=1e-12)
    assert figures["auc"] == auc(outcomes, sigmoid(TRUTH))


def test_a_worse_challenger_fails_and_the_first_reason_says_where() -> None:
    result = judge(noisy(TRUTH, 1.0), TRUTH)
    assert not result.passed
    assert result.failed[0] == "log_loss"
    assert result.reasons[0].startswith("log-loss ")


def test_the_same_model_is_not_worse() -> None:
    result = judge(TRUTH, TRUTH)
    assert result.passed
    assert result.figures["log_loss_difference"] == 0
    assert result.figures["auc_difference_high"] == 0


def test_bad_calibration_fails_unless_the_incumbent_is_as_bad() -> None:
    shifted = TRUTH + 0.8
    assert judge(shifted, noisy(TRUTH, 0.3)).failed[-1] == "calibration"
    assert judge(shifted, shifted).passed


def test_one_bad_segment_fails_what_is_better_as_a_whole() -> None:
    segments = np.where(np.arange(len(TRUTH)) % 10 == 0, 2, 0)
    challenger = np.where(segments == 2, TRUTH - 1.5, TRUTH)
    result = judge(challenger, noisy(TRUTH, 1.5), segments=segments,
                   segment_names=("north", "east", "south"))  # fmt: skip
    assert result.figures["log_loss_difference"] < 0
    assert result.failed == ("segments",)
    assert "south (400 labels)" in result.reasons[0]


def test_segments_with_few_labels_decide_nothing() -> None:
    segments = np.where(np.arange(len(TRUTH)) < 99, 1, -1)
    challenger = np.where(segments == 1, -TRUTH, TRUTH)
    result = judge(challenger, noisy(TRUTH, 1.0), segments=segments)
    assert "segment_worst" not in result.figures


@pytest.mark.parametrize("count", [0, 1, 199])
def test_few_labels_decide_nothing(count: int) -> None:
    truth, outcomes, times = story(count)
    result = decide(GATE, truth, truth, outcomes, times)
    assert result.failed == ("labels",)
    assert f"{count} labels" in result.reasons[0]


def test_one_outcome_decides_nothing() -> None:
    truth, outcomes, times = story(1_000)
    assert decide(GATE, truth, truth, outcomes & False, times).failed == ("labels",)


def test_a_first_challenger_is_judged_against_the_best_constant() -> None:
    assert judge(TRUTH, None).passed
    generator = np.random.default_rng(4)
    guesses = generator.normal(-1, 1.2, len(TRUTH))
    assert "log_loss" in judge(guesses, None).failed


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_model_that_gives_no_numbers_fails(wrong: float) -> None:
    broken = TRUTH.copy()
    broken[::7] = wrong
    assert not judge(broken, noisy(TRUTH, 1.0)).passed


def test_the_order_of_labels_changes_no_bit() -> None:
    _, outcomes, times = story()
    rival = noisy(TRUTH, 0.5)
    mixed = np.random.default_rng(1).permutation(len(TRUTH))
    assert judge(TRUTH, rival) == decide(
        GATE, TRUTH[mixed], rival[mixed], outcomes[mixed], times[mixed]
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 200), st.integers(1, 8))
def test_drawn_figures_are_those_of_the_drawn_rows(seed: int, count: int, values: int) -> None:
    """AUC and log-loss of a draw by blocks equal those of the rows written out, ties too."""
    generator = np.random.default_rng(seed)
    logits = generator.integers(0, values, count).astype(float)
    outcomes = generator.random(count) < 0.4
    outcomes[:2] = True, False
    blocks = np.arange(count) * 10 // count
    weights = generator.integers(0, 3, (1, 10))
    weights[0, 0] = 1
    rows = np.repeat(np.arange(count), weights[0][blocks])
    drawn = gate._drawn_auc(gate._wins(logits, outcomes, blocks, 10), outcomes, blocks, weights)
    assert drawn[0] == pytest.approx(auc(outcomes[rows], logits[rows]), abs=1e-12)
    means = gate._drawn_means(losses(logits, outcomes), blocks, weights)
    expected = log_loss(outcomes[rows], sigmoid(logits[rows]))
    assert means[0] == pytest.approx(expected, abs=1e-12)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    inside, truly = 0, -0.0307  # over 2,000,000 labels
    for seed in range(120):
        truth, outcomes, times = story(600, seed)
        rival = noisy(truth, 0.7, seed + 1_000)
        figures = decide(GateSettings(draws=200), truth, rival, outcomes, times).figures
        low, high = (figures[f"log_loss_difference_{side}"] for side in ("low", "high"))
        inside += low <= truly <= high
    assert 0.85 <= inside / 120 <= 1.0


def test_the_split_takes_the_newest_and_never_parts_one_time() -> None:
    times = np.array([5, 1, 9, 3, 7, 9, 2, 4, 6, 8])
    older, newest = split_in_time(times)
    assert sorted(times[newest].tolist()) == [9, 9]
    assert (older ^ newest).all()
    assert split_in_time(np.array([1, 2, 3, 3, 3]))[1].tolist() == [False, False, True, True, True]


def test_outcomes_known_only_later_are_left_out_of_the_fit() -> None:
    times = np.arange(10)
    resolved = times + 4
    older, newest = split_in_time(times, resolved)
    assert np.flatnonzero(newest).tolist() == [8, 9]
    assert np.flatnonzero(older).tolist() == [0, 1, 2, 3, 4]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=80), st.floats(0.05, 0.95))
def test_no_older_row_is_newer_than_a_judged_one(times: list[int], share: float) -> None:
    row_times = np.array(times)
    older, newest = split_in_time(row_times, share=share)
    assert newest.sum() >= max(1, round(share * len(times)))
    assert not older.any() or row_times[older].max() < row_times[newest].min()


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_leaves_a_side_empty_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="leaves one side empty"):
        split_in_time(np.arange(5), share=share)


def test_latency_is_judged_apart() -> None:
    assert latency_refusal(GateSettings(), 1e9) is None
    assert latency_refusal(GateSettings(latency_us=20), 20.0) is None
    refusal = latency_refusal(GateSettings(latency_us=20), 31.25)
    assert refusal is not None
    assert "31.2 µs a row" in refusal
