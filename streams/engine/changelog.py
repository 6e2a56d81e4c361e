r"""State as records of a compacted topic: one record a touched row, raw bytes, plus progress.

Keys:

=======================================  =====================================================
``tag(8) + row key(16)``                 a table row; value: layout tag (4) + the row's raw bytes
``b"layout\0\0" + tag(8) + layout(4)``     names, dtypes and meaning of a table's row, JSON
``b"blob\0\0\0\0" + name``                   a blob
``b"progress"``                          next offset of each input topic and failed attempts, JSON
``b"reset"``                             a rebuild: all rows and blobs before it are void
=======================================  =====================================================

``tag`` is XXH64 of the table's name. Rows of several layouts may stand in one log; each says which.
"""

# ruff: noqa: ANN001, ANN202  (numba infers the types of its kernels)

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import structlog
import xxhash
from numba import njit
from numpy.typing import NDArray

from streams.engine.errors import LayoutChanged
from streams.engine.packed import Packed
from streams.engine.records import RecordSlice
from streams.engine.state import State
from streams.engine.table import Table

PROGRESS_KEY = b"progress"
RESET_KEY = b"reset"
LAYOUT_PREFIX = b"layout\0\0"
_BLOB = b"blob\0\0\0\0"
_ROW_KEY_BYTES = 24
_LAYOUT_BYTES = 4

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Progress:
    """How far a task has come.

    Attributes:
        offsets: Next offset to process, per input topic.
        topic_ids: Kafka's id of each input topic, to notice one that was deleted and made anew.
        attempts: How often processing failed within the records below ``suspect``.
        suspect: End offset, per topic, of the records among which one made processing fail.
        suppress: While a rebuild recomputes state, records below these offsets give no output.
    """

    offsets: dict[str, int] = field(default_factory=dict)
    topic_ids: dict[str, str] = field(default_factory=dict)
    attempts: int = 0
    suspect: dict[str, int] = field(default_factory=dict)
    suppress: dict[str, int] = field(default_factory=dict)

    def advanced(self, topic: str, offset: int) -> Progress:
        """Return a copy that has come to ``offset``; attempts end with their suspect records."""
        through = offset >= self.suspect.get(topic, 0)
        return Progress(
            {**self.offsets, topic: offset},
            self.topic_ids,
            0 if through else self.attempts,
            {} if through else self.suspect,
            {t: o for t, o in self.suppress.items() if t != topic or offset < o},
        )

    def isolated(self, topic: str, offset: int, attempts: int) -> Progress:
        """Return a copy that left a poisonous record behind; the rest is suspect as before."""
        moved = self.advanced(topic, offset)
        return replace(moved, attempts=min(moved.attempts, attempts))

    def failed(self, topic: str, end: int) -> Progress:
        """Return a copy that counts a failure among the records of ``topic`` below ``end``."""
        suspect = self.suspect if topic in self.suspect else {topic: end}
        return Progress(self.offsets, self.topic_ids, self.attempts + 1, suspect, self.suppress)

    def to_bytes(self) -> bytes:
        """JSON."""
        return json.dumps({name: getattr(self, name) for name in _PROGRESS_FIELDS}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Progress:
        """Read what :meth:`to_bytes` wrote."""
        stored = json.loads(data)
        return cls(**{name: stored[name] for name in _PROGRESS_FIELDS if name in stored})


_PROGRESS_FIELDS = tuple(each.name for each in fields(Progress))


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a table's stored rows are to be read."""

    dtype: np.dtype[np.void]
    meaning: str


class ChangeRecords:
    """Records for the changelog, in order; a value of ``None`` deletes.

    Args:
        keys: Of the first records, if there are some; ``values`` in step.
    """

    def __init__(self, keys: Sequence[bytes] = (), values: Sequence[bytes | None] = ()) -> None:
        self._runs: list[tuple[Packed, Packed]] = []
        self._single = list(zip(keys, values, strict=True))

    def __len__(self) -> int:
        return len(self._single) + sum(len(keys) for keys, _ in self._runs)

    def add(self, key: bytes, value: bytes | None) -> None:
        """Append one record."""
        self._single.append((key, value))

    def append(self, keys: Packed, values: Packed) -> None:
        """Append the records of a table."""
        self._runs = [*self.runs(), (keys, values)]
        self._single = []

    def extend(self, more: ChangeRecords) -> None:
        """Append all records of another."""
        for keys, values in more.runs():
            self.append(keys, values)

    def runs(self) -> list[tuple[Packed, Packed]]:
        """Keys and values of all records."""
        if not self._single:
            return self._runs
        keys, values = zip(*self._single, strict=True)
        return [*self._runs, (Packed.of(keys), Packed.of(values))]

    @property
    def keys(self) -> list[bytes]:
        """All keys."""
        return [key or b"" for keys, _ in self.runs() for key in keys.to_list()]

    @property
    def values(self) -> list[bytes | None]:
        """All values."""
        return [value for _, values in self.runs() for value in values.to_list()]


class Changelog:
    """Turns changes of a :class:`State` into records and records back into state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.progress: Progress | None = None
        self._tables: dict[int, Table] = {}
        self._current: dict[int, int] = {}
        self._layouts: dict[tuple[int, int], _Layout] = {}
        self._unknown: set[int] = set()
        self._refusal: LayoutChanged | None = None
        self._adopt_tables()

    def _adopt_tables(self) -> None:
        """Take up tables of the state that are new here, also those added while it runs."""
        for table in self.state.tables.values():
            tag = _tag(table.name)
            if tag in self._tables:
                continue
            if _dtype_of(_describe(table.dtype)) != table.dtype:
                raise TypeError(f"table {table.name}: rows must be packed, without padding")
            if tag in self._unknown:
                raise LayoutChanged(
                    f"table {table.name} was added after its rows had been read past; declare it "
                    "in new_state()"
                )
            self._tables[tag], self._current[tag] = table, _layout_tag(table)

    # -- writing

    def layout_records(self) -> ChangeRecords:
        """Layouts of today's tables that the log does not hold yet."""
        out = ChangeRecords()
        for tag, table in self._tables.items():
            layout = self._current[tag]
            if (tag, layout) not in self._layouts:
                self._layouts[tag, layout] = _Layout(table.dtype, table.meaning)
                key = LAYOUT_PREFIX + struct.pack("<QI", tag, layout)
                value = {
                    "table": table.name,
                    "fields": _describe(table.dtype),
                    "meaning": table.meaning,
                }
                out.add(key, json.dumps(value).encode())
        return out

    def take_changes(self) -> ChangeRecords:
        """Everything that changed since the last call, as records."""
        self._adopt_tables()
        out = self.layout_records()
        for tag, table in self._tables.items():
            changes = table.take_changes()
            head = struct.pack("<Q", tag)
            if len(changes.keys):
                layout = struct.pack("<I", self._current[tag])
                keys = Packed.of_rows(changes.keys, head)
                out.append(keys, Packed.of_rows(changes.rows, layout))
            if len(changes.deleted):
                keys = Packed.of_rows(changes.deleted, head)
                out.append(keys, Packed.nulls(len(keys)))
        for name, value in self.state.blobs.take_changes().items():
            out.add(_BLOB + name.encode(), value)
        return out

    # -- reading

    def apply(self, records: RecordSlice) -> None:
        """Apply a slice of the log to the state. :meth:`finish` says whether it could be read."""
        records = self._behind_reset(records)
        rows = np.flatnonzero(records.key_length == _ROW_KEY_BYTES)
        tags = _gather(records.buffer, records.key_start[rows], 8).view("<u8").reshape(-1)
        is_row = np.isin(tags, np.array(list(self._tables), np.uint64))
        for at in np.setdiff1d(np.arange(len(records)), rows[is_row]).tolist():
            self._apply_other(records, at)
        for tag in np.unique(tags[is_row]).tolist():
            try:
                self._apply_rows(records, rows[is_row & (tags == tag)], tag)
            except LayoutChanged as error:  # a rebuild may follow that makes these rows void
                self._refusal = self._refusal or error

    def finish(self) -> None:
        """Say that the log was read to its end.

        Raises:
            LayoutChanged: rows were written with fields that today's code does not know.
        """
        if self._refusal is not None:
            raise self._refusal

    def _behind_reset(self, records: RecordSlice) -> RecordSlice:
        """Forget everything where a rebuild says so; returns the records behind."""
        for at in reversed(np.flatnonzero(records.key_length == len(RESET_KEY)).tolist()):
            if records.rows(at, at + 1).keys() == [RESET_KEY]:
                for table in self.state.tables.values():
                    table.clear()
                self.state.blobs.clear()
                self.progress = self._refusal = None
                return records.rows(at + 1, len(records))
        return records

    def _apply_other(self, records: RecordSlice, at: int) -> None:
        start, length = int(records.key_start[at]), int(records.key_length[at])
        key = records.buffer[start : start + max(length, 0)].tobytes()
        start, length = int(records.value_start[at]), int(records.value_length[at])
        value = None if length < 0 else records.buffer[start : start + length].tobytes()
        if key == PROGRESS_KEY and value is not None:
            self.progress = Progress.from_bytes(value)
        elif key.startswith(LAYOUT_PREFIX) and value is not None:
            tag, layout = struct.unpack("<QI", key[len(LAYOUT_PREFIX) :])
            described = json.loads(value)
            fields, meaning = described["fields"], described.get("meaning", "")
            self._layouts[tag, layout] = _Layout(_dtype_of(fields), meaning)
        elif key.startswith(_BLOB):
            self.state.blobs.load(key[len(_BLOB) :].decode(), value)
        elif len(key) == _ROW_KEY_BYTES:
            tag = struct.unpack_from("<Q", key)[0]
            if tag not in self._unknown:
                self._unknown.add(tag)
                log.warning("changelog_unknown_table", tag=tag, action="kept in the log, not read")

    def _apply_rows(self, records: RecordSlice, rows: NDArray[np.int64], tag: int) -> None:
        table = self._tables[tag]
        words = _gather(records.buffer, records.key_start[rows] + 8, 16)
        keys = words.view("<u8").reshape(-1, 2).astype(np.uint64)
        length = records.value_length[rows]
        gone = length < 0
        if gone.any():
            last = _last_of_each(keys)
            rows, keys, length, gone = rows[last], keys[last], length[last], gone[last]
            table.unload(keys[gone])
        rows, keys, length = rows[~gone], keys[~gone], length[~gone]
        if not len(rows):
            return
        if (length < _LAYOUT_BYTES).any():
            raise LayoutChanged(
                f"table {table.name}: a stored row is cut off; run `leadstream rebuild`"
            )
        start = records.value_start[rows]
        layouts = _gather(records.buffer, start, _LAYOUT_BYTES).view("<u4").reshape(-1)
        if (layouts != layouts[0]).any():  # layouts are loaded one by one: only the last row counts
            last = _last_of_each(keys)
            keys, start, length, layouts = keys[last], start[last], length[last], layouts[last]
        for layout in np.unique(layouts).tolist():
            mine = layouts == layout
            stored = self._layouts.get((tag, layout))
            if stored is None:
                raise LayoutChanged(
                    f"table {table.name}: a row has a layout that its changelog does not describe; "
                    "run `leadstream rebuild` for this role"
                )
            if stored.meaning != table.meaning:
                raise LayoutChanged(
                    f"table {table.name}: its rows were written with another configuration (a "
                    "workspace's features.yaml, for example) and would be misread; go back to it, "
                    "or run `leadstream rebuild` for this role to recompute its state"
                )
            dtype = stored.dtype
            if (length[mine] != _LAYOUT_BYTES + dtype.itemsize).any():
                raise LayoutChanged(
                    f"table {table.name}: a stored row is not as long as its layout says; run "
                    "`leadstream rebuild` for this role"
                )
            raw = _gather(records.buffer, start[mine] + _LAYOUT_BYTES, dtype.itemsize)
            table.load(keys[mine], _convert(table, raw.view(dtype).reshape(-1)))


def _convert(table: Table, rows: NDArray[np.void]) -> NDArray[np.void]:
    if rows.dtype == table.dtype:
        return rows
    known: dict[str, Any] = dict(rows.dtype.fields or {})
    now: dict[str, Any] = dict(table.dtype.fields or {})
    lost = [n for n in known if n not in now or now[n][0] != known[n][0]]
    if lost:
        raise LayoutChanged(
            f"table {table.name}: stored fields {', '.join(lost)} are gone or have another type; "
            "run `leadstream rebuild` for this role to recompute its state"
        )
    out = np.empty(len(rows), table.dtype)
    out[:] = table.default
    for name in known:
        out[name] = rows[name]
    log.info("changelog_new_fields", table=table.name, fields=sorted(set(now) - set(known)))
    return out


def _last_of_each(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    flipped = np.ascontiguousarray(keys[::-1]).view("V16").reshape(-1)
    _, first = np.unique(flipped, return_index=True)
    return np.sort(len(keys) - 1 - first)


def _tag(name: str) -> int:
    return int(xxhash.xxh64_intdigest(name.encode(), 0))


def _describe(dtype: np.dtype[np.void]) -> list[Any]:
    return [
        [name, field[0].base.str, list(field[0].shape)]
        for name, field in (dtype.fields or {}).items()
    ]


def _dtype_of(fields: list[Any]) -> np.dtype[np.void]:
    return np.dtype([(name, kind, tuple(shape)) for name, kind, shape in fields])


def _layout_tag(table: Table) -> int:
    return zlib.crc32(json.dumps([_describe(table.dtype), table.meaning]).encode())


@njit(nogil=True, cache=True)
def _copy(buffer, start, width, out):  # type: ignore[no-untyped-def]
    for i in range(len(start)):
        for j in range(width):
            out[i, j] = buffer[start[i] + j]


def _gather(buffer: NDArray[np.uint8], start: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    out = np.empty((len(start), width), np.uint8)
    _copy(buffer, start, width, out)
    return out
