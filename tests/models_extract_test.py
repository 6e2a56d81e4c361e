"""Arrow columns of events become kernel arrays, whatever the slicing, nulls or bad numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue
from models.features.extract import Extractor, category

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age"),
        Attribute("job", "categorical", "texts.position", values=("nurse",), buckets=4),
        Attribute("income", "numeric", "numbers.income"),
        Attribute("city", "categorical", "texts.city", buckets=16),
    ),
    Behaviour(("visit", "demo")),
)
NUMBERS = pa.map_(pa.string(), pa.float64())
TEXTS = pa.map_(pa.string(), pa.string())

number = st.floats(width=64) | st.none()
events = st.lists(
    st.tuples(
        st.sampled_from(["visit", "demo", "other"]),
        st.dictionaries(st.sampled_from(["age", "income", "weight"]), number) | st.none(),
        st.dictionaries(
            st.sampled_from(["position", "city", "car"]), st.sampled_from(["nurse", "", "a", "é"])
        )
        | st.none(),
    ),
    max_size=30,
)


def slow(stream: list[Any]) -> list[tuple[int, int, float]]:
    """(event, slot, value) of every usable value, in no particular order within an event."""
    found = []
    for place, (_, numbers, texts) in enumerate(stream):
        for slot, attribute in enumerate(CATALOGUE.attributes):
            column, _, field = str(attribute.source).partition(".")
            value = ((numbers if column == "numbers" else texts) or {}).get(field)
            if isinstance(value, str) and value:
                found.append((place, slot, float(category(attribute, value))))
            elif isinstance(value, float) and math.isfinite(value) and abs(value) < 3.4e38:
                found.append((place, slot, float(np.float32(value))))
    return sorted(found)


def build(stream: list[Any]) -> tuple[pa.Array, pa.Array, pa.Array]:
    return (
        pa.array([event[0] for event in stream], pa.string()),
        pa.array([event[1] and list(event[1].items()) for event in stream], NUMBERS),
        pa.array([event[2] and list(event[2].items()) for event in stream], TEXTS),
    )


@settings(max_examples=80, deadline=None)
@given(events, st.integers(0, 10), st.integers(0, 30))
def test_slices_nulls_and_bad_numbers(stream: list[Any], start: int, length: int) -> None:
    kind, numbers, texts = (column.slice(start, length) for column in build(stream))
    stream = stream[start : start + length]
    found = Extractor(CATALOGUE).extract(kind, numbers, texts)
    assert found.kind.tolist() == [{"visit": 0, "demo": 1}.get(event[0], -1) for event in stream]
    assert (np.diff(found.attr_event) >= 0).all()
    triples = zip(
        found.attr_event.tolist(), found.attr_slot.tolist(), found.attr_value.tolist(), strict=True
    )
    assert sorted(triples) == slow(stream)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_numbers_that_are_none_leave_the_lead_alone(value: float) -> None:
    found = Extractor(CATALOGUE).extract(*build([("visit", {"age": value, "income": 5.0}, None)]))
    assert found.attr_slot.tolist() == [2]


def test_dictionary_encoded_kinds_are_read() -> None:
    kind, numbers, texts = build([("demo", None, None), ("other", None, None)])
    found = Extractor(CATALOGUE).extract(kind.dictionary_encode(), numbers, texts)
    assert found.kind.tolist() == [1, -1]


def test_categories_are_stable_and_known_values_never_collide() -> None:
    job = CATALOGUE.attributes[1]
    assert category(job, "nurse") == 0
    assert category(job, "clerk") == 1 + xxhash.xxh64_intdigest(b"job=clerk") % 4
    assert all(1 <= category(job, f"other {i}") < job.categories for i in range(50))


def test_many_distinct_texts_keep_their_categories_beyond_the_cache() -> None:
    extractor = Extractor(CATALOGUE)
    first = [("visit", None, {"city": f"city {i}"}) for i in range(500)]
    before = extractor.extract(*build(first)).attr_value.tolist()
    extractor.extract(*build([("visit", None, {"city": f"x{i}"}) for i in range(70_000)]))
    assert extractor.extract(*build(first)).attr_value.tolist() == before


def test_a_category_of_a_megabyte_is_one_category() -> None:
    found = Extractor(CATALOGUE).extract(*build([("visit", None, {"city": "x" * 1_000_000})]))
    assert len(found.attr_value) == 1


def test_a_null_map_says_nothing_even_over_entries() -> None:
    kind, numbers, texts = build([("visit", {"age": 1.0}, None), ("visit", {"age": 2.0}, None)])
    entries = pa.StructArray.from_arrays(
        [numbers.keys, numbers.items], fields=[NUMBERS.key_field, NUMBERS.item_field]
    )
    only_second = pa.py_buffer(b"\x02")
    hidden = pa.Array.from_buffers(
        NUMBERS, 2, [only_second, numbers.buffers()[1]], children=[entries]
    )
    found = Extractor(CATALOGUE).extract(kind, hidden, texts)
    assert found.attr_event.tolist() == [1]
    assert found.attr_value.tolist() == [2.0]
