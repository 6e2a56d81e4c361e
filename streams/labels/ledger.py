"""Feature rows that wait for an outcome, and how outcomes, deadlines and ticks resolve them.

At a lead's first score, after given numbers of its events, at stage kinds and on a schedule of
event time the feature row of that moment is kept pending with its deadline, at most
``max_pending`` a lead and target. The first of these ends it:

- a positive or negative event of the lead: ``won`` or ``lost``; after the deadline it counts as
  ``matured``, and a row that is younger than the outcome is dropped, for nothing may be trained
  on features that came after;
- the tick that closes the epoch of the deadline: ``matured``, a negative.

The lead's first outcome counts, until an event takes it back; of a target that ``repeats`` each one
does. For ``corrections_days`` behind the deadline a resolved row is kept, so that its label can be
corrected (``corrections.py``).

A row's time is that of the newest event in it, which a late event's own time is not. The rows
themselves stand in ``kept.py``; the lead's row only holds which of its slots are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from models.targets import Target
from streams.engine.table import Table
from streams.labels.corrections import Correction, correct
from streams.labels.kept import MAX_SLOTS, KeptRows, slot_keys
from streams.labels.resolved import DROPPED, LOST, MATURED, OUTCOMES, WAITING, WON, Resolved

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]


def lead_fields(targets: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """What the ledger keeps in a lead's own row."""
    return [
        ("row_due_at", "<i8", (targets,)),
        ("resolved_slots", "<u4", (targets,)),
        ("pending_slots", "<u2", (targets,)),
        ("outcome", "<u1", (targets,)),
    ]


@njit(nogil=True, cache=True)
def _walk(
    due_at: I8,
    taken: NDArray[np.uint16],
    outcome: NDArray[np.uint8],
    resolved: NDArray[np.uint32],
    target: int,
    start: int,
    corrected: int,
    rows: I8,
    occurred_at: I8,
    as_of: I8,
    sign: NDArray[np.int8],
    takes_back: NDArray[np.bool_],
    is_stage: NDArray[np.bool_],
    is_first: NDArray[np.bool_],
    evidence: I8,
    first_score: bool,
    after_events: I8,
    every: int,
    limit: int,
    repeats: bool,
    correctable: bool,
    ticked: int,
    made: I8,
    made_slot: I8,
    ended: I8,
    ended_slot: I8,
) -> tuple[int, int, int]:
    """Go through events in order, up to one that corrects; returns (it, rows kept, resolved).

    The event ``corrected`` is gone through in any case: what it corrects was seen to.
    """
    m = e = 0
    for i in range(start, len(rows)):
        r = rows[i]
        bits = taken[r, target]
        if correctable and i != corrected and (sign[i] != 0 or takes_back[i]):
            if takes_back[i]:
                stop = outcome[r, target] != WAITING
            else:  # what matured had its deadline before the last tick
                matured = (resolved[r, target] >> np.uint32(MAX_SLOTS)) != 0
                stop = matured and outcome[r, target] == WAITING and occurred_at[i] <= ticked
            if stop:
                return i, m, e
        if sign[i] != 0:
            for slot in range(MAX_SLOTS):
                if bits & np.uint16(1 << slot):
                    ended[e], ended_slot[e] = i, slot
                    e += 1
            taken[r, target] = 0
            if not repeats:
                if correctable:
                    resolved[r, target] |= np.uint32(bits)
                if outcome[r, target] == WAITING:
                    outcome[r, target] = WON if sign[i] > 0 else LOST
                continue
            bits = np.uint16(0)
        if outcome[r, target] != WAITING:
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
    return len(rows), m, e


@njit(nogil=True, cache=True)
def _places(resolved: NDArray[np.uint32], rows: I8, target: NDArray[np.uint16], places: I8) -> None:
    """Find places for rows that matured; -1 where all are taken or the lead is not known."""
    for i in range(len(rows)):
        places[i] = -1
        for slot in range(MAX_SLOTS, 2 * MAX_SLOTS):
            bit = np.uint32(1) << np.uint32(slot)
            if rows[i] >= 0 and not resolved[rows[i], target[i]] & bit:
                resolved[rows[i], target[i]] |= bit
                places[i] = slot
                break


@dataclass(frozen=True, slots=True)
class Rows:
    """Kept rows of one workspace; ``ticked`` is the watermark of the last tick, µs."""

    pending: KeptRows
    resolved: KeptRows
    ticked: int


@dataclass(frozen=True, slots=True)
class Walked:
    """Scored events in order; arrays are ``[n]`` unless said otherwise, times in µs.

    Attributes:
        rows: Row numbers of the events' leads; ``keys`` their ids ``[n, 2]``.
        as_of: Time of the newest event in each feature row.
        sign: 1 for positive, -1 for negative, 0 for other events.
        evidence: How many events of its lead each feature row holds.
        features: Feature rows as of the events ``[n, C]``; ``logits`` what was published.
    """

    rows: I8
    keys: NDArray[np.uint64]
    occurred_at: I8
    watermark: I8
    as_of: I8
    sign: NDArray[np.int8]
    takes_back: NDArray[np.bool_]
    is_stage: NDArray[np.bool_]
    is_first: NDArray[np.bool_]
    evidence: I8
    features: NDArray[np.float32]
    logits: F8
    versions: I8
    event_ids: pa.Array
    offsets: I8


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
        self._retractions = set(target.retraction_kinds)
        self._after_events = np.array(target.rows.after_events, np.int64)

    def signs(self, kinds: list[str], codes: I8) -> NDArray[np.int8]:
        """1 for positive, -1 for negative, 0 for other events ``[n]``; ``kinds[codes[i]]``."""
        of = [1 if k in self._positive else -1 if k in self._negative else 0 for k in kinds]
        return np.array(of, np.int8)[codes]

    def stages(self, kinds: list[str], codes: I8) -> NDArray[np.bool_]:
        """Whether events are stage changes ``[n]``."""
        wanted = set(self.target.rows.stage_kinds)
        return np.array([k in wanted for k in kinds], np.bool_)[codes]

    def takes_back(self, kinds: list[str], codes: I8) -> NDArray[np.bool_]:
        """Whether events take back their lead's outcome ``[n]``."""
        return np.array([k in self._retractions for k in kinds], np.bool_)[codes]

    def walk(self, leads: Table, rows: Rows, events: Walked) -> tuple[I8, Resolved]:
        """Keep rows of scored events and resolve those whose lead has an outcome now.

        Returns:
            Numbers of the events whose rows were kept, and the rows that were resolved.
        """
        start, corrected, n = 0, -1, len(events.rows)
        kept: list[I8] = []
        parts: list[Resolved] = []
        while True:
            start, made, resolved = self._stretch(leads, rows, events, start, corrected)
            kept.append(made)
            parts.append(resolved)
            if start == n:
                break
            corrected = start
            cause = Correction(
                start,
                int(events.rows[start]),
                events.keys[start],
                int(events.occurred_at[start]),
                int(events.watermark[start]),
                int(events.sign[start]),
            )
            parts.append(
                correct(
                    leads, rows.pending, rows.resolved, self.index, cause,
                    matured_is_positive=self.target.positive_by_deadline,
                )
            )  # fmt: skip
        return np.concatenate(kept), Resolved.joined(parts)

    def _stretch(
        self, leads: Table, rows: Rows, events: Walked, start: int, corrected: int
    ) -> tuple[int, I8, Resolved]:
        """Go through events up to the next one that corrects; says which that is, or n."""
        state, target, mine = leads.rows, self.target, events.rows[start:]
        room, n = 0, len(mine)
        if events.sign[start:].any():  # at most what stands in slots and what is kept on the way
            room = n + int(np.bitwise_count(state["pending_slots"][mine, self.index]).sum())
        made, made_slot = np.empty(n, np.int64), np.empty(n, np.int64)
        ended, ended_slot = np.empty(room, np.int64), np.empty(room, np.int64)
        stop, m, e = _walk(
            state["row_due_at"], state["pending_slots"], state["outcome"], state["resolved_slots"],
            self.index, start, corrected, events.rows, events.occurred_at, events.as_of,
            events.sign, events.takes_back, events.is_stage, events.is_first, events.evidence,
            target.rows.first_score, self._after_events, target.every_us or 0,
            target.rows.max_pending, target.repeats, target.corrections_days > 0, rows.ticked, made,
            made_slot, ended, ended_slot,
        )  # fmt: skip
        made, ended = made[:m], ended[:e]
        done, ids = self._move(rows.pending, events, made, made_slot[:m], ended, ended_slot[:e])
        return stop, made, self._resolve(rows, events, ended, ended_slot[:e], done, ids)

    def _move(
        self, pending: KeptRows, events: Walked, made: I8, made_slot: I8, ended: I8, ended_slot: I8
    ) -> tuple[NDArray[np.void], NDArray[np.object_]]:
        """Let the rows wait that were kept and take those that ended, with their event ids.

        A row that ended in the very stretch in which it was kept never waits: another one may have
        its slot by now.
        """
        new, new_ids = self._new(pending.dtype, events, made, made_slot)
        begun, over = _within(events.rows, made, made_slot, ended, ended_slot)
        stays, waited = np.ones(len(made), np.bool_), np.ones(len(ended), np.bool_)
        stays[begun], waited[over] = False, False
        done, ids = np.empty(len(ended), pending.dtype), np.empty(len(ended), object)
        done[over], ids[over] = new[begun], new_ids[begun]
        if waited.any():
            keys = slot_keys(events.keys[ended[waited]], self.index, ended_slot[waited])
            done[waited], ids[waited] = pending.take(keys)
        if stays.any():
            keys = slot_keys(events.keys[made[stays]], self.index, made_slot[stays])
            pending.put(keys, new[stays], new_ids[stays].tolist())
        return done, ids

    def _new(
        self, dtype: np.dtype[np.void], events: Walked, made: I8, slots: I8
    ) -> tuple[NDArray[np.void], NDArray[np.object_]]:
        new, event_ids = np.zeros(len(made), dtype), np.empty(len(made), object)
        if not len(made):
            return new, event_ids
        features = events.features
        new["row_time"] = events.as_of[made]
        new["deadline"] = events.as_of[made] + self.target.horizon_us
        new["lead"] = events.keys[made]
        new["logit"] = events.logits[made]
        new["weights_version"] = events.versions[made]
        new["source_offset"] = events.offsets[made]
        new["target"] = self.index
        new["slot"] = new["place"] = slots
        new["features"][:, : features.shape[1]] = features[made]
        event_ids[:] = [e.encode() for e in events.event_ids.take(pa.array(made)).to_pylist()]
        return new, event_ids

    def _resolve(
        self,
        rows: Rows,
        events: Walked,
        ended: I8,
        slots: I8,
        done: NDArray[np.void],
        event_ids: NDArray[np.object_],
    ) -> Resolved:
        happened = events.occurred_at[ended]
        in_time, valid = happened <= done["deadline"], done["row_time"] <= happened
        status = np.where(events.sign[ended] > 0, WON, LOST)
        done["status"] = np.where(valid, np.where(in_time, status, MATURED), DROPPED)
        if self.target.corrections_days and not self.target.repeats and len(done):
            keys = slot_keys(events.keys[ended], self.index, slots)
            rows.resolved.put(keys, done, event_ids.tolist())
        done, event_ids = done[valid], event_ids[valid]
        matured = done["status"] == MATURED
        return Resolved(
            done,
            event_ids,
            OUTCOMES[done["status"]],
            (done["status"] == WON) | (matured & self.target.positive_by_deadline),
            np.minimum(happened[valid], done["deadline"]),
            ended[valid],
        )


def _within(rows: I8, made: I8, made_slot: I8, ended: I8, ended_slot: I8) -> tuple[I8, I8]:
    """Pairs of kept and ended rows that are the same: places in ``made`` and in ``ended``."""
    if not len(made) or not len(ended):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    slot = np.concatenate([made_slot, ended_slot])
    place = rows[np.concatenate([made, ended])] * MAX_SLOTS + slot
    order = np.lexsort((np.concatenate([2 * made + 1, 2 * ended]), place))  # an event ends first
    is_end = order >= len(made)
    same = place[order[1:]] == place[order[:-1]]
    pair = np.flatnonzero(is_end[1:] & ~is_end[:-1] & same)
    return order[pair], order[pair + 1] - len(made)


def mature(leads: Table, rows: Rows, until: int, targets: Sequence[Target]) -> Resolved:
    """Resolve all rows of a workspace, of all targets, whose deadline is not after ``until``."""
    correctable = np.array([t.corrections_days > 0 for t in targets])
    positive = np.array([t.positive_by_deadline for t in targets])
    due, event_ids = rows.pending.take(rows.pending.due(until))
    at = leads.find(np.ascontiguousarray(due["lead"]))
    known = at >= 0
    bit = (np.uint16(1) << due["slot"][known]).astype(np.uint16)
    slots = leads.rows["pending_slots"]
    np.bitwise_and.at(slots, (at[known], due["target"][known]), ~bit)
    n = len(due)
    due["status"] = MATURED
    places = np.empty(n, np.int64)
    target = np.ascontiguousarray(due["target"])
    _places(leads.rows["resolved_slots"], np.where(correctable[target], at, -1), target, places)
    for index in np.unique(target).tolist():
        kept = np.flatnonzero((places >= 0) & (target == index))
        due["place"][kept] = places[kept]
        keys = slot_keys(np.ascontiguousarray(due["lead"][kept]), index, places[kept])
        rows.resolved.put(keys, due[kept], event_ids[kept].tolist())
    leads.touch(at[known])
    return Resolved(
        due,
        event_ids,
        np.full(n, OUTCOMES[MATURED], object),
        positive[target],
        due["deadline"].astype(np.int64),
        np.full(n, -1, np.int64),
    )
