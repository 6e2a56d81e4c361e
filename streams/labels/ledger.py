"""Feature rows that wait for an outcome, and how outcomes, deadlines and ticks resolve them.

At a lead's first score, after given numbers of its events, at stage kinds and on a schedule of
event time the feature row of that moment is kept pending with its deadline, at most
``max_pending`` a lead and target. The first of these ends it:

- a positive or negative event of the lead: ``won`` or ``lost``; after the deadline it counts as
  ``matured``, and a row that is younger than the outcome is dropped, for nothing may be trained
  on features that came after;
- the tick that closes the epoch of the deadline: ``matured``, a negative.

A row's time is that of the newest event in it, which a late event's own time is not. The rows
themselves stand in ``pending.py``; the lead's row only holds which of its slots are taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from models.targets import Target
from streams.engine.table import Table
from streams.labels.pending import MAX_SLOTS, PendingRows, slot_keys

OPEN, WON, LOST = 0, 1, 2

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]


def lead_fields(targets: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """What the ledger keeps in a lead's own row."""
    return [
        ("row_due_at", "<i8", (targets,)),
        ("pending_slots", "<u2", (targets,)),
        ("outcome", "<u1", (targets,)),
    ]


@njit(nogil=True, cache=True)
def _walk(
    due_at: I8,
    taken: NDArray[np.uint16],
    outcome: NDArray[np.uint8],
    target: int,
    rows: I8,
    as_of: I8,
    sign: NDArray[np.int8],
    is_stage: NDArray[np.bool_],
    is_first: NDArray[np.bool_],
    evidence: I8,
    first_score: bool,
    after_events: I8,
    every: int,
    limit: int,
    made: I8,
    made_slot: I8,
    ended: I8,
    ended_slot: I8,
) -> tuple[int, int]:
    """Go through events in order; returns (rows kept, rows resolved)."""
    m = e = 0
    for i in range(len(rows)):
        r = rows[i]
        bits = taken[r, target]
        if sign[i] != 0:
            for slot in range(MAX_SLOTS):
                if bits & np.uint16(1 << slot):
                    ended[e], ended_slot[e] = i, slot
                    e += 1
            taken[r, target] = 0
            outcome[r, target] = WON if sign[i] > 0 else LOST
            continue
        if outcome[r, target] != OPEN:
            continue
        wanted = (is_first[i] and first_score) or is_stage[i]
        for count in after_events:
            wanted = wanted or evidence[i] == count
        wanted = wanted or (every > 0 and not is_first[i] and as_of[i] >= due_at[r, target])
        if not wanted:
            continue
        for slot in range(limit):
            if not bits & np.uint16(1 << slot):
                taken[r, target] = bits | np.uint16(1 << slot)
                due_at[r, target] = as_of[i] + every
                made[m], made_slot[m] = i, slot
                m += 1
                break
    return m, e


@dataclass(frozen=True, slots=True)
class Resolved:
    """Rows that became labels.

    Attributes:
        rows: Copies of the pending rows ``[n]``.
        event_ids: UTF-8 of the event as of which each row was taken ``[n]``.
        outcome: ``won``, ``lost`` or ``matured`` of each.
        positive: Whether it counts as positive.
        resolved_at: µs of event time.
        event: Number of the event that resolved it, -1 for a tick.
    """

    rows: NDArray[np.void]
    event_ids: NDArray[np.object_]
    outcome: NDArray[np.object_]
    positive: NDArray[np.bool_]
    resolved_at: I8
    event: I8

    def of_target(self, index: int) -> Resolved:
        """Only the rows of one target."""
        mine = self.rows["target"] == index
        return Resolved(
            self.rows[mine],
            self.event_ids[mine],
            self.outcome[mine],
            self.positive[mine],
            self.resolved_at[mine],
            self.event[mine],
        )


class Ledger:
    """Rules of one target of one workspace; the state is in the tables it is handed.

    Args:
        target: What is predicted.
        index: The target's number in the workspace.
    """

    def __init__(self, target: Target, index: int) -> None:
        self.target, self.index = target, index
        self._positive = set(target.positive_kinds)
        self._negative = set(target.negative_kinds)
        self._after_events = np.array(target.rows.after_events, np.int64)

    def signs(self, kinds: list[str], codes: I8) -> NDArray[np.int8]:
        """1 for positive, -1 for negative, 0 for other events ``[n]``; ``kinds[codes[i]]``."""
        of = [1 if k in self._positive else -1 if k in self._negative else 0 for k in kinds]
        return np.array(of, np.int8)[codes]

    def stages(self, kinds: list[str], codes: I8) -> NDArray[np.bool_]:
        """Whether events are stage changes ``[n]``."""
        wanted = set(self.target.rows.stage_kinds)
        return np.array([k in wanted for k in kinds], np.bool_)[codes]

    def walk(
        self,
        leads: Table,
        pending: PendingRows,
        *,
        rows: I8,
        keys: NDArray[np.uint64],
        occurred_at: I8,
        as_of: I8,
        sign: NDArray[np.int8],
        is_stage: NDArray[np.bool_],
        is_first: NDArray[np.bool_],
        evidence: I8,
        features: NDArray[np.float32],
        logits: F8,
        versions: I8,
        event_ids: pa.Array,
        offsets: I8,
    ) -> tuple[I8, Resolved]:
        """Keep rows of scored events and resolve those whose lead has an outcome now.

        Args:
            rows: Row numbers of the events' leads ``[n]``; ``keys`` their ids ``[n, 2]``.
            as_of: Time of the newest event in each feature row ``[n]``, µs.
            evidence: How many events of its lead each feature row holds ``[n]``.
            features: Feature rows as of the events ``[n, C]``; ``logits`` what was published.

        Returns:
            Numbers of the events whose rows were kept, and the rows that were resolved.
        """
        n, target = len(rows), self.target
        state = leads.rows
        room = 0
        if sign.any():  # at most what stands in the slots and what is kept on the way
            room = n + int(np.bitwise_count(state["pending_slots"][rows, self.index]).sum())
        made, made_slot = np.empty(n, np.int64), np.empty(n, np.int64)
        ended, ended_slot = np.empty(room, np.int64), np.empty(room, np.int64)
        m, e = _walk(
            state["row_due_at"], state["pending_slots"], state["outcome"], self.index, rows,
            as_of, sign, is_stage, is_first, evidence, target.rows.first_score,
            self._after_events, target.every_us or 0, target.rows.max_pending,
            made, made_slot, ended, ended_slot,
        )  # fmt: skip
        if m:
            self._keep(
                pending, keys, made[:m], made_slot[:m], as_of, features, logits, versions,
                event_ids, offsets,
            )  # fmt: skip
        return made[:m], self._resolve(pending, keys, ended[:e], ended_slot[:e], occurred_at, sign)

    def _keep(
        self,
        pending: PendingRows,
        keys: NDArray[np.uint64],
        made: I8,
        slots: I8,
        as_of: I8,
        features: NDArray[np.float32],
        logits: F8,
        versions: I8,
        event_ids: pa.Array,
        offsets: I8,
    ) -> None:
        new = np.zeros(len(made), pending.dtype)
        new["row_time"] = as_of[made]
        new["deadline"] = as_of[made] + self.target.horizon_us
        new["lead"] = keys[made]
        new["logit"] = logits[made]
        new["weights_version"] = versions[made]
        new["source_offset"] = offsets[made]
        new["target"] = self.index
        new["slot"] = slots
        new["features"][:, : features.shape[1]] = features[made]
        kept = [e.encode() for e in event_ids.take(pa.array(made)).to_pylist()]
        pending.put(slot_keys(keys[made], self.index, slots), new, kept)

    def _resolve(
        self,
        pending: PendingRows,
        keys: NDArray[np.uint64],
        ended: I8,
        slots: I8,
        occurred_at: I8,
        sign: NDArray[np.int8],
    ) -> Resolved:
        rows, event_ids = pending.take(slot_keys(keys[ended], self.index, slots))
        happened = occurred_at[ended]
        valid = rows["row_time"] <= happened
        rows, event_ids = rows[valid], event_ids[valid]
        ended, happened = ended[valid], happened[valid]
        in_time = happened <= rows["deadline"]
        won = (sign[ended] > 0) & in_time
        outcome = np.where(~in_time, "matured", np.where(won, "won", "lost")).astype(object)
        return Resolved(
            rows, event_ids, outcome, won, np.minimum(happened, rows["deadline"]), ended
        )


def mature(leads: Table, pending: PendingRows, until: int) -> Resolved:
    """Resolve all rows of a workspace, of all targets, whose deadline is not after ``until``."""
    rows, event_ids = pending.take(pending.due(until))
    at = leads.find(np.ascontiguousarray(rows["lead"]))
    known = at >= 0
    bit = (np.uint16(1) << rows["slot"][known].astype(np.uint16)).astype(np.uint16)
    slots = leads.rows["pending_slots"]
    np.bitwise_and.at(slots, (at[known], rows["target"][known]), ~bit)
    leads.touch(at[known])
    n = len(rows)
    return Resolved(
        rows,
        event_ids,
        np.full(n, "matured", object),
        np.zeros(n, np.bool_),
        rows["deadline"].astype(np.int64),
        np.full(n, -1, np.int64),
    )
