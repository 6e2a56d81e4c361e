"""Lengths of time as people write them: `30s`, `5m`, `2h`, `1d`, `1w`, `250ms`, also `1h30m`."""

from __future__ import annotations

import re

_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)\s*")
_ROWS = re.compile(r"(\d+)\s*rows?")


def parse_duration(text: str) -> int:
    """Microseconds of a duration; a leading minus makes it negative.

    >>> parse_duration("1h30m") // 1_000_000
    5400

    Raises ValueError with what is accepted.
    """
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body.removeprefix("-").removeprefix("+").strip()
    total, at = 0, 0
    while match := _PART.match(body, at):
        total += round(float(match[1]) * _US[match[2]])
        at = match.end()
    if not body or at != len(body):
        raise ValueError(f"{text!r} is not a duration; write such as 30s, 5m, 2h, 1d, 1w or 1h30m")
    return sign * total


def parse_rows(text: str) -> int | None:
    """Number of rows of a delay such as `500 rows`; None when it is not written in rows."""
    match = _ROWS.fullmatch(text.strip())
    return int(match[1]) if match else None
