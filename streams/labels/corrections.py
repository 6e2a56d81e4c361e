"""What becomes of resolved rows when their lead's outcome comes late or is taken back.

Such an event is rare, so it is handled by itself, row by row. Afterwards the lead is as if it had
been known all along:

- A late outcome ends rows that had matured without it. Their label is taken back; a row of before
  the outcome gets the label that it should have had, and a younger one none, for nothing may be
  trained on features that came after the outcome.
- A retraction opens the lead again. Rows whose deadline is still ahead wait for it as before; the
  others are matured at once.

A row that is taken back gets its next label under the next revision.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.engine.table import Table
from streams.labels.kept import MAX_SLOTS, KeptRows, slot_keys
from streams.labels.resolved import (
    DROPPED,
    LOST,
    MATURED,
    OUTCOMES,
    RETRACTED,
    WAITING,
    WON,
    Resolved,
)

_SLOTS = np.arange(2 * MAX_SLOTS)


@dataclass(frozen=True, slots=True)
class Correction:
    """The event that corrects: its number, its lead, its time and watermark in µs, its sign."""

    event: int
    row: int
    lead: NDArray[np.uint64]
    occurred_at: int
    watermark: int
    sign: int


@dataclass(slots=True)
class _Told:
    """Labels and retractions that one correction causes."""

    rows: list[np.void] = field(default_factory=list)
    event_ids: list[bytes] = field(default_factory=list)
    outcome: list[str] = field(default_factory=list)
    resolved_at: list[int] = field(default_factory=list)

    def add(self, row: np.void, event_id: bytes, outcome: str, at: int) -> None:
        self.rows.append(row.copy())
        self.event_ids.append(event_id)
        self.outcome.append(outcome)
        self.resolved_at.append(at)

    def resolved(self, event: int, dtype: np.dtype[np.void], matured_is_positive: bool) -> Resolved:
        n = len(self.rows)
        positive = {OUTCOMES[WON], OUTCOMES[MATURED]} if matured_is_positive else {OUTCOMES[WON]}
        return Resolved(
            np.array(self.rows, dtype),
            _objects(self.event_ids),
            _objects(self.outcome),
            np.array([o in positive for o in self.outcome], np.bool_),
            np.array(self.resolved_at, np.int64),
            np.full(n, event, np.int64),
        )


def correct(
    leads: Table,
    pending: KeptRows,
    resolved: KeptRows,
    target: int,
    cause: Correction,
    *,
    matured_is_positive: bool,
) -> Resolved:
    """Correct one lead's labels of one target; the event itself is yet to be gone through."""
    bits = leads.rows["resolved_slots"]
    slots = np.flatnonzero((int(bits[cause.row, target]) >> _SLOTS) & 1)
    keys = slot_keys(np.repeat(cause.lead[None], len(slots), 0), target, slots)
    rows, event_ids = resolved.take(keys)
    told = _Told()
    if cause.sign:
        _late_outcome(rows, event_ids, cause, told)
        resolved.put(keys, rows, event_ids.tolist())
        return told.resolved(cause.event, rows.dtype, matured_is_positive)
    _taken_back(rows, event_ids, cause, told)
    waits = rows["status"] == WAITING
    _move(rows, slots, waits)
    for table, which in ((pending, waits), (resolved, ~waits & (rows["place"] >= MAX_SLOTS))):
        places = rows["place"][which].astype(np.int64)
        keys = slot_keys(np.repeat(cause.lead[None], len(places), 0), target, places)
        table.put(keys, rows[which], event_ids[which].tolist())
        field = "pending_slots" if table is pending else "resolved_slots"
        leads.rows[field][cause.row, target] = sum(1 << p for p in places.tolist())
    leads.rows["outcome"][cause.row, target] = WAITING
    return told.resolved(cause.event, rows.dtype, matured_is_positive)


def _move(rows: NDArray[np.void], slots: NDArray[np.int64], waits: NDArray[np.bool_]) -> None:
    """Rows that wait go back to their slots; matured ones to places behind, while there are any.

    One that finds no place is matured for good.
    """
    rows["place"][waits] = rows["slot"][waits]
    taken = slots[~waits & (slots >= MAX_SLOTS)].tolist()
    free = [p for p in range(MAX_SLOTS, 2 * MAX_SLOTS) if p not in taken]
    moved = np.flatnonzero(~waits & (slots < MAX_SLOTS))[: len(free)]
    rows["place"][moved] = free[: len(moved)]


def _late_outcome(
    rows: NDArray[np.void], event_ids: NDArray[np.object_], cause: Correction, told: _Told
) -> None:
    """The lead is open: its resolved rows have matured, or another late outcome ended them."""
    status = WON if cause.sign > 0 else LOST
    for row, event_id in zip(rows, event_ids, strict=True):
        if cause.occurred_at > row["deadline"] or row["status"] != MATURED:
            continue
        _retract(row, event_id, cause, told)
        if row["row_time"] > cause.occurred_at:
            row["status"] = DROPPED
            continue
        row["status"] = status
        told.add(row, event_id, OUTCOMES[status], cause.occurred_at)


def _taken_back(
    rows: NDArray[np.void], event_ids: NDArray[np.object_], cause: Correction, told: _Told
) -> None:
    for row, event_id in zip(rows, event_ids, strict=True):
        over = row["deadline"] <= cause.watermark
        if row["status"] == MATURED and over:
            continue
        if row["status"] != DROPPED:
            _retract(row, event_id, cause, told)
        row["status"] = MATURED if over else WAITING
        if over:
            told.add(row, event_id, OUTCOMES[MATURED], int(row["deadline"]))


def _retract(row: np.void, event_id: bytes, cause: Correction, told: _Told) -> None:
    told.add(row, event_id, RETRACTED, cause.occurred_at)
    row["revision"] += 1


def _objects(values: list[str] | list[bytes]) -> NDArray[np.object_]:
    made = np.empty(len(values), object)
    made[:] = values
    return made
