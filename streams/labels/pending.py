"""Where feature rows stand until their label is known: one changelog key for each, written once.

An event id longer than 64 bytes, which is rare, stands in a table of its own, so that rows stay
short and a label still names exactly the event that its score names.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.engine.state import State
from streams.engine.table import Table

EVENT_ID_BYTES = 64
LONG_EVENT_ID_BYTES = 256
"""Identity refuses longer ones."""
MAX_SLOTS = 16
_SLOT_STEP = np.uint64(0x9E3779B97F4A7C15)

I8 = NDArray[np.int64]
Keys = NDArray[np.uint64]


def pending_dtype(columns: int) -> np.dtype[np.void]:
    """Row of the pending table for a catalogue of so many feature columns."""
    return np.dtype(
        [
            ("row_time", "<i8"),
            ("deadline", "<i8"),
            ("lead", "<u8", (2,)),
            ("logit", "<f8"),
            ("weights_version", "<i8"),
            ("source_offset", "<i8"),
            ("target", "<u4"),
            ("slot", "<u4"),
            ("features", "<f4", (columns + columns % 2,)),
            ("event_id", f"S{EVENT_ID_BYTES}"),
        ]
    )


def slot_keys(leads: Keys, target: int, slots: I8) -> Keys:
    """Keys of pending rows ``[n, 2]`` of leads ``[n, 2]``."""
    keys = leads.copy()
    keys[:, 1] += (slots.astype(np.uint64) + np.uint64(target * MAX_SLOTS + 1)) * _SLOT_STEP
    return keys


class PendingRows:
    """Pending rows of one workspace.

    Args:
        state: Holds the tables that :meth:`tables` made.
        workspace: Its name.
    """

    def __init__(self, state: State, workspace: str) -> None:
        self._rows = state.table(f"pending/{workspace}")
        self._long_ids = state.table(f"pending_ids/{workspace}")

    @staticmethod
    def tables(workspace: str, columns: int, meaning: str = "") -> list[Table]:
        """Empty tables of a workspace with so many feature columns of a meaning."""
        long_ids = np.dtype([("event_id", f"S{LONG_EVENT_ID_BYTES}")])
        return [
            Table(f"pending/{workspace}", pending_dtype(columns), meaning=meaning),
            Table(f"pending_ids/{workspace}", long_ids, capacity=16),
        ]

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Of the rows."""
        return self._rows.dtype

    def count(self, target: int) -> int:
        """How many rows of a target wait."""
        return int((self._rows.rows["target"][self._rows.live_rows()] == target).sum())

    def put(self, keys: Keys, rows: NDArray[np.void], event_ids: list[bytes]) -> None:
        """Keep ``rows`` ``[n]`` under ``keys`` ``[n, 2]``."""
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

    def due(self, until: int) -> Keys:
        """Keys of the rows whose deadline is not after ``until`` ``[n, 2]``, ascending."""
        live = self._rows.live_rows()
        keys = self._rows.keys[live[self._rows.rows["deadline"][live] <= until]]
        return keys[np.lexsort((keys[:, 1], keys[:, 0]))]
