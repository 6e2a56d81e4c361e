"""Before a promotion each subscriber is told how many leads it would gain and lose."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.percentile import GRADES, grade_codes
from models.evaluation.drift import PSI_LIMIT
from models.lifecycle.preview import Preview, Scores, distribution_shift, preview
from models.lifecycle.subscribers import Subscriber, Threshold
from models.targets import Grades

SALES = Subscriber("sales", "conversion", Threshold(score=80))
CARE = Subscriber("care", "churn", Threshold(score=80))


def scores(values: list[int]) -> Scores:
    """Leads with these scores; the probability is a hundredth of it."""
    marks = np.array(values, np.int32)
    return Scores(marks / 100.0, marks, grade_codes(marks, Grades()))


def shown(now: list[int], then: list[int], *subscribers: Subscriber) -> Preview:
    return preview(scores(now), scores(then), "conversion", subscribers)


def test_leads_that_cross_a_threshold_are_counted_each_way() -> None:
    found = shown([90, 85, 70, 10, 79], [95, 60, 82, 11, 80], SALES, CARE)
    (impact,) = found.impacts
    assert (impact.subscriber, impact.threshold) == ("sales", "score >= 80")
    assert (impact.now, impact.then, impact.up, impact.down) == (2, 3, 2, 1)
    assert found.reasons[0] == (
        "sales (score >= 80): 2 leads now, 3 then; 2 would come in, 1 would fall out"
    )


def test_thresholds_may_be_probabilities_or_grades() -> None:
    by_probability = Subscriber("mail", "conversion", Threshold(probability=0.8))
    by_grade = Subscriber("desk", "conversion", Threshold(grades=("B", "C")))
    found = shown([90, 70, 50, 20], [70, 90, 50, 45], by_probability, by_grade)
    assert [(i.up, i.down) for i in found.impacts] == [(1, 1), (2, 1)]


def test_grades_move_in_a_matrix_that_adds_up() -> None:
    found = shown([90, 85, 70, 10, 79], [95, 60, 82, 11, 80])
    assert found.moves == ((1, 1, 0, 0), (2, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1))
    assert found.regraded == 3
    assert found.as_dict()["grades"] == GRADES
    assert msgspec.json.encode(found.as_dict())


marks = st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), max_size=60)


@settings(max_examples=60)
@given(marks, st.integers(1, 100))
def test_counts_agree_with_a_plain_count(pairs: list[tuple[int, int]], mark: int) -> None:
    subscriber = Subscriber("sales", "conversion", Threshold(score=mark))
    found = shown([a for a, _ in pairs], [b for _, b in pairs], subscriber)
    (impact,) = found.impacts
    assert impact.up == sum(a < mark <= b for a, b in pairs)
    assert impact.down == sum(b < mark <= a for a, b in pairs)
    assert impact.now + impact.up - impact.down == impact.then
    assert sum(map(sum, found.moves)) == len(pairs)


def test_no_leads_give_an_empty_preview() -> None:
    found = shown([], [], SALES)
    assert (found.leads, found.regraded, found.psi, found.probability_change) == (0, 0, 0.0, 0.0)


def test_scores_of_other_leads_are_refused() -> None:
    with pytest.raises(ValueError, match="score the same leads"):
        shown([1, 2], [1])


def test_psi_is_nothing_for_equal_distributions_and_large_for_moved_ones() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=20_000)
    assert distribution_shift(values, values) == 0
    assert distribution_shift(values, generator.normal(size=20_000)) < 0.01
    assert distribution_shift(values, values + 1) > PSI_LIMIT
    assert distribution_shift(np.zeros(50), np.ones(50)) > PSI_LIMIT


def test_psi_by_hand() -> None:
    """Half of all move from the lower to the upper of two bins: (.25, .75) after (.5, .5)."""
    expected, found = np.repeat([0.0, 1.0], 100_000), np.repeat([0.0, 1.0, 1.0, 1.0], 50_000)
    by_hand = -0.25 * np.log(0.5) + 0.25 * np.log(1.5)
    assert distribution_shift(expected, found) == pytest.approx(by_hand, abs=1e-4)


@pytest.mark.parametrize(
    "threshold", [{}, {"score": 80, "probability": 0.5}, {"score": 101}, {"grades": ["E"]}]
)
def test_a_threshold_is_one_thing(threshold: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "s", "target": "t", "threshold": threshold}, Subscriber)
