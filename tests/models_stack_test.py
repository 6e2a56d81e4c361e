"""A stack of models starts as their mean, leaves it for good reason, and restarts exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import sigmoid
from models.calibration.stack import Stack
from models.evaluation.metrics import log_loss


def members(seed: int, count: int, noise: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, K] of members that see the truth through noise, and outcomes."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(-1, 1.2, count)
    seen = truth[:, None] + generator.normal(size=(count, len(noise))) * np.array(noise)
    return seen, generator.random(count) < sigmoid(truth)


def test_it_starts_as_the_mean_and_few_labels_move_it_little() -> None:
    stack = Stack(4)
    assert stack.shares == (0.25,) * 4
    stack.learn(*members(0, 50, (0.3, 3.0, 3.0, 3.0)))
    assert max(abs(share - 0.25) for share in stack.shares) < 0.15


def test_equal_members_keep_equal_weights() -> None:
    stack = Stack(3)
    stack.learn(*members(1, 8_000, (0.5, 0.5, 0.5)))
    assert max(abs(share - 1 / 3) for share in stack.shares) < 0.05


def test_a_bad_member_loses_its_weight_and_the_mixture_gains() -> None:
    logits, outcomes = members(2, 12_000, (0.3, 0.3, 4.0))
    stack = Stack(3)
    stack.learn(logits[:8_000], outcomes[:8_000])
    assert stack.shares[2] < 0.05
    assert sum(stack.shares) == pytest.approx(1)
    stacked = log_loss(outcomes[8_000:], sigmoid(logits[8_000:] @ np.array(stack.shares)))
    mean = log_loss(outcomes[8_000:], sigmoid(logits[8_000:].mean(axis=1)))
    assert stacked is not None
    assert mean is not None
    assert stacked < mean - 0.02


def test_a_member_that_is_wrong_on_purpose_is_muted_but_never_subtracted() -> None:
    logits, outcomes = members(3, 6_000, (0.3, 0.3))
    logits[:, 1] *= -1
    stack = Stack(2)
    stack.learn(logits, outcomes)
    assert 0 <= stack.shares[1] < 0.05


def test_a_stronger_prior_stays_nearer_to_the_mean() -> None:
    logits, outcomes = members(4, 2_000, (0.3, 2.0))
    free, bound = Stack(2, prior=1.0), Stack(2, prior=10_000.0)
    free.learn(logits, outcomes)
    bound.learn(logits, outcomes)
    assert free.shares[0] > bound.shares[0] + 0.2
    assert bound.shares[0] == pytest.approx(0.5, abs=0.05)


def test_it_is_the_second_order_step_of_plain_numpy() -> None:
    logits, outcomes = members(5, 300, (0.3, 1.0, 2.0))
    stack = Stack(3)
    stack.learn(logits, outcomes)
    keep, start = 1 - 1 / 4_000, np.array([1 / 3] * 3 + [0.0])
    prior = np.diag([100.0, 100.0, 100.0, 5.0])
    w, information = start.copy(), prior.copy()
    for row, outcome in zip(logits, outcomes, strict=True):
        x = np.append(row, 1.0)
        p = sigmoid(np.array([w @ x]))[0]
        information = keep * information + (1 - keep) * prior + p * (1 - p) * np.outer(x, x)
        slope = (p - outcome) * x + (1 - keep) * prior @ (w - start)
        w = w - np.linalg.solve(information, slope)
        w[:3] = np.clip(w[:3], 0, 2)
    assert stack.shares == pytest.approx(tuple(w[:3] / w[:3].sum()), abs=1e-9)


@pytest.mark.parametrize("outcome", [True, False])
def test_extreme_logits_stay_finite(outcome: bool) -> None:
    stack = Stack(2)
    stack.learn(np.tile([[1e9, -1e9], [0.0, 500.0]], (3_000, 1)), np.full(6_000, outcome))
    assert np.isfinite(stack.shares).all()
    assert min(stack.shares) >= 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=4))
def test_cuts_and_restarts_change_no_bit(places: list[int]) -> None:
    logits, outcomes = members(6, 300, (0.3, 1.0))
    whole, cut = Stack(2), Stack(2)
    whole.learn(logits, outcomes)
    for part in np.split(np.arange(300), sorted(places)):
        cut.learn(logits[part], outcomes[part])
        again = Stack(2, prior=1.0)
        again.restore(cut.snapshot())
        cut = again
    assert cut.snapshot() == whole.snapshot()
    with pytest.raises(ValueError, match="2 members, this mixture 3"):
        Stack(3).restore(cut.snapshot())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="0 members"):
        Stack(0)
    with pytest.raises(ValueError, match="Fix: above 1 and above 0"):
        Stack(2, prior=0.0)
    with pytest.raises(ValueError, match="one column a member"):
        Stack(2).learn(np.zeros((3, 1)), np.zeros(3, np.bool_))
