"""Feature rows become model inputs: transforms, clipping, flags and categories."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.features.catalogue import (
    Attribute,
    Behaviour,
    FeatureCatalogue,
    Indicator,
    Rate,
    Transform,
)
from models.features.encoding import Encoding

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age", transform=Transform("standard", 40, 10)),
        Attribute("debt", "numeric", "numbers.debt", transform=Transform("log1p", 1, 2)),
        Attribute("rate", "numeric", "numbers.rate", transform=Transform("identity", 9, 9)),
        Attribute("job", "categorical", "texts.job", values=("nurse",), buckets=2),
    ),
    Behaviour(("visit",), (7.0,)),
)
ENCODING = Encoding(CATALOGUE)
C = len(CATALOGUE.columns)
rows_of = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 8), st.just(C)), elements=st.floats(width=32)
)


def row(**values: float) -> np.ndarray:
    made = np.full(C, np.nan, np.float32)
    for name, value in values.items():
        made[CATALOGUE.column_names.index(name.replace("__", "."))] = value
    return made


def test_inputs_mean_what_the_documentation_says() -> None:
    x = ENCODING.as_dict(row(age=60, debt=-math.expm1(3), rate=-2, job=1, visit__count=0))
    assert x["bias"] == 1.0
    assert x["age"] == 2.0
    assert x["debt"] == pytest.approx((-3 - 1) / 2)
    assert x["rate"] == -2.0
    assert x["job#1"] == 1.0
    assert x["visit.recency_days?"] == x["gap_days?"] == 1.0
    assert "visit.count" not in x
    assert "job?" not in x


def test_missing_is_a_flag_and_counts_have_none() -> None:
    x = ENCODING.as_dict(row())
    assert {name for name in x if name.endswith("?")} == {
        "age?", "debt?", "rate?", "job?", "visit.recency_days?", "gap_days?",
    }  # fmt: skip
    assert len(x) == 7


@pytest.mark.parametrize(("value", "expected"), [(1e30, 10.0), (-1e30, -10.0), (np.inf, 10.0)])
def test_absurd_numbers_are_clipped(value: float, expected: float) -> None:
    assert ENCODING.as_dict(row(age=value))["age"] == expected


@pytest.mark.parametrize("value", [-5.0, 3.0, 1e9])
def test_a_category_that_does_not_exist_is_missing(value: float) -> None:
    assert ENCODING.as_dict(row(job=value))["job?"] == 1.0


@settings(max_examples=100, deadline=None)
@given(rows_of)
def test_logits_dense_and_dict_agree(rows: np.ndarray) -> None:
    weights = np.random.default_rng(0).normal(size=ENCODING.size)
    bias, contributions, logits = ENCODING.logits_and_contributions(rows, weights)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(ENCODING.dense(rows) @ weights, logits, rtol=1e-9, atol=1e-9)
    for place in range(len(rows)):
        total = bias
        for term in contributions[place].tolist():
            total += term
        assert total == logits[place]
        x = ENCODING.as_dict(rows[place])
        slow = sum(weights[ENCODING.input_names.index(name)] * v for name, v in x.items())
        assert slow == pytest.approx(logits[place], abs=1e-9)


def test_weights_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="weights have shape"):
        ENCODING.logits_and_contributions(np.zeros((1, C), np.float32), np.zeros(3))


def test_robust_columns_take_the_center_and_scale_that_were_learned() -> None:
    attributes = (
        Attribute("debt", "numeric", "numbers.debt", transform=Transform("robust", 5, 2)),
        *CATALOGUE.attributes[:1],
    )
    encoding = Encoding(FeatureCatalogue(1, attributes, CATALOGUE.behaviour))
    width = len(encoding.catalogue.columns)
    rows = np.full((1, width), np.nan, np.float32)
    rows[0, :2] = 9, 60
    assert encoding.as_dict(rows[0])["debt"] == 2.0
    learned = encoding.scaled(np.full(width, 3.0), np.full(width, 4.0))
    assert learned.as_dict(rows[0])["debt"] == 1.5
    assert learned.as_dict(rows[0])["age"] == encoding.as_dict(rows[0])["age"] == 2.0
    assert encoding.as_dict(rows[0])["debt"] == 2.0
    weights = np.ones(encoding.size)
    _, terms, _ = learned.logits_and_contributions(rows, weights)
    assert terms[0, :2].tolist() == [1.5, 2.0]
    for wrong in (np.zeros(width), np.full(width, np.nan), np.ones(width - 1)):
        with pytest.raises(ValueError, match="scale"):
            encoding.scaled(np.zeros(width), wrong)


def test_kinds_of_a_sequence_are_categories_and_rates_can_be_missing() -> None:
    catalogue = FeatureCatalogue(
        1,
        (Attribute("owner", "categorical", "texts.owner", buckets=2, rate=Rate()),),
        Behaviour(("visit",), (7.0,), distinct=("url",), sequence=True),
        (Indicator("euribor", "ecb", transform=Transform("standard", 2, 2)),),
    )
    encoding, names = Encoding(catalogue), catalogue.column_names
    values = np.full(len(names), np.nan, np.float32)
    known = {"sequence.last": 1, "distinct.url": 0, "owner.rate": -0.5, "euribor": 4}
    for name, value in known.items():
        values[names.index(name)] = value
    x = encoding.as_dict(values)
    assert (x["sequence.last#1"], x["owner.rate"], x["euribor"]) == (1.0, -0.5, 1.0)
    assert x["sequence.before?"] == x["sequence.same?"] == 1.0
    assert "distinct.url" not in x and "sequence.last#2" not in encoding.input_names
