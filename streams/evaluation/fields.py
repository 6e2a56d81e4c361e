"""What events told, field by field, as arrays: the audit's view of ``lead.timeline``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.features.time_travel import Field, Histories
from models.targets import Target

_PLAIN = ("account", "stage", "url")
_KEPT = ("lead_id", "event_id", "kind", "occurred_at", "numbers", "texts", "amount_minor", *_PLAIN)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}|$)")
_MOSTLY = 0.95

I8 = NDArray[np.int64]


class FieldCollector:
    """Keeps the events of one workspace.

    Args:
        workspace: Workspace name.
    """

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace
        self._batches: list[pa.RecordBatch] = []

    def add(self, values: pa.RecordBatch) -> None:
        """Take records of ``lead.timeline`` of any kind."""
        mine = pc.and_(
            pc.equal(values.column("workspace"), self._workspace),
            pc.equal(values.column("record_kind"), "event"),
        )
        kept = values.filter(mine).select(list(_KEPT))
        if kept.num_rows:
            self._batches.append(kept)

    def events(self) -> Events:
        """All of them, in order of arrival."""
        return Events(pa.Table.from_batches(self._batches).combine_chunks())


class Events:
    """Events of one workspace in order of arrival.

    Args:
        table: Columns of ``lead.timeline``.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        leads = _column(table, "lead_id").dictionary_encode()
        self._leads, self.lead = leads.dictionary, _numbers_of(leads.indices)

    def histories(self, target: Target) -> Histories:
        """The leads' events with the outcomes of a target."""
        kind = _column(self._table, "kind")
        sign = np.zeros(len(kind), np.int8)
        for kinds, value in ((target.positive_kinds, 1), (target.negative_kinds, -1)):
            sign[_is_in(kind, kinds)] = value
        at = _numbers_of(_column(self._table, "occurred_at").cast(pa.int64()))
        return Histories(self.lead, at, sign)

    def numbers_of(self, event_ids: pa.Array) -> I8:
        """Numbers of events by their id."""
        return _numbers_of(pc.index_in(event_ids, value_set=_column(self._table, "event_id")))

    def texts(self) -> dict[str, Counter[str]]:
        """How many events told each text, field by field of ``texts``."""
        return count_texts(_column(self._table, "texts"))

    def fields(self) -> list[Field]:
        """``numbers.*`` and ``texts.*`` by name, then what every event has a place for."""
        found = [
            Field(f"numbers.{name}", event, values.to_numpy(zero_copy_only=False).astype(float))
            for name, event, values in _entries(_column(self._table, "numbers"))
        ]
        found += [
            _told(f"texts.{name}", event, values)
            for name, event, values in _entries(_column(self._table, "texts"))
        ]
        amount = _column(self._table, "amount_minor")
        there = np.flatnonzero(amount.is_valid())
        if len(there):
            found.append(Field("amount", there, _numbers_of(amount.drop_null()).astype(float)))
        for name in _PLAIN:
            values = _column(self._table, name)
            there = np.flatnonzero(values.is_valid())
            if len(there):
                found.append(_told(name, there, values.drop_null()))
        return found


def count_texts(maps: pa.MapArray) -> dict[str, Counter[str]]:
    """How many events told each text of each field, of a column of texts."""
    found: dict[str, Counter[str]] = {}
    for name, _, values in _entries(maps):
        counted = pc.value_counts(values)
        texts, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
        found[name] = Counter(dict(zip(texts, counts, strict=True)))
    return found


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _numbers_of(values: pa.Array) -> I8:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.int64)


def _is_in(values: pa.Array, wanted: Collection[str]) -> NDArray[np.bool_]:
    found = pc.is_in(values, value_set=pa.array(list(wanted), pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def _entries(maps: pa.MapArray) -> list[tuple[str, I8, pa.Array]]:
    """(key, numbers of the events that have it, values without empty ones) of each key."""
    event = np.repeat(np.arange(len(maps)), np.diff(np.asarray(maps.offsets)))
    start, end = int(maps.offsets[0].as_py()), int(maps.offsets[-1].as_py())
    keys = maps.keys.slice(start, end - start).dictionary_encode()
    items = maps.items.slice(start, end - start)
    good = items.is_valid()
    if pa.types.is_string(items.type):
        good = pc.and_(good, pc.fill_null(pc.not_equal(items, ""), False))
    codes = np.where(good.to_numpy(zero_copy_only=False), _numbers_of(keys.indices), -1)
    found = []
    for code, name in enumerate(keys.dictionary.to_pylist()):
        at = np.flatnonzero(codes == code)
        if len(at):
            found.append((name, event[at], items.take(pa.array(at))))
    return sorted(found, key=lambda entry: entry[0])


def _told(name: str, event: I8, texts: pa.Array) -> Field:
    """Texts as numbers or times where (nearly) all of them are, else as categories."""
    coded = texts.dictionary_encode()
    words, code = coded.dictionary, _numbers_of(coded.indices)
    numbers = np.array([_number(word) for word in words.to_pylist()])
    if np.isfinite(numbers).mean() >= _MOSTLY:
        values = numbers[code]
        kept = np.isfinite(values)
        return Field(name, event[kept], values[kept])
    times = [_moment(word) for word in words.to_pylist()]
    is_time = np.array([time is not None for time in times], np.bool_)
    if is_time.mean() >= _MOSTLY:
        moments = np.array([time or 0 for time in times], np.int64)
        kept = is_time[code]
        return Field(name, event[kept], code[kept].astype(float), (), moments[code][kept])
    return Field(name, event, code.astype(float), tuple(words.to_pylist()))


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")


def _moment(word: str) -> int | None:
    """µs UTC of an ISO date or time; a time without a zone counts as UTC."""
    if not _ISO.match(word):
        return None
    try:
        moment = datetime.fromisoformat(word)
    except ValueError:
        return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)
