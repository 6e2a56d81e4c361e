"""While a history is younger than its horizon, probabilities do not believe its winners alone."""

from __future__ import annotations

import numpy as np
import pytest

from models.calibration.affine import sigmoid
from models.calibration.cohort import YoungHistory
from models.online.interface import pack_arrays

DAY = 86_400_000_000
HORIZON = 60 * DAY


def history(days: int, rate: float = 0.05, seed: int = 3) -> tuple[YoungHistory, float]:
    """Twenty leads a day, of whom a share wins after about five days; the rest mature."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(120), 20) * DAY
    won = rng.random(len(rows)) < rate
    known = np.where(won, rows + rng.integers(1, 10, len(rows)) * DAY, rows + HORIZON)
    young = YoungHistory(HORIZON)
    for day in range(days):
        young.kept(20)
        young.reach((day + 1) * DAY)
        due = (known > day * DAY) & (known <= (day + 1) * DAY)
        young.learn(rows[due], known[due], won[due])
    return young, float(won[rows < days * DAY].mean())


@pytest.mark.parametrize("days", [30, 59, 62, 70, 100])
def test_its_base_rate_is_that_of_cohorts_not_of_labels(days: int) -> None:
    young, rate = history(days)
    found = young.base_rate()
    assert found is not None
    assert found == pytest.approx(rate, abs=0.025)


def test_the_mean_probability_is_held_to_it_and_then_let_go() -> None:
    logits = np.random.default_rng(1).normal(4, 1, 500)  # what models of winners alone say
    young, rate = history(50)
    assert sigmoid(logits + young.shift(logits)).mean() == pytest.approx(rate, abs=0.02)
    shifts = [abs(history(days)[0].shift(logits)) for days in (62, 90, 118)]
    assert shifts == sorted(shifts, reverse=True)
    over, _ = history(122)
    assert over.over
    assert over.base_rate() is None
    assert over.shift(logits) == 0.0


def test_losses_that_are_told_need_no_help() -> None:
    young = YoungHistory(HORIZON)
    young.kept(100)
    times = np.arange(20) * DAY
    young.learn(times, times + DAY, np.arange(20) % 2 == 0)
    assert young.over
    assert young.shift(np.zeros(10)) == 0.0


def test_a_snapshot_goes_on_alike() -> None:
    young, _ = history(40)
    again = YoungHistory(HORIZON)
    again.restore(young.snapshot())
    for each in (young, again):
        each.kept(20)
        each.learn(np.array([39 * DAY]), np.array([45 * DAY]), np.array([True]))
    assert again.base_rate() == young.base_rate()
    assert again.snapshot() == young.snapshot()
    with pytest.raises(ValueError, match="young_history"):
        again.restore(pack_arrays({"kind": "other"}, {}))


def test_where_deadlines_make_positives_the_share_is_the_mirrored_one() -> None:
    """Churn: orders come at once and say no, silence says yes at the deadline."""
    draw = np.random.default_rng(3)
    row_time = np.sort(draw.integers(0, 9_000, 300))
    won = draw.random(300) < 0.3
    resolved = np.where(won, row_time + 10, row_time + 10_000)
    plain, mirrored = YoungHistory(10_000), YoungHistory(10_000, early=False)
    for history, outcomes in ((plain, won), (mirrored, ~won)):
        history.kept(300)
        history.learn(row_time[won], resolved[won], outcomes[won])
    rate, other = plain.base_rate(), mirrored.base_rate()
    assert rate is not None
    assert other is not None
    assert 0.2 < rate < 0.4
    assert other == 1.0 - rate
