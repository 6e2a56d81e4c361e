"""Refused events with their reasons, collected while columns are checked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.engine.columns import Rejection
from streams.identity.flat import Entries

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 60


class Findings:
    """The first reason of each refused event. Python looks at an event only if it is refused."""

    def __init__(self) -> None:
        self._found: dict[int, Rejection] = {}

    @property
    def rejections(self) -> list[Rejection]:
        """One for each refused event, in row order."""
        return [self._found[row] for row in sorted(self._found)]

    def flag(
        self, wrong: NDArray[np.bool_], error_class: str, message: Callable[[int], str]
    ) -> None:
        """Refuse the events that are ``wrong`` [n] and have no reason yet."""
        if wrong.any():
            for row in np.flatnonzero(wrong).tolist():
                if row not in self._found:
                    self._found[row] = Rejection(row, error_class, message(row))

    def flag_entries(
        self,
        entries: Entries,
        wrong: NDArray[np.bool_],
        error_class: str,
        message: Callable[[int], str],
    ) -> None:
        """Refuse the events of ``wrong`` [m] entries; the message is about the first of each."""
        if wrong.any():
            at = np.flatnonzero(wrong)
            events, first = np.unique(entries.event[at], return_index=True)
            entry = dict(zip(events.tolist(), at[first].tolist(), strict=True))
            rows = np.zeros(len(entries.count), np.bool_)
            rows[events] = True
            self.flag(rows, error_class, lambda row: message(entry[row]))


def always(message: str) -> Callable[[int], str]:
    """Return a reason that is the same for every event."""
    return lambda _: message


def shown(value: pa.Scalar) -> str:
    """Show a value in a message, long text cut off."""
    text = value.as_py()
    if isinstance(text, str) and len(text) > _SHOWN:
        return f"{text[:_SHOWN]!r}…"
    return "null" if text is None else repr(text)


def time_shown(us: np.int64) -> str:
    """Show a time in a message."""
    try:
        return (_EPOCH + timedelta(microseconds=int(us))).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return f"{int(us)} µs"
