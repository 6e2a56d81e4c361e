"""Event times: columns of text, dates or numbers to microseconds since 1970-01-01 UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.files.columns import Columns, parse_floats, valid
from connectors.files.model import TimeSpec

FIRST_US = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
"""Event times before this are rejected: they are defaults of some system, not times."""

AHEAD_US = 86_400_000_000
"""An event time may lie this far after the clock of this machine."""

_EPOCH_US = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
_ZONED = r"\d{2}(\.\d+)?\s*(Z|[+-]\d{2}:?\d{2}|[+-]\d{2})$"
_TIME_PART = r"\d[T ]\d{2}"


def parse_instant(text: str) -> int:
    """Microseconds of an ISO 8601 instant; without a zone it is UTC. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not an ISO time such as 2008-05-05T09:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + moment.microsecond


def check_format(text: str) -> None:
    """Raises ValueError unless it is iso, epoch_s, epoch_ms, epoch_us or a strptime format."""
    if text != "iso" and text not in _EPOCH_US and "%" not in text:
        raise ValueError(
            f"{text!r}: write iso, epoch_s, epoch_ms, epoch_us or a format such as %d/%m/%Y %H:%M"
        )


def parse_times(
    columns: Columns, spec: TimeSpec, now_us: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], str]:
    """(microseconds [n], wrong [n], what is wrong with the wrong ones) of a time column."""
    moments = _moments(columns, spec)
    there = valid(moments)
    times = pc.fill_null(pc.cast(moments, pa.int64()), 0).to_numpy(zero_copy_only=False)
    wrong = ~there | (times < FIRST_US) | (times > now_us + AHEAD_US)
    what = (
        f"which is not a time ({spec.format}, zone {spec.zone}) from 1990 up to tomorrow; see"
        " `format` and `zone` of the time"
    )
    return times, wrong, what


def _moments(columns: Columns, spec: TimeSpec) -> Any:
    column = spec.column or ""
    raw = columns.array(column)
    if pa.types.is_timestamp(raw.type) or pa.types.is_date(raw.type):
        zoned = pa.types.is_timestamp(raw.type) and raw.type.tz is not None
        naive = pc.cast(raw, pa.timestamp("us", "UTC" if zoned else None), safe=False)
        return naive if zoned else _in_zone(naive, spec.zone)
    text = columns.text(column)
    if spec.format in _EPOCH_US:
        return _epoch(raw, text, _EPOCH_US[spec.format])
    if spec.format == "iso":
        return _iso(text, spec.zone)
    parsed = pc.strptime(text, format=spec.format, unit="us", error_is_null=True)
    if "%z" in spec.format:
        return pc.cast(parsed, pa.timestamp("us", "UTC"))
    return _in_zone(parsed, spec.zone)


def _in_zone(naive: Any, zone: str) -> Any:
    """Wall clock to instants, so that no row is lost to summer time.

    An hour that clocks show twice is the first one; a skipped one is the moment of the jump.
    """
    local = pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="latest")
    return pc.cast(local, pa.timestamp("us", "UTC"))


def _epoch(raw: Any, text: Any, unit_us: int) -> Any:
    if pa.types.is_integer(raw.type):
        number = pc.cast(raw, pa.float64(), safe=False)
    else:
        number = parse_floats(text)
    scaled = pc.round(pc.multiply(number, float(unit_us)))
    # Beyond 2**53 float64 has no whole microseconds; such a time lies after the year 2255 anyway.
    sane = pc.less(pc.abs(scaled), float(1 << 53))
    return pc.cast(pc.cast(pc.if_else(sane, scaled, None), pa.int64()), pa.timestamp("us", "UTC"))


def _iso(text: Any, zone: str) -> Any:
    with_time = pc.match_substring_regex(text, _TIME_PART)
    zoned = pc.and_(with_time, pc.match_substring_regex(text, _ZONED))
    instants = _cast_or_null(pc.if_else(zoned, text, None), pa.timestamp("us", "UTC"))
    naive = _cast_or_null(pc.if_else(zoned, None, text), pa.timestamp("us"))
    return pc.coalesce(instants, _in_zone(naive, zone))


def _cast_or_null(text: Any, kind: Any) -> Any:
    try:
        return pc.cast(text, kind)
    except pa.ArrowInvalid:
        return pa.array([_one_or_none(value, kind) for value in text], kind)


def _one_or_none(value: Any, kind: Any) -> Any:
    try:
        return pc.cast(value, kind).as_py()
    except pa.ArrowInvalid:
        return None
