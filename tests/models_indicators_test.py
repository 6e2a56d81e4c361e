"""Market indicators: never a value that was published later, revisions in their time."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.features.catalogue import Indicator
from models.features.indicators import IndicatorTable

publications = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 20), st.integers(-9, 9)),
    unique_by=lambda p: (p[0], p[1]),
    max_size=25,
)


@given(publications, st.lists(st.integers(-2, 25), min_size=1, max_size=10), st.randoms())
def test_it_says_the_newest_publication_of_the_newest_observation(
    published: list[tuple[int, int, int]], times: list[int], shuffled: object
) -> None:
    table = IndicatorTable()
    mixed = list(published)
    shuffled.shuffle(mixed)  # type: ignore[attr-defined]
    for number, (observed, at, value) in enumerate(mixed):
        table.apply(str(number), "cpi", observed, at, value)
        if number == 3:
            table.view().as_of("cpi", np.array(times))  # an answer before does not spoil the next
    expected = []
    for time in times:
        known = [(observed, at, value) for observed, at, value in published if at <= time]
        expected.append(float(max(known)[2]) if known else math.nan)
    np.testing.assert_array_equal(table.view().as_of("cpi", np.array(times)), expected)


def test_a_revision_counts_from_its_own_publication_on() -> None:
    table = IndicatorTable()
    table.apply("0", "gdp", 100, 130, 1.0)
    table.apply("1", "gdp", 200, 230, 2.0)
    table.apply("2", "gdp", 100, 240, 1.5)  # of an older observation: no longer asked for
    table.apply("3", "gdp", 200, 260, 2.5)
    told = table.view().as_of("gdp", np.array([129, 130, 229, 230, 245, 260]))
    np.testing.assert_array_equal(told, [math.nan, 1.0, 1.0, 2.0, 2.0, 2.5])


def test_columns_follow_the_catalogue_and_gaps_are_missing() -> None:
    table = IndicatorTable()
    table.apply("4", "ecb/euribor3m", 1, 2, 3.5)
    table.apply("5", "ecb/euribor3m", 5, 6, math.nan)
    table.apply("6", "other", 1, 1, 8.0)
    indicators = [Indicator("rate", "ecb/euribor3m"), Indicator("cpi", "not/there")]
    columns = table.view().columns(indicators, np.array([1, 2, 7]))
    assert columns.dtype == np.float32
    np.testing.assert_array_equal(columns, [[np.nan, np.nan], [3.5, np.nan], [3.5, np.nan]])


def test_a_view_never_changes_and_names_the_newest_publication_that_had_come() -> None:
    table = IndicatorTable()
    assert table.view().known is None
    table.apply("a", "gdp", 100, 130, 1.0)
    before = table.view()
    table.apply("b", "gdp", 100, 120, 2.0)  # published earlier, and came later
    table.apply("a", "gdp", 100, 110, 9.0)  # a repeat
    at = np.array([125, 135])
    np.testing.assert_array_equal(before.as_of("gdp", at), [math.nan, 1.0])
    np.testing.assert_array_equal(table.view().as_of("gdp", at), [2.0, 1.0])
    assert (before.known, table.view().known) == ("a", "b")
