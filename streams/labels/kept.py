"""Where feature rows stand: those that wait for their label, and those whose label may change.

One changelog key for each row, written once for each turn that it takes. An event id longer than 64
bytes, which is rare, stands in a table of its own, so that rows stay short and a label still names
exactly the event that its score names.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streams.engine.state import State
from streams.engine.table import Table

EVENT_ID_BYTES = 64
LONG_EVENT_ID_BYTES = 256
"""Identity refuses longer ones."""
MAX_SLOTS = 16
"""Of rows of one lead and target that wait. A resolved row that the lead's outcome ended stands in
the slot in which it waited, one that its deadline ended in one of as many more."""
_SLOT_STEP = np.uint64(0x9E3779B97F4A7C15)

I8 = NDArray[np.int64]
Keys = NDArray[np.uint64]


def kept_dtype(columns: int) -> np.dtype[np.void]:
    """Row of both tables for a catalogue of so many feature columns.

    slot: where the row waits or waited; place: where it stands now. revision: how often its label
    was taken back. status: one of ``streams.labels.resolved``'s.
    """
    return np.dtype(
        [
            ("row_time", "<i8"),
            ("deadline", "<i8"),
            ("lead", "<u8", (2,)),
            ("logit", "<f8"),
            ("weights_version", "<i8"),
            ("source_offset", "<i8"),
            ("target", "<u2"),
            ("slot", "<u1"),
            ("place", "<u1"),
            ("revision", "<u2"),
            ("status", "<u2"),
            ("features", "<f4", (columns + columns % 2,)),
            ("event_id", f"S{EVENT_ID_BYTES}"),
        ]
    )


def slot_keys(leads: Keys, target: int, slots: I8) -> Keys:
    """Keys of rows ``[n, 2]`` of leads ``[n, 2]``; slots from 0 to ``2 * MAX_SLOTS - 1``."""
    keys = leads.copy()
    keys[:, 1] += (slots.astype(np.uint64) + np.uint64(target * 2 * MAX_SLOTS + 1)) * _SLOT_STEP
    return keys


class KeptRows:
    """Rows of one workspace that wait for their label (pending) or may be corrected (resolved).

    Args:
        state: Holds the tables that :meth:`tables` made.
        workspace: Its name.
        which: Which of the two.
    """

    def __init__(self, state: State, workspace: str, which: Literal["pending", "resolved"]) -> None:
        self._rows = state.table(f"{which}/{workspace}")
        self._long_ids = state.table(f"{which}_ids/{workspace}")

    @staticmethod
    def tables(workspace: str, columns: int, meaning: str = "") -> list[Table]:
        """Empty tables of a workspace with so many feature columns of a meaning."""
        long_ids = np.dtype([("event_id", f"S{LONG_EVENT_ID_BYTES}")])
        made = []
        for which in ("pending", "resolved"):
            made.append(Table(f"{which}/{workspace}", kept_dtype(columns), meaning=meaning))
            made.append(Table(f"{which}_ids/{workspace}", long_ids, capacity=16))
        return made

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Of the rows."""
        return self._rows.dtype

    def count(self, target: int) -> int:
        """How many rows of a target there are."""
        return int((self._rows.rows["target"][self._rows.live_rows()] == target).sum())

    def put(self, keys: Keys, rows: NDArray[np.void], event_ids: list[bytes]) -> None:
        """Keep ``rows`` ``[n]`` under ``keys`` ``[n, 2]``, those of their places."""
        rows["event_id"] = [e if len(e) <= EVENT_ID_BYTES else b"" for e in event_ids]
        at, _ = self._rows.find_or_insert(keys)
        self._rows.rows[at] = rows
        self._rows.touch(at)
        for i in np.flatnonzero(rows["event_id"] == b"").tolist():
            place, _ = self._long_ids.find_or_insert(keys[i : i + 1])
            self._long_ids.rows["event_id"][place] = event_ids[i]
            self._long_ids.touch(place)

    def take(self, keys: Keys) -> tuple[NDArray[np.void], NDArray[np.object_]]:
        """Remove the rows of ``keys`` ``[n, 2]``, all of them there, and return them with ids."""
        rows = self._rows.rows[self._rows.find(keys)]
        event_ids = rows["event_id"].astype(object)
        elsewhere = event_ids == b""
        if elsewhere.any():
            mine = np.ascontiguousarray(keys[elsewhere])
            event_ids[elsewhere] = self._long_ids.rows["event_id"][self._long_ids.find(mine)]
            self._long_ids.delete(mine)
        self._rows.delete(keys)
        return rows, event_ids

    def drop(self, keys: Keys) -> None:
        """Remove the rows of ``keys`` ``[n, 2]``."""
        self._rows.delete(keys)
        if len(self._long_ids):
            self._long_ids.delete(keys)

    def due(self, until: int) -> Keys:
        """Keys of the rows whose deadline is not after ``until`` ``[n, 2]``, ascending."""
        live = self._rows.live_rows()
        keys = self._rows.keys[live[self._rows.rows["deadline"][live] <= until]]
        return keys[np.lexsort((keys[:, 1], keys[:, 0]))]

    def older(self, deadlines: I8) -> tuple[Keys, NDArray[np.void]]:
        """Keys and rows with a deadline before that of their target in ``deadlines`` ``[T]``."""
        live = self._rows.live_rows()
        target = self._rows.rows["target"][live]
        old = live[self._rows.rows["deadline"][live] < deadlines[target]]
        return self._rows.keys[old], self._rows.rows[old]
