"""Collects what is wrong with the rows of a batch, so that a rejected row says all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.files.errors import Rejected

MAX_SHOWN = 80
"""A longer value is cut in a message."""


class Problems:
    """Problems of a batch of `count` rows; `bad` marks the rows that have any, [count]."""

    def __init__(self, count: int) -> None:
        self.bad = np.zeros(count, dtype=np.bool_)
        self._texts: dict[int, list[str]] = {}

    def add(
        self,
        rows: NDArray[np.int64],
        wrong: NDArray[np.bool_],
        place: str,
        what: str,
        column: str | None = None,
        values: Any = None,
    ) -> None:
        """Marks `rows[wrong]`. rows: places in the batch [k]; values: Arrow array [k] to show."""
        if not wrong.any():
            return
        for at in np.flatnonzero(wrong):
            row = int(rows[at])
            self.bad[row] = True
            if column is None:
                text = f"{place}: {what}"
            else:
                value = values[int(at)].as_py() if values is not None else None
                shown = "nothing" if value is None or value == "" else repr(str(value)[:MAX_SHOWN])
                text = f"{place}: column {column!r} holds {shown}, {what}"
            known = self._texts.setdefault(row, [])
            if text not in known:
                known.append(text)

    def rejected(self, file: str, numbers: NDArray[np.int64]) -> list[Rejected]:
        """One report a row that has problems, by row. numbers: row numbers in the file [count]."""
        return [
            Rejected(file, int(numbers[row]), tuple(self._texts[row]))
            for row in sorted(self._texts)
        ]
