"""Hints: the one change in reach that raises the probability most, and never another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import sigmoid
from models.explain.hints import Hint, hints, one_more_event
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Transform
from models.features.encoding import Encoding
from models.features.kernels import FeatureKernels
from models.features.state import StateViews, lead_dtype
from models.online.interface import Terms

DAY = 86_400_000_000
CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age", unit="years"),
        Attribute("discount", "numeric", "numbers.discount", transform=Transform("standard", 10, 5),
                  unit="%", actionable="increase"),
        Attribute("price", "numeric", "numbers.price", transform=Transform("log1p"),
                  actionable="decrease"),
        Attribute("plan", "categorical", "texts.plan", values=("basic", "pro", "team"), buckets=2,
                  actionable=True),
        Attribute("source", "categorical", "texts.source", values=("ads", "fair"), buckets=2),
    ),
    Behaviour(("demo", "complaint"), (1.0, 7.0), 30.0, {"demo": "demos"},
              {"demo": "invite to a demo"}),
)  # fmt: skip
ENCODING = Encoding(CATALOGUE)
PLACE = {name: place for place, name in enumerate(CATALOGUE.column_names)}


def scorer(**weights: float):
    """A linear model by input name, such as `plan#1`."""
    w = np.zeros(ENCODING.size)
    w[0] = -2.0
    for name, weight in weights.items():
        w[ENCODING.input_names.index(name)] = weight

    def score(rows: np.ndarray) -> Terms:
        bias, terms, logits = ENCODING.logits_and_contributions(rows, w)
        return Terms(CATALOGUE.column_names, np.full(len(rows), bias), terms, logits)

    return score


def lead(**values: float) -> np.ndarray:
    row = np.zeros((1, len(PLACE)), np.float32)
    row[0, :5] = np.nan
    for name in ("demo", "complaint"):
        row[0, PLACE[f"{name}.recency_days"]] = np.nan
    row[0, PLACE["gap_days"]] = np.nan
    for name, value in values.items():
        row[0, PLACE[name]] = value
    return row


def only(row: np.ndarray, score, **more) -> Hint:
    (found,) = hints(CATALOGUE, row, score, **more)
    assert len(found) == 1
    return found[0]


def test_an_event_a_value_or_a_step_whichever_raises_most() -> None:
    row = lead(plan=0, discount=5, price=99)
    score = scorer(**{"plan#1": 0.4, "plan#2": 1.0, "discount": 0.3, "price": -0.2})
    hint = only(row, score)
    assert (hint.name, hint.change, hint.value) == ("plan", "value", 2.0)
    assert hint.before == pytest.approx(sigmoid(score(row).logits)[0])
    assert hint.after > hint.before
    assert hint.words.startswith("plan team instead of basic: ")
    (found,) = hints(CATALOGUE, row, score, k=9)
    assert [(h.name, h.change, h.value) for h in found] == [
        ("plan", "value", 2.0), ("discount", "increase", 10.0), ("price", "decrease", 74.25),
    ]  # fmt: skip
    assert found[1].words.startswith("raise discount from 5 % to 10 %: ")
    assert [h.after for h in found] == sorted((h.after for h in found), reverse=True)
    event = only(lead(), scorer(**{"demo.count": 1.0, "demo.decayed_7d": 0.5}))
    assert (event.name, event.change, event.value) == ("demo", "event", None)
    assert event.words == "invite to a demo: 11.9% to 27.7%"


def test_words_come_in_the_language_asked_for() -> None:
    hint = only(lead(plan=1, discount=5), scorer(discount=0.3), language="de")
    assert hint.words.startswith("discount von 5 % auf 10 % erhöhen: ")
    assert " auf " in hint.words.split(": ")[1]
    assert "," in hint.words.split(": ")[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9_999))
def test_only_what_is_in_reach_and_possible_is_ever_suggested(seed: int) -> None:
    generator = np.random.default_rng(seed)
    w = {name: float(generator.normal(0, 2)) for name in ENCODING.input_names[1:]}
    score = scorer(**w)
    rows = np.concatenate([lead() for _ in range(8)])
    rows[:, :5] = generator.integers(0, 4, (8, 5))
    rows[:, 1:3] = generator.uniform(-2, 20, (8, 2))
    rows[generator.random(rows.shape) < 0.2] = np.nan
    rows[:, 5:] = np.nan_to_num(rows[:, 5:])
    for row, found in zip(rows, hints(CATALOGUE, rows, score, k=5), strict=True):
        for hint in found:
            assert hint.name in ("discount", "price", "plan", "demo")
            assert hint.after >= hint.before + 0.001
            if hint.change == "event":
                continue
            was = row[PLACE[hint.name]]
            assert hint.value != was
            if hint.change == "value":
                assert hint.value in (0.0, 1.0, 2.0)
            else:
                assert not np.isnan(was)
                assert hint.change == ("increase" if hint.name == "discount" else "decrease")
                assert (hint.value > was) == (hint.change == "increase")
                assert was < 0 or hint.value >= 0
            changed = row.copy()
            changed[PLACE[hint.name]] = hint.value
            assert hint.after == pytest.approx(sigmoid(score(changed[None]).logits)[0])


def test_where_nothing_in_reach_helps_there_is_no_hint() -> None:
    score = scorer(**{"age": 2.0, "source#1": 3.0, "complaint.count": 2.0, "demo.count": -1.0})
    rows = np.concatenate([lead(age=30, source=0), lead()])
    assert hints(CATALOGUE, rows, score) == [(), ()]
    assert hints(CATALOGUE, rows[:0], score) == []
    assert hints(CATALOGUE, lead(price=0), scorer(price=-1.0)) == [()]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1)), min_size=1, max_size=6))
def test_one_more_event_is_what_the_kernels_would_make_of_it(
    events: list[tuple[int, int]],
) -> None:
    kernels = FeatureKernels(CATALOGUE)
    table = np.zeros(2, lead_dtype(CATALOGUE))
    views = StateViews.of(table)
    times = np.cumsum([hours for hours, _ in events]) * DAY // 24 + DAY
    none = np.zeros(0)

    def apply(at: np.ndarray, kinds: list[int]) -> np.ndarray:
        return kernels.update_rows(views, np.zeros(len(at), np.int64), at, kinds, none, none, none)

    apply(times, [kind for _, kind in events])
    now = np.array([times[-1] + DAY // 3])
    aged = kernels.feature_rows(views, np.zeros(1, np.int64), now)
    expected = apply(now, [0])
    np.testing.assert_allclose(one_more_event(CATALOGUE, aged, "demo"), expected, rtol=1e-5)


def test_the_first_event_starts_the_first_session() -> None:
    row = one_more_event(CATALOGUE, lead(), "demo")[0]
    assert row[PLACE["sessions"]] == row[PLACE["event_count"]] == row[PLACE["demo.count"]] == 1
    assert np.isnan(row[PLACE["gap_days"]])
    assert row[PLACE["demo.recency_days"]] == 0
