"""Decayed target rates: what they say, that they shrink, and that they know the past only."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.metrics import auc
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Rate, Transform
from models.features.rates import UNKNOWN, RateColumns, TargetRates

DAY = 86_400_000_000
START = 1_700_000_000_000_000


def expected(labels: list[tuple[int, bool, int]], category: int, as_of: int, rate: Rate) -> float:
    """The rate by its definition, label by label."""
    weight = [0.5 ** ((as_of - at) / (rate.half_life_days * DAY)) for _, _, at in labels]
    won = sum(w for w, (_, y, _) in zip(weight, labels, strict=True) if y)
    base = (won + 0.5) / (sum(weight) + 1)
    mine = [(w, y) for w, (c, y, _) in zip(weight, labels, strict=True) if c == category]
    positive = sum(w for w, y in mine if y) + rate.prior_labels * base
    negative = sum(w for w, y in mine if not y) + rate.prior_labels * (1 - base)
    return math.log(positive / negative) - math.log(base / (1 - base))


labels_of = st.lists(
    st.tuples(st.integers(UNKNOWN, 3), st.booleans(), st.integers(0, 400)), max_size=60
).map(lambda rows: sorted(((c, y, START + d * DAY) for c, y, d in rows), key=lambda r: r[2]))


def taught(labels: list[tuple[int, bool, int]], rates: TargetRates) -> TargetRates:
    rates.learn(
        np.array([c for c, _, _ in labels], np.int64),
        np.array([y for _, y, _ in labels], np.bool_),
        np.array([at for _, _, at in labels], np.int64),
    )
    return rates


@settings(max_examples=60, deadline=None)
@given(labels_of, st.integers(0, 200), st.lists(st.integers(0, 60), max_size=4))
def test_rates_are_their_definition_under_any_cut(
    labels: list[tuple[int, bool, int]], later: int, places: list[int]
) -> None:
    rate = Rate(30, 10)
    whole, cut = taught(labels, TargetRates(4, rate)), TargetRates(4, rate)
    for start, stop in pairwise([0, *sorted(min(p, len(labels)) for p in places), len(labels)]):
        fresh = TargetRates(4, rate)
        fresh.restore(cut.snapshot())
        cut = taught(labels[start:stop], fresh)
    assert cut.snapshot() == whole.snapshot()
    as_of = START + (400 + later) * DAY
    found = whole.rates(as_of)
    wanted = [expected(labels, c, as_of, rate) for c in (0, 1, 2, 3, UNKNOWN)]
    assert np.allclose(found, wanted, atol=1e-9)


def test_few_labels_say_little_and_old_ones_fade() -> None:
    many = [(0, True, START)] * 50 + [(1, False, START)] * 50 + [(2, True, START)]
    rates = taught(many, TargetRates(4, Rate(90, 20)))
    good, bad, once, never, without = rates.rates(START)
    assert never == pytest.approx(0)
    assert without == pytest.approx(0)
    assert good > 1 > once > 0 > -1 > bad
    assert 0 < rates.rates(START + 360 * DAY)[0] < good / 3


def test_a_row_has_the_rate_of_its_category_and_rows_without_one_have_theirs() -> None:
    owner = Attribute("owner", "categorical", "texts.owner", buckets=2, rate=Rate())
    age = Attribute("age", "numeric", "numbers.age", transform=Transform())
    columns = RateColumns(FeatureCatalogue(1, (age, owner), Behaviour()))
    won, lost, without = [(0, True, START)] * 9, [(1, False, START)] * 9, [(UNKNOWN, True, START)]
    rates = taught(won + lost + without * 4, TargetRates(2)).rates(START)
    rows = np.full((4, 7), 5, np.float32)
    rows[:, 1] = [1, np.nan, 0, 0]
    columns.fill(rows, slice(0, 3), {"owner": rates})
    assert np.array_equal(rows[:, -1], np.float32([rates[1], rates[2], rates[0], 5]))
    assert rates[1] < 0 < rates[2] < rates[0]
    columns.fill(rows, np.array([3]), {})
    assert rows[3, -1] == 0
    with pytest.raises(ValueError, match="the catalogue has"):
        columns.check({"owner": rates[:2]})


def test_rows_never_see_what_was_resolved_after_them() -> None:
    """Outcomes are chance and resolved weeks later: a rate of the past cannot tell them."""
    draw = np.random.default_rng(8)
    n = 6_000
    row_time = START + np.arange(n) * DAY // 50
    resolved = row_time + draw.exponential(20 * DAY, n).astype(np.int64)
    owner, outcome = draw.integers(0, 200, n), draw.random(n) < 0.3

    def walk(outcome: np.ndarray) -> np.ndarray:
        rates, done, order = TargetRates(200, Rate(90, 5)), 0, np.argsort(resolved, kind="stable")
        known = np.empty(n)
        for row in range(n):
            stop = int(np.searchsorted(resolved[order], row_time[row], side="right"))
            due = order[done:stop]
            rates.learn(owner[due], outcome[due], resolved[due])
            known[row], done = rates.rates(int(row_time[row]))[owner[row]], stop
        return known

    known = walk(outcome)
    past = auc(outcome[n // 2 :], known[n // 2 :])
    assert past is not None and abs(past - 0.5) < 0.03
    late = resolved > row_time[n // 2]
    changed = np.where(late, ~outcome, outcome)
    assert np.array_equal(walk(changed)[: n // 2 + 1], known[: n // 2 + 1])
    assert not np.array_equal(walk(changed), known)


def test_what_would_leak_is_refused() -> None:
    rates = taught([(0, True, START + DAY)], TargetRates(2))
    with pytest.raises(ValueError, match="would know outcomes"):
        rates.rates(START)
    with pytest.raises(ValueError, match="in the order"):
        taught([(0, True, START)], rates)
    with pytest.raises(ValueError, match="in the order"):
        taught([(0, True, START + 3 * DAY), (0, True, START + 2 * DAY)], rates)
    with pytest.raises(ValueError, match="category id"):
        taught([(2, True, START + 3 * DAY)], rates)
    with pytest.raises(ValueError, match="otherwise"):
        TargetRates(3).restore(rates.snapshot())
