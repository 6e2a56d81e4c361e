"""The compiled kernels against a slow reference, under every cut of the stream."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue
from models.features.kernels import FeatureKernels
from models.features.state import StateViews, lead_dtype

DAY = 86_400_000_000
CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age"),
        Attribute("job", "categorical", "texts.job", buckets=4),
    ),
    Behaviour(("visit", "demo"), (1.0, 7.0), 30.0),
)
KERNELS = FeatureKernels(CATALOGUE)
NAMES = CATALOGUE.column_names
Event = tuple[int, int, int, list[tuple[int, float]]]  # lead, time, kind, attributes

WITHOUT = {"numeric", "categorical", "recency", "gap"}

f4 = np.float32


class SlowLead:
    """One lead's features written out plainly: the meaning the kernels must have."""

    def __init__(self) -> None:
        self.attributes = [f4("nan"), f4("nan")]
        self.counts = [f4(0), f4(0)]
        self.last_of = [0, 0]
        self.decayed = [[f4(0), f4(0)], [f4(0), f4(0)]]
        self.first = self.last = self.events = self.sessions = 0
        self.gap = f4("nan")

    def update(self, moment: int, kind: int, attributes: list[tuple[int, float]]) -> None:
        late = self.events > 0 and moment < self.last
        if self.events == 0:
            self.first = self.last = moment
            self.sessions = 1
        elif late:
            self.first = min(self.first, moment)
        else:
            since = moment - self.last
            for counts in self.decayed:
                for place, half_life in enumerate((1.0, 7.0)):
                    factor = math.exp2(-(since / (half_life * DAY)))
                    counts[place] = f4(float(counts[place]) * factor)
            self.gap = f4(since / DAY)
            self.sessions += since > 30 * 60_000_000
            self.last = moment
        self.events += 1
        if kind >= 0:
            never = self.counts[kind] == 0
            self.last_of[kind] = moment if never else max(moment, self.last_of[kind])
            self.counts[kind] += f4(1)
            for place, half_life in enumerate((1.0, 7.0)):
                weight = math.exp2(-((self.last - moment) / (half_life * DAY)))
                self.decayed[kind][place] = f4(float(self.decayed[kind][place]) + weight)
        for slot, value in attributes:
            if not late or np.isnan(self.attributes[slot]):
                self.attributes[slot] = f4(value)

    def row(self, as_of: int | None = None) -> list[Any]:
        now = max(self.last, as_of or self.last)
        row: list[Any] = list(self.attributes)
        for kind in (0, 1):
            row.append(self.counts[kind])
            for place, half_life in enumerate((1.0, 7.0)):
                factor = math.exp2(-((now - self.last) / (half_life * DAY)))
                row.append(f4(float(self.decayed[kind][place]) * factor))
            seen = self.counts[kind] > 0
            row.append(f4((now - self.last_of[kind]) / DAY) if seen else f4("nan"))
        return [*row, f4(self.events), f4((now - self.first) / DAY), self.gap, f4(self.sessions)]


events = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(-5 * DAY, 40 * DAY).map(lambda t: 1_700_000_000_000_000 + t),
        st.integers(-1, 1),
        st.lists(st.tuples(st.integers(0, 1), st.floats(0, 3, width=32)), max_size=3),
    ),
    min_size=1,
    max_size=60,
)
cuts = st.lists(st.integers(0, 60), max_size=5)


def run(batch: list[Event], table: Any, earlier: Any = None) -> Any:
    flat = [(e, slot, value) for e, event in enumerate(batch) for slot, value in event[3]]
    return KERNELS.update_rows(
        StateViews.of(table),
        np.array([event[0] for event in batch], np.int64),
        np.array([event[1] for event in batch], np.int64),
        np.array([event[2] for event in batch], np.int32),
        np.array([e for e, _, _ in flat], np.int32),
        np.array([slot for _, slot, _ in flat], np.int32),
        np.array([value for _, _, value in flat], np.float32),
        earlier=earlier,
    )


@settings(max_examples=60, deadline=None)
@given(events, cuts)
def test_any_cut_gives_the_bits_of_the_reference(stream: list[Event], places: list[int]) -> None:
    leads = [SlowLead() for _ in range(4)]
    expected = []
    for lead, moment, kind, attributes in stream:
        leads[lead].update(moment, kind, attributes)
        expected.append(leads[lead].row())
    table = np.zeros(6, lead_dtype(CATALOGUE, [("mine", "f8"), ("flag", "u1", (3,))]))
    bounds = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    parts = [run(stream[a:b], table) for a, b in pairwise(bounds)]
    found = np.concatenate(parts)
    assert found.tobytes() == np.array(expected, np.float32).tobytes()
    assert not table["mine"].any()
    assert not table["flag"].any()


@settings(max_examples=40, deadline=None)
@given(events, st.integers(0, 90 * DAY))
def test_ageing_changes_rows_but_not_state(stream: list[Event], later: int) -> None:
    table = np.zeros(4, lead_dtype(CATALOGUE))
    rows = run(stream, table)
    before = table.tobytes()
    leads = [SlowLead() for _ in range(4)]
    for lead, moment, kind, attributes in stream:
        leads[lead].update(moment, kind, attributes)
    views = StateViews.of(table)
    last = stream[-1][0]
    one = np.array([last])
    assert KERNELS.feature_rows(views, one, table["last_seen"][one]).tobytes() == (
        rows[-1:].tobytes()
    )
    moment = int(table["last_seen"][last]) + later
    aged = KERNELS.feature_rows(views, one, np.array([moment]))
    assert aged.tobytes() == np.array([leads[last].row(moment)], np.float32).tobytes()
    assert table.tobytes() == before


@settings(max_examples=60, deadline=None)
@given(events)
def test_the_row_before_an_event_stands_as_it_was_and_aged_to_it(stream: list[Event]) -> None:
    leads = [SlowLead() for _ in range(4)]
    before, aged = [], []
    for lead, moment, kind, attributes in stream:
        slow = leads[lead]
        before.append(slow.row())
        aged.append(slow.row(moment))
        if not slow.events:
            empty = [math.nan if c.kind in WITHOUT else 0 for c in CATALOGUE.columns]
            before[-1] = aged[-1] = empty
        slow.update(moment, kind, attributes)
    shape = (len(stream), len(NAMES))
    earlier = (np.empty(shape, np.float32), np.empty(shape, np.float32))
    run(stream, np.zeros(6, lead_dtype(CATALOGUE)), earlier)
    np.testing.assert_array_equal(earlier[0], np.array(before, np.float32))
    np.testing.assert_array_equal(earlier[1], np.array(aged, np.float32))


def test_a_lead_never_seen_has_nothing_known() -> None:
    table = np.zeros(2, lead_dtype(CATALOGUE))
    row = KERNELS.feature_rows(StateViews.of(table), np.array([1]), np.array([5 * DAY]))[0]
    known = dict(zip(NAMES, row.tolist(), strict=True))
    assert known["event_count"] == known["sessions"] == known["visit.count"] == 0
    assert all(math.isnan(known[name]) for name in ("age", "job", "visit.recency_days", "gap_days"))


def test_a_late_event_counts_less_and_overwrites_nothing() -> None:
    table = np.zeros(2, lead_dtype(CATALOGUE))
    noon = 20_000 * DAY
    stream: list[Event] = [(0, noon, 0, [(0, 30.0)]), (0, noon - 7 * DAY, 0, [(0, 20.0), (1, 2.0)])]
    known = dict(zip(NAMES, run(stream, table)[-1].tolist(), strict=True))
    assert known["age"] == 30.0
    assert known["job"] == 2.0
    assert known["visit.count"] == 2
    assert known["visit.decayed_7d"] == 1.5
    assert known["visit.recency_days"] == 0
    assert known["days_since_first"] == 7
    assert known["sessions"] == 1


def test_read_only_inputs_are_taken_as_they_come() -> None:
    table = np.zeros(2, lead_dtype(CATALOGUE))
    times = np.frombuffer(np.array([DAY], np.int64).tobytes(), np.int64)
    none = np.empty(0, np.int32)
    out = KERNELS.update_rows(
        StateViews.of(table), np.array([0]), times, np.array([0], np.int32), none, none,
        none.astype(np.float32),
    )  # fmt: skip
    assert out[0, NAMES.index("visit.count")] == 1


def test_fields_are_aligned_and_small(tmp_path: Path) -> None:
    dtype = lead_dtype(CATALOGUE, [("mine", "i8"), ("flag", "u1")])
    assert dtype.itemsize % 8 == 0
    fields = dtype.fields
    assert fields is not None
    assert all(field[1] % field[0].base.alignment == 0 for field in fields.values())


@pytest.mark.parametrize("kinds", [(), ("visit",)])
def test_catalogues_without_attributes_or_kinds_work(kinds: tuple[str, ...]) -> None:
    catalogue = FeatureCatalogue(1, (), Behaviour(kinds, (7.0,)))
    kernels = FeatureKernels(catalogue)
    kernels.warm()
    table = np.zeros(2, lead_dtype(catalogue))
    none = np.empty(0, np.int32)
    out = kernels.update_rows(
        StateViews.of(table), np.array([0, 0]), np.array([0, DAY]), np.array([-1, -1], np.int32),
        none, none, none.astype(np.float32),
    )  # fmt: skip
    assert out[:, -4].tolist() == [1, 2]
    assert out[1, -2] == 1
