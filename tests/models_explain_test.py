"""A mixed score explains itself: parts add up, the largest are told, in words."""

from __future__ import annotations

from string import Formatter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.explain.messages import languages, messages
from models.explain.mixture import mix
from models.explain.top import top_contributions
from models.explain.words import delta_in_words, explain_in_words, value_in_words
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Indicator, Rate
from models.online.interface import Terms


def terms(seed: int, count: int, names: tuple[str, ...]) -> Terms:
    generator = np.random.default_rng(seed)
    bias = generator.normal(size=count)
    parts = generator.normal(size=(count, len(names)))
    return Terms(names, bias, parts, bias + parts.sum(axis=1))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999), st.integers(0, 12), st.floats(0.1, 3), st.floats(-5, 5))
def test_a_mixture_is_the_calibrated_mean_and_adds_up(
    seed: int, count: int, a: float, b: float
) -> None:
    columns = ("age", "job", "visits")
    online, champion = terms(seed, count, columns), terms(seed + 1, count, columns)
    forest = terms(seed + 2, count, ("forest",))
    mixed = mix([online, champion, forest], a, b)
    assert mixed.names == (*columns, "forest")
    mean = (online.logits + champion.logits + forest.logits) / 3
    np.testing.assert_allclose(mixed.logits, a * mean + b, rtol=0, atol=1e-12)
    total = mixed.bias.copy()
    for column in range(4):
        total += mixed.contributions[:, column]
    assert total.tobytes() == mixed.logits.tobytes()


def test_one_model_uncalibrated_is_itself() -> None:
    online = terms(0, 50, ("age", "job"))
    mixed = mix([online])
    assert mixed.contributions.tobytes() == online.contributions.tobytes()
    assert mixed.bias.tobytes() == online.bias.tobytes()


def test_a_mixture_needs_models_of_the_same_rows() -> None:
    with pytest.raises(ValueError, match="at least one"):
        mix([])
    with pytest.raises(ValueError, match="different numbers"):
        mix([terms(0, 2, ("a",)), terms(0, 3, ("a",))])


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(1, 9)),
        elements=st.floats(-20, 20) | st.sampled_from([1.0, -1.0, 0.0]),
    )
)
def test_the_largest_are_told_and_the_rest_is_other(parts: np.ndarray) -> None:
    bias = np.linspace(-3, 1, len(parts))
    given_terms = Terms(tuple("abcdefghi"[: parts.shape[1]]), bias, parts, bias + parts.sum(axis=1))
    index, value, other = top_contributions(given_terms, 5)
    for row in range(len(parts)):
        slow = sorted(range(parts.shape[1]), key=lambda c: (-abs(parts[row, c]), c))[:5]
        assert index[row].tolist() == slow + [-1] * (5 - len(slow))
        assert value[row, : len(slow)].tolist() == parts[row, slow].tolist()
        assert (value[row, len(slow) :] == 0).all()
        total = bias[row] + sum(value[row].tolist()) + other[row]
        assert total == pytest.approx(given_terms.logits[row], abs=1e-12)


def test_reasons_are_told_in_words_with_their_values() -> None:
    catalogue = FeatureCatalogue(
        1,
        (
            Attribute("age", "numeric", "numbers.age", unit="years"),
            Attribute("job", "categorical", "texts.job", "works as", values=("nurse",), buckets=2),
        ),
        Behaviour(("demo",), (7.0,), 30.0, {"demo": "demo requests"}),
    )
    names = (*catalogue.column_names, "forest")
    row = np.full(len(catalogue.columns), np.nan, np.float32)
    for name, value in {
        "age": 41, "job": 0, "demo.count": 1, "demo.decayed_7d": 2.62, "demo.recency_days": 0.5,
        "event_count": 12, "days_since_first": 3, "sessions": 2,
    }.items():  # fmt: skip
        row[names.index(name)] = value
    lines = explain_in_words(
        catalogue, row, names, [*range(len(names)), -1], [0.844] * len(names) + [0.0]
    )
    assert lines == [
        "age: 41 years: +0.84",
        "works as: nurse: +0.84",
        "1 demo request so far: +0.84",
        "2.6 recent demo requests (half-life 7 d): +0.84",
        "demo requests: latest 12.0 h ago: +0.84",
        "12 events so far: +0.84",
        "known for 3.0 d: +0.84",
        "only one event so far: +0.84",
        "2 sessions so far: +0.84",
        "model forest: +0.84",
    ]
    row[:] = np.nan
    row[names.index("demo.count")] = row[names.index("demo.decayed_7d")] = 0
    assert explain_in_words(catalogue, row, names, range(5), [-1.0] * 5) == [
        "age: not known: -1.00",
        "works as: not known: -1.00",
        "no demo requests so far: -1.00",
        "no recent demo requests (half-life 7 d): -1.00",
        "demo requests: none yet: -1.00",
    ]
    row[1] = 2
    assert explain_in_words(catalogue, row, names, [1], [0.1]) == ["works as: another value: +0.10"]


def test_distinct_values_sequences_rates_and_indicators_are_told_in_words() -> None:
    catalogue = FeatureCatalogue(
        1,
        (Attribute("owner", "categorical", "texts.owner", buckets=2, rate=Rate()),),
        Behaviour(("demo",), (), 30.0, {"demo": "demo requests"}, {}, ("url", "campaign"), True),
        (Indicator("euribor", "ecb", "three-month Euribor", "%"),),
    )
    first = catalogue.column_names.index("distinct.url")

    def said(*values: float) -> list[str]:
        return [value_in_words(catalogue, first + n, value) for n, value in enumerate(values)]

    assert said(3, 1, 0, 1, 0.25, 0.4, 3.5) == [
        "3 different pages so far",
        "1 campaign value so far",
        "kind of the last event: demo requests",
        "kind of the event before: another value",
        "share of the last 8 events that were of the last one's kind: 25.0%",
        "leads of the same owner ended better than average lately (+0.40)",
        "three-month Euribor: 3.5 %",
    ]
    assert said(0, 0, np.nan, np.nan, np.nan, -0.4, np.nan)[-2:] == [
        "leads of the same owner ended worse than average lately (-0.40)",
        "three-month Euribor: not known",
    ]
    assert said(0, 0, 0, 0, 0, np.nan)[-1].endswith("ended like all others lately")


def test_a_pair_of_features_is_told_with_both_values() -> None:
    catalogue = FeatureCatalogue(
        1,
        (
            Attribute("age", "numeric", "numbers.age", unit="years"),
            Attribute("job", "categorical", "texts.job", values=("nurse",), buckets=2),
        ),
        Behaviour(),
    )
    row = np.zeros(len(catalogue.columns), np.float32)
    row[0] = 41.5
    names = ("age*job", "job*nothing")
    assert explain_in_words(catalogue, row, names, [0, 1], [0.5, -1.0]) == [
        "age: 41.5 years and job: nurse: +0.50",
        "model job*nothing: -1.00",
    ]
    assert explain_in_words(catalogue, row, names, [0], [0.5], "de") == [
        "age: 41,5 years und job: nurse: +0,50"
    ]


def test_a_change_of_score_is_told_part_by_part() -> None:
    assert delta_in_words(-2.0, 0.5, -0.75, 0.0) == [
        "probability from 11.9% to 9.5%",
        "time that passed: -0.75",
        "what happened now: +0.50",
    ]
    assert delta_in_words(-2.0, 0.0, 0.0, 0.25, "de") == [
        "Wahrscheinlichkeit von 11,9 % auf 14,8 %",
        "was das Modell seitdem gelernt hat: +0,25",
    ]
    assert delta_in_words(900.0, 0.0, 0.0, 0.0) == ["probability from 100.0% to 100.0%"]


def test_every_language_has_the_same_sentences_with_the_same_places() -> None:
    assert {"de", "en"} <= set(languages())
    english = messages("en")
    for language in languages():
        other = messages(language)
        assert other.keys == english.keys
        for key in english.keys - {"decimal"}:
            places = {field for _, field, _, _ in Formatter().parse(other.sentence(key)) if field}
            known = {field for _, field, _, _ in Formatter().parse(english.sentence(key)) if field}
            # a language without a plural form may say it with either word
            assert places - {"one", "subject"} == known - {"one", "subject"}, (language, key)


def test_every_sentence_that_is_said_exists_in_every_language() -> None:
    catalogue = FeatureCatalogue(
        1,
        (
            Attribute("age", "numeric", "numbers.age"),
            Attribute("job", "categorical", "texts.job", values=("nurse",), buckets=2),
        ),
        Behaviour(("demo",), (7.0,), distinct=("url",), sequence=True),
    )
    for language in languages():
        for value in (np.nan, 0.0, 0.01, 0.5, 1.0, 2.6, 30.0):
            for place in range(len(catalogue.columns)):
                if place < 2 or catalogue.columns[place].kind in ("recency", "gap") or value >= 0:
                    assert value_in_words(catalogue, place, value, language)


def test_an_unknown_language_or_sentence_is_told() -> None:
    with pytest.raises(ValueError, match=r"no explanations in language 'xx'\. Fix: one of de, en"):
        messages("xx")
    with pytest.raises(KeyError, match="has no 'greeting'"):
        messages("en").say("greeting")
