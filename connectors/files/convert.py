"""Batches of rows to chunks of records: filters, event times, and which rows are rejected.

Goes through a file in its order and remembers two things only: the latest time so far (where the
mapping promises rows in order of time) and the last value of each `on_change` series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.files.columns import Columns, valid
from connectors.files.conditions import passing
from connectors.files.durations import parse_duration, parse_rows
from connectors.files.errors import Rejected
from connectors.files.events import Chunk, EventBuilder, Slots, outcome_rows
from connectors.files.ids import EventIds, row_event
from connectors.files.model import EventSpec, FileMapping, IndicatorSpec, TimeSpec
from connectors.files.problems import Problems
from connectors.files.reader import Rows
from connectors.files.records import INDICATORS_TOPIC, MARKET_INDICATOR, record_batch, timestamps
from connectors.files.times import parse_instant, parse_times
from connectors.files.uses import as_number_spec, as_text_spec, conditions

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Converted:
    """What a batch of rows gave.

    filtered: rows left out by the mapping's `rows`; floor: no record of a later row is earlier
    than this (microseconds), None when nothing can be said before the last row.
    """

    chunks: list[Chunk]
    rejected: list[Rejected]
    filtered: int
    floor: int | None


class Converter:
    """Converts the rows of an import in the order of its files."""

    def __init__(self, mapping: FileMapping, now_us: int) -> None:
        self.mapping = mapping
        self._now_us = now_us
        self._in_order = in_order(mapping)
        self._latest = _NEVER
        self._last_values: dict[int, float] = {}
        self._events = [
            EventBuilder(mapping, spec, f"events[{i}]") for i, spec in enumerate(mapping.events)
        ]
        self._outcome = (
            EventBuilder(mapping, mapping.outcome, "outcome") if mapping.outcome else None
        )
        self._shifts = _shifts(mapping)
        self._min_shift = min(0, *self._shifts.values(), 0)

    def convert(self, rows: Rows, first_row: int, ids: EventIds, file: str, stem: str) -> Converted:
        """Chunks of a batch. first_row: rows in the files before this one; stem: for {file}."""
        columns = Columns(
            rows.columns, rows.numbers + first_row, self.mapping.format, stem
        )  # fmt: skip
        problems = Problems(columns.n)
        selected = passing(columns, conditions(self.mapping.rows))
        base = self._base_times(columns, selected, problems)
        batch = _Batch(columns, rows.numbers, selected, base, ids, problems)
        chunks = [self._event(i, event, batch) for i, event in enumerate(self.mapping.events)]
        if self._outcome is not None:
            chunks.append(self._outcome_event(batch))
        # Last, so that `on_change` compares with the last value of a row that is not rejected.
        for i, indicator in enumerate(self.mapping.indicators):
            chunks.append(self._indicator(i, indicator, batch))
        kept = [_without(chunk, problems.bad) for chunk in chunks]
        floor = self._latest + self._min_shift if self._in_order and columns.n else None
        if floor is not None and self._latest == _NEVER:
            floor = None
        return Converted(
            [chunk for chunk in kept if len(chunk.times)],
            problems.rejected(file, rows.numbers),
            int(columns.n - selected.sum()),
            floor,
        )

    def _base_times(
        self, columns: Columns, selected: NDArray[np.bool_], problems: Problems
    ) -> NDArray[np.int64]:
        time = self.mapping.time
        if time is None:
            return np.zeros(columns.n, dtype=np.int64)
        if time.column is None:
            start, step = parse_instant(time.start or ""), parse_duration(time.step or "")
            times = start + (columns.rows - 1) * step
            self._latest = int(times[-1]) if columns.n else self._latest
            return times
        times, wrong, what = parse_times(columns, time, self._now_us)
        where = np.arange(columns.n)
        text = columns.array(time.column)
        problems.add(where, wrong & selected, "time", what, time.column, text)
        if self._in_order:
            usable = np.where(selected & ~wrong, times, _NEVER)
            latest = np.maximum.accumulate(np.concatenate(([self._latest], usable)))
            problems.add(
                where,
                selected & ~wrong & (times < latest[:-1]),
                "time",
                "earlier than a row before it; sort the file, or set `order: any`",
                time.column,
                text,
            )
            self._latest = int(latest[-1])
        return times

    def _times(
        self, batch: _Batch, own: TimeSpec | None, place: str, mask: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Event times [n] of one part of the mapping; wrong ones of the mask become problems."""
        if own is None:
            return batch.base + self._shifts[place]
        times, wrong, what = parse_times(batch.columns, own, self._now_us)
        where, text = np.arange(batch.columns.n), batch.columns.array(own.column or "")
        batch.problems.add(where, wrong & mask, f"{place}.time", what, own.column, text)
        times = times + self._shifts[place]
        if self._in_order:
            batch.problems.add(
                where,
                mask & ~wrong & (times < batch.base),
                f"{place}.time",
                "earlier than the time of its row; set `order: any` to sort by event time",
                own.column,
                text,
            )
        return times

    def _slots(
        self, batch: _Batch, mask: NDArray[np.bool_], times: NDArray[np.int64], number: int,
        place: str,
    ) -> Slots:  # fmt: skip
        at = np.flatnonzero(mask)
        return Slots(
            batch.columns.take(mask), at, batch.numbers[at], times[at], number, place, batch.ids
        )

    def _event(self, i: int, spec: EventSpec, batch: _Batch) -> Chunk:
        place = f"events[{i}]"
        mask = batch.selected & passing(batch.columns, conditions(spec.when))
        times = self._times(batch, spec.time, place, mask)
        number = len(self.mapping.indicators) + i
        slots = self._slots(batch, mask, times, number, place)
        kinds = slots.columns.render(as_text_spec(spec.kind, constant=True))
        return self._events[i].build(slots, kinds, batch.problems)

    def _outcome_event(self, batch: _Batch) -> Chunk:
        spec = self.mapping.outcome
        if spec is None or self._outcome is None:
            raise AssertionError("a mapping without an outcome has no outcome events")
        mask, kinds = outcome_rows(batch.columns, spec, batch.selected, batch.problems)
        times = self._times(batch, spec.time, "outcome", mask)
        number = len(self.mapping.indicators) + len(self.mapping.events)
        slots = self._slots(batch, mask, times, number, "outcome")
        return self._outcome.build(slots, kinds.filter(pa.array(mask)), batch.problems)

    def _indicator(self, i: int, spec: IndicatorSpec, batch: _Batch) -> Chunk:
        place = f"indicators[{i}]"
        mask = batch.selected & passing(batch.columns, conditions(spec.when))
        number = as_number_spec(spec.value)
        values, there, texts = batch.columns.number(number)
        batch.problems.add(
            np.arange(batch.columns.n), mask & there & ~np.isfinite(values), f"{place}.value",
            "which is not a finite number; name it in `nulls`", number.column, texts,
        )  # fmt: skip
        mask = mask & there
        published = self._times(batch, spec.published, place, mask)
        if spec.on_change:
            mask = self._changes(i, mask & ~batch.problems.bad, values)
        if spec.observed is None:
            observed = batch.base
        else:
            observed = self._times(batch, spec.observed, f"{place}.observed", mask)
        slots = self._slots(batch, mask, published, i, place)
        series = slots.columns.render(as_text_spec(spec.series, constant=True))
        batch.problems.add(slots.at, ~valid(series), f"{place}.series", "is empty")
        unit = None if spec.unit is None else pa.repeat(spec.unit, slots.columns.n)
        columns = {
            "event_id": slots.ids.of(slots.numbers, slots.number),
            "workspace": pa.repeat(self.mapping.workspace, slots.columns.n),
            "series": pc.fill_null(series, ""),
            "observed_at": timestamps(observed[slots.at]),
            "published_at": timestamps(published[slots.at]),
            "value": pa.array(values[slots.at], pa.float64()),
            "source": pa.repeat(self.mapping.source, slots.columns.n),
        } | ({} if unit is None else {"unit": unit})
        records = record_batch(MARKET_INDICATOR, columns, slots.columns.n)
        seq = row_event(slots.columns.rows, slots.number)
        return Chunk(INDICATORS_TOPIC, slots.times, seq, slots.at, records)

    def _changes(
        self, i: int, mask: NDArray[np.bool_], values: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """The rows of the mask whose value differs from the row of the mask before."""
        at = np.flatnonzero(mask)
        before = np.concatenate(([self._last_values.get(i, np.nan)], values[at[:-1]]))[: len(at)]
        changed = np.zeros_like(mask)
        changed[at[values[at] != before]] = True
        if len(at):
            self._last_values[i] = float(values[at[-1]])
        return changed


@dataclass(frozen=True, slots=True)
class _Batch:
    columns: Columns
    numbers: NDArray[np.int64]
    selected: NDArray[np.bool_]
    base: NDArray[np.int64]
    ids: EventIds
    problems: Problems


def in_order(mapping: FileMapping) -> bool:
    """Whether rows come in order of time: by definition, or because the mapping promises it."""
    by_rows = mapping.time is not None and mapping.time.start is not None
    return by_rows or mapping.order == "file"


def _shifts(mapping: FileMapping) -> dict[str, int]:
    """Microseconds that each part's time lies after its column or its row."""
    shifts = {f"events[{i}]": parse_duration(e.offset) for i, e in enumerate(mapping.events)}
    for i, indicator in enumerate(mapping.indicators):
        shifts[f"indicators[{i}]"] = parse_duration(indicator.publish_delay)
        shifts[f"indicators[{i}].observed"] = 0
    if mapping.outcome is not None:
        rows = parse_rows(mapping.outcome.delay)
        if rows is None:
            shifts["outcome"] = parse_duration(mapping.outcome.delay)
        else:
            shifts["outcome"] = rows * parse_duration((mapping.time or TimeSpec()).step or "")
    return shifts


def _without(chunk: Chunk, bad: NDArray[np.bool_]) -> Chunk:
    keep = ~bad[chunk.at]
    if keep.all():
        return chunk
    return Chunk(
        chunk.topic, chunk.times[keep], chunk.seq[keep], chunk.at[keep],
        chunk.records.filter(pa.array(keep)),
    )  # fmt: skip
