"""Amounts, numbers, times and ids come out exactly, held against plain Python."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.files.columns import Columns
from connectors.files.ids import EventIds
from connectors.files.model import FileFormat, NumberSpec, Rounding, TextSpec, TimeSpec
from connectors.files.money import exponents, minor_units
from connectors.files.times import parse_instant, parse_times

NOW_US = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def columns(values: list[object], kind: pa.DataType | None = None, **form: object) -> Columns:
    rows = np.arange(1, len(values) + 1, dtype=np.int64)
    return Columns({"c": pa.array(values, kind)}, rows, FileFormat(**form), "deals")  # type: ignore[arg-type]


def reference(text: str, factor: str, decimals: int, rounding: Rounding) -> int | None:
    with localcontext() as context:
        context.prec = 200
        exact = Decimal(text) * Decimal(factor) * 10**decimals
        if rounding == "reject" and exact != exact.to_integral_value():
            return None
        way = ROUND_HALF_UP if rounding == "half_up" else ROUND_HALF_EVEN
        minor = int(exact.to_integral_value(way))
    return minor if -(2**63) <= minor < 2**63 else None


amounts = st.one_of(
    st.decimals(-(10**14), 10**14, places=2).map(str),
    st.decimals(-(10**6), 10**6, places=7).map(str),
    st.decimals(-100, 100, places=3).map(str),
    st.floats(-1e12, 1e12).map(repr),
    st.integers(-(10**20), 10**20).map(str),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(amounts, st.integers(-(10**9), 10**9).map(str)), min_size=1, max_size=8),
    st.sampled_from(["EUR", "JPY", "KWD", "CLF"]),
    st.sampled_from(["reject", "half_even", "half_up"]),
    st.booleans(),
)
def test_amounts_are_exact(
    pairs: list[tuple[str, str]], currency: str, rounding: Rounding, multiplied: bool
) -> None:
    texts, factors = pa.array([a for a, _ in pairs]), pa.array([b for _, b in pairs])
    decimals = exponents(pa.array([currency] * len(pairs)))
    minor, wrong, inexact = minor_units(texts, factors if multiplied else None, decimals, rounding)
    for i, (amount, factor) in enumerate(pairs):
        places = {"EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}[currency]
        expected = reference(amount, factor if multiplied else "1", places, rounding)
        got = None if wrong[i] or inexact[i] else int(minor[i])
        assert got == expected, (amount, factor)


@pytest.mark.parametrize(
    "text", ["", "abc", "NaN", "inf", "1_000", "1e999999999", "--1", "1,5", "9" * 200]
)
def test_what_is_no_amount(text: str) -> None:
    _, wrong, _ = minor_units(pa.array([text, "1"]), None, np.array([2, 2]), "half_even")
    assert wrong.tolist() == [True, False]


def test_floats_of_a_file_do_not_lose_a_cent() -> None:
    values = [2.55, 0.1, 1.15, 1234567.89, 4.35]
    texts = columns(list(values)).text("c")
    minor, wrong, inexact = minor_units(texts, None, np.full(5, 2), "reject")
    assert minor.tolist() == [255, 10, 115, 123456789, 435]
    assert not wrong.any() and not inexact.any()


def test_whole_numbers_have_the_same_text_in_every_type() -> None:
    for kind in (pa.int64(), pa.float64(), pa.float32(), pa.decimal128(9, 0), pa.string()):
        values: list[object] = ["17850"] if kind == pa.string() else [17850]
        assert columns(values, kind).text("c").to_pylist() == ["17850"]


def test_numbers_with_marks_nulls_and_values() -> None:
    given = columns(["1.234,5", " 7 ", "n/a", "many", "1.0.0,", "1e400"],
                    decimal=",", thousands=".", nulls=("", "n/a"))  # fmt: skip
    numbers, present, _ = given.number(NumberSpec("c", values={"many": 99.0}))
    assert present.tolist() == [True, True, False, True, True, True]
    assert numbers[[0, 1, 3]].tolist() == [1234.5, 7.0, 99.0]
    assert not np.isfinite(numbers[5])


def test_a_point_is_no_decimal_where_the_comma_is() -> None:
    numbers, present, _ = columns(["1.5"], decimal=",").number(NumberSpec("c"))
    assert present.all() and np.isnan(numbers[0])


def test_templates_and_maps() -> None:
    given = columns(["a", None, "b"])
    text = given.render(TextSpec(template="{file}/{row}/{c}"))
    assert text.to_pylist() == ["deals/1/a", None, "deals/3/b"]
    text = given.render(TextSpec(column="c", values={"a": "A"}, default="-"))
    assert text.to_pylist() == ["A", "-", "b"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.datetimes(datetime(1990, 1, 2), datetime(2025, 12, 30)), min_size=1),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_wall_clock_times_of_a_zone(moments: list[datetime], zone: str) -> None:
    texts: list[object] = [moment.isoformat(" ") for moment in moments]
    times, wrong, _ = parse_times(columns(texts), TimeSpec("c", zone=zone), NOW_US)
    assert not wrong.any()
    for moment, got in zip(moments, times.tolist(), strict=True):
        local = moment.replace(tzinfo=ZoneInfo(zone))
        exists = local.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == moment
        if exists:
            assert got == parse_instant(local.astimezone(UTC).isoformat())


@pytest.mark.parametrize(
    ("text", "form", "iso"),
    [
        ("2020-02-03T04:05:06Z", "iso", "2020-02-03T04:05:06+00:00"),
        ("2020-02-03 04:05:06.25+0100", "iso", "2020-02-03T03:05:06.250000+00:00"),
        ("2020-02-03", "iso", "2020-02-03T00:00:00+00:00"),
        ("03.02.2020 04:05", "%d.%m.%Y %H:%M", "2020-02-03T04:05:00+00:00"),
        ("2020-02-03 04:05 -0200", "%Y-%m-%d %H:%M %z", "2020-02-03T06:05:00+00:00"),
        ("1580702706", "epoch_s", "2020-02-03T04:05:06+00:00"),
        ("1580702706250", "epoch_ms", "2020-02-03T04:05:06.250000+00:00"),
    ],
)
def test_formats_of_times(text: str, form: str, iso: str) -> None:
    times, wrong, _ = parse_times(columns([text]), TimeSpec("c", format=form), NOW_US)
    assert not wrong.any()
    assert times[0] == parse_instant(iso)


@pytest.mark.parametrize(
    "text", ["yesterday", "2020-13-01", "1970-01-01", "2099-01-01", "", None, "2020-02-30 10:00"]
)
def test_what_is_no_event_time(text: str | None) -> None:
    given = columns(["2020-01-01", text], pa.string())
    _, wrong, _ = parse_times(given, TimeSpec("c"), NOW_US)
    assert wrong.tolist() == [False, True]


def test_typed_dates_and_times() -> None:
    for value, kind in [
        (datetime(2020, 2, 3), pa.timestamp("ns")),
        (datetime(2020, 2, 3, tzinfo=UTC), pa.timestamp("ms", "UTC")),
        (datetime(2020, 2, 3), pa.date32()),
        (1580688000, pa.int64()),
    ]:
        form = "epoch_s" if kind == pa.int64() else "iso"
        times, wrong, _ = parse_times(columns([value], kind), TimeSpec("c", format=form), NOW_US)
        assert not wrong.any() and times[0] == parse_instant("2020-02-03")


def test_ids_are_stable_distinct_and_depend_on_everything() -> None:
    rows = np.arange(1, 20_001)
    ids = [EventIds("mapping", "file").of(rows, event).to_pylist() for event in (0, 1)]
    # An id that changed with a release would double every import that is repeated after it.
    assert ids[0][0] == "b976475c4889b96c40ef56c17ab26324"
    other = EventIds("mapping", "file2").of(rows, 0).to_pylist()
    other += EventIds("mapping2", "file").of(rows, 0).to_pylist()
    assert len({*ids[0], *ids[1], *other}) == 80_000
