"""Compiled loops over events in order: update the leads' state and write feature rows.

Each event is applied alone and in order, so rows and state are the same bits however a stream of
events is cut into batches. With t the event's time and last the lead's newest event so far:

- t >= last: decayed counts age by 2^(-(t-last)/H), then the event's kind counts 1 more; the gap is
  t - last; a gap longer than the session gap starts a session; attributes take the new values.
- t < last (late): the event enters decayed counts with weight 2^(-(last-t)/H), the first time may
  move back, attributes are filled only where missing; gap and sessions stay.

A sketch of distinct values takes every event: a bitmap of 128, read by linear counting (Whang et
al., ACM TODS 15, 1990) with a standard error of 4 to 9 % up to 200 values, 16 % at 400; full at
700. The sequence takes every event that is not late.

A feature row stands as of the lead's newest event (`update_rows`) or of a later moment
(`feature_rows`), columns as in `catalogue.py`; rates and
market indicators are not of the lead, so they are left NaN for others to fill.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled, plain
from models.features.catalogue import FeatureCatalogue
from models.features.state import DAY_US, MINUTE_US, SKETCH_BITS, StateViews, lead_dtype

I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
U4 = NDArray[np.uint32]
F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
U1 = NDArray[np.uint8]
U8 = NDArray[np.uint64]

SHARE_OF = 8
"""Events of the sequence that `sequence.same` looks at."""

_NO_ROWS: F4 = np.empty((0, 0), np.float32)
_NO_VALUES: I4 = np.empty(0, np.int32)

# estimate of the number of distinct values by the number of bits set [129]
_ESTIMATE: F8 = np.rint(
    SKETCH_BITS * np.log(SKETCH_BITS / np.maximum(np.arange(SKETCH_BITS, -1, -1), 0.5))
)


class FeatureKernels:
    """The kernels of one catalogue; holds only constants, so one instance serves all tasks."""

    def __init__(self, catalogue: FeatureCatalogue) -> None:
        self.catalogue = catalogue
        self.width = len(catalogue.columns)
        self._half_lives = np.array(catalogue.behaviour.half_lives_days, np.float64) * DAY_US
        self._session_gap = round(catalogue.behaviour.session_gap_minutes * MINUTE_US)

    def update_rows(
        self,
        views: StateViews,
        rows: I8,
        occurred_at: I8,
        kind: I4,
        attr_event: I4,
        attr_slot: I4,
        attr_value: F4,
        out: F4 | None = None,
        earlier: tuple[F4, F4] | None = None,
        distinct: tuple[I4, I4, I4] | None = None,
    ) -> F4:
        """Apply n events in order to the state and write the feature row after each.

        Args:
            views: the table's fields.
            rows: row number of each event's lead [n].
            occurred_at: µs UTC [n].
            kind: position in `behaviour.kinds`, -1 for kinds that are not counted [n].
            attr_event: event number of each attribute value, ascending [m].
            attr_slot: attribute number of each value [m].
            attr_value: the value (a category's id as float) [m].
            out: [n, C] to write to; made if None.
            earlier: two [n, C] to write to: the lead's row before each event as of its event
                before, and the same row aged to this event. Both are the row without any event
                (NaN and 0) at a lead's first.
            distinct: event numbers, ascending, sketch numbers and bits of values to count [m] each.

        Returns:
            `out`, the feature row as of each event, after it.
        """
        if out is None:
            out = np.empty((len(rows), self.width), np.float32)
        before, aged = earlier or (_NO_ROWS, _NO_ROWS)
        value_event, value_sketch, value_bit = distinct or (_NO_VALUES,) * 3
        _update_rows(
            views.first_seen,
            views.last_seen,
            views.kind_last,
            views.event_count,
            views.sessions,
            views.gap_days,
            views.attributes,
            views.kind_counts,
            views.kind_decayed,
            views.distinct_bits,
            views.recent_kinds,
            views.recent_gaps,
            self._half_lives,
            self._session_gap,
            plain(rows, np.int64),
            plain(occurred_at, np.int64),
            plain(kind, np.int32),
            plain(attr_event, np.int32),
            plain(attr_slot, np.int32),
            plain(attr_value, np.float32),
            plain(value_event, np.int32),
            plain(value_sketch, np.int32),
            plain(value_bit, np.int32),
            _ESTIMATE,
            out,
            before,
            aged,
        )
        return out

    def feature_rows(self, views: StateViews, rows: I8, as_of: I8, out: F4 | None = None) -> F4:
        """Feature rows at given times, without changing the state (ageing).

        Args:
            views: the table's fields.
            rows: row numbers of leads [n].
            as_of: µs UTC [n]; a time before the lead's newest event counts as that event's.
            out: [n, C] to write to; made if None.

        Returns:
            [n, C]; at `last_seen` exactly the row that `update_rows` wrote last.
        """
        if out is None:
            out = np.empty((len(rows), self.width), np.float32)
        _feature_rows(
            views.first_seen,
            views.last_seen,
            views.kind_last,
            views.event_count,
            views.sessions,
            views.gap_days,
            views.attributes,
            views.kind_counts,
            views.kind_decayed,
            views.distinct_bits,
            views.recent_kinds,
            self._half_lives,
            _ESTIMATE,
            plain(rows, np.int64),
            plain(as_of, np.int64),
            out,
        )
        return out

    def warm(self) -> None:
        """Compile (or load from the cache) for the layout of table views, before being ready."""
        views = StateViews.of(np.zeros(2, lead_dtype(self.catalogue)))
        rows, none = np.zeros(1, np.int64), np.zeros(0, np.int32)
        kind = np.full(1, -1, np.int32)
        earlier = (np.empty((1, self.width), np.float32), np.empty((1, self.width), np.float32))
        values = none.astype(np.float32)
        self.update_rows(views, rows, rows, kind, none, none, values, earlier=earlier)
        self.feature_rows(views, rows, rows)


@compiled
def _write_row(
    row: int,
    first_seen: I8,
    kind_last: I8,
    event_count: U4,
    sessions: U4,
    gap_days: F4,
    attributes: F4,
    kind_counts: F4,
    kind_decayed: F4,
    distinct_bits: U8,
    recent_kinds: U1,
    age: F8,
    moment: int,
    estimate: F8,
    out: F4,
    line: int,
) -> None:
    """Feature row of the lead in `row` as of `moment` into `out[line]`.

    `age` is the decay since last_seen [H]. Whole tables are handed over, for a view of each field
    of a row would cost more than what it is read for.
    """
    seen = event_count[row]
    position = attributes.shape[1]
    for slot in range(position):
        out[line, slot] = attributes[row, slot] if seen > 0 else np.nan
    for kind in range(kind_counts.shape[1]):
        out[line, position] = kind_counts[row, kind]
        position += 1
        for half_life in range(len(age)):
            out[line, position] = kind_decayed[row, kind, half_life] * age[half_life]
            position += 1
        if kind_counts[row, kind] > 0:
            out[line, position] = (moment - kind_last[row, kind]) / DAY_US
        else:
            out[line, position] = np.nan
        position += 1
    out[line, position] = seen
    out[line, position + 1] = (moment - first_seen[row]) / DAY_US if seen > 0 else 0.0
    out[line, position + 2] = gap_days[row] if seen > 0 else np.nan
    out[line, position + 3] = sessions[row]
    position += 4
    for sketch in range(distinct_bits.shape[1]):
        bits = 0
        for part in range(distinct_bits.shape[2]):
            bits += _bits_set(distinct_bits[row, sketch, part])
        out[line, position] = estimate[bits]
        position += 1
    if recent_kinds.shape[1] > 0:
        newest = recent_kinds[row, 0]
        for place in range(2):
            code = recent_kinds[row, place]
            out[line, position + place] = code - 1.0 if code > 0 else np.nan
        known, same = 0, 0
        while known < SHARE_OF and recent_kinds[row, known] > 0:
            same += recent_kinds[row, known] == newest
            known += 1
        out[line, position + 2] = same / known if known > 0 else np.nan
        position += 3
    while position < out.shape[1]:
        out[line, position] = np.nan
        position += 1


@compiled
def _bits_set(word: np.uint64) -> int:
    count = 0
    while word != np.uint64(0):
        word &= word - np.uint64(1)
        count += 1
    return count


@compiled
def _update_rows(
    first_seen: I8,
    last_seen: I8,
    kind_last: I8,
    event_count: U4,
    sessions: U4,
    gap_days: F4,
    attributes: F4,
    kind_counts: F4,
    kind_decayed: F4,
    distinct_bits: U8,
    recent_kinds: U1,
    recent_gaps: U1,
    half_lives: F8,
    session_gap: int,
    rows: I8,
    occurred_at: I8,
    kind: I4,
    attr_event: I4,
    attr_slot: I4,
    attr_value: F4,
    value_event: I4,
    value_sketch: I4,
    value_bit: I4,
    estimate: F8,
    out: F4,
    before: F4,
    aged: F4,
) -> None:
    kinds, decays = kind_decayed.shape[1], kind_decayed.shape[2]
    same_age, age = np.ones(decays), np.ones(decays)
    entry, value = 0, 0
    length = recent_kinds.shape[1]
    for event in range(len(rows)):
        row, moment, counted = rows[event], occurred_at[event], kind[event]
        late, since = False, np.int64(0)
        if len(before) > 0:
            now = int(max(moment, last_seen[row]) if event_count[row] > 0 else 0)
            _write_row(
                row,
                first_seen,
                kind_last,
                event_count,
                sessions,
                gap_days,
                attributes,
                kind_counts,
                kind_decayed,
                distinct_bits,
                recent_kinds,
                same_age,
                last_seen[row],
                estimate,
                before,
                event,
            )
            for half_life in range(decays):
                age[half_life] = np.exp2(-((now - last_seen[row]) / half_lives[half_life]))
            _write_row(
                row,
                first_seen,
                kind_last,
                event_count,
                sessions,
                gap_days,
                attributes,
                kind_counts,
                kind_decayed,
                distinct_bits,
                recent_kinds,
                age,
                now,
                estimate,
                aged,
                event,
            )
        if event_count[row] == 0:
            first_seen[row] = moment
            last_seen[row] = moment
            gap_days[row] = np.nan
            sessions[row] = 1
            attributes[row, :] = np.nan
        elif moment >= last_seen[row]:
            since = moment - last_seen[row]
            if since > 0:
                for half_life in range(decays):
                    factor = np.exp2(-(since / half_lives[half_life]))
                    for counted_kind in range(kinds):
                        kind_decayed[row, counted_kind, half_life] *= factor
            gap_days[row] = since / DAY_US
            if since > session_gap:
                sessions[row] += 1
            last_seen[row] = moment
        else:
            late = True
            first_seen[row] = min(first_seen[row], moment)
        if length > 0 and not late:
            for place in range(length - 1, 0, -1):
                recent_kinds[row, place] = recent_kinds[row, place - 1]
                recent_gaps[row, place] = recent_gaps[row, place - 1]
            recent_kinds[row, 0] = 1 + (counted if counted >= 0 else kinds)
            recent_gaps[row, 0] = min(np.rint(8 * np.log2(1 + since / 1_000_000)), 255.0)
        while value < len(value_event) and value_event[value] <= event:
            bit = value_bit[value]
            mask = np.uint64(1) << np.uint64(bit % 64)
            distinct_bits[row, value_sketch[value], bit // 64] |= mask
            value += 1
        event_count[row] += 1
        if counted >= 0:
            if kind_counts[row, counted] == 0 or moment > kind_last[row, counted]:
                kind_last[row, counted] = moment
            kind_counts[row, counted] += 1
            behind = last_seen[row] - moment
            for half_life in range(decays):
                kind_decayed[row, counted, half_life] += np.exp2(-(behind / half_lives[half_life]))
        while entry < len(attr_event) and attr_event[entry] <= event:
            slot = attr_slot[entry]
            if not late or np.isnan(attributes[row, slot]):
                attributes[row, slot] = attr_value[entry]
            entry += 1
        _write_row(
            row,
            first_seen,
            kind_last,
            event_count,
            sessions,
            gap_days,
            attributes,
            kind_counts,
            kind_decayed,
            distinct_bits,
            recent_kinds,
            same_age,
            last_seen[row],
            estimate,
            out,
            event,
        )


@compiled
def _feature_rows(
    first_seen: I8,
    last_seen: I8,
    kind_last: I8,
    event_count: U4,
    sessions: U4,
    gap_days: F4,
    attributes: F4,
    kind_counts: F4,
    kind_decayed: F4,
    distinct_bits: U8,
    recent_kinds: U1,
    half_lives: F8,
    estimate: F8,
    rows: I8,
    as_of: I8,
    out: F4,
) -> None:
    age = np.ones(len(half_lives))
    for index in range(len(rows)):
        row = rows[index]
        moment = max(as_of[index], last_seen[row])
        for half_life in range(len(half_lives)):
            age[half_life] = np.exp2(-((moment - last_seen[row]) / half_lives[half_life]))
        _write_row(
            row,
            first_seen,
            kind_last,
            event_count,
            sessions,
            gap_days,
            attributes,
            kind_counts,
            kind_decayed,
            distinct_bits,
            recent_kinds,
            age,
            moment,
            estimate,
            out,
            index,
        )
