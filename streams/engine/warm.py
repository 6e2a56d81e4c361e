"""Compiles (or loads from numba's disk cache) the engine's kernels, before a worker is ready."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams.engine.changelog import Changelog, ChangeRecords
from streams.engine.hashing import hash128, hex_to_keys, keys_to_hex, murmur2
from streams.engine.packed import Packed
from streams.engine.records import RecordReader, RecordSlice
from streams.engine.state import State
from streams.engine.table import Table

_ROW = np.dtype([("number", "<i8")])
_ROWS = 40


def warm() -> None:
    """Let made-up rows go through a table, its changelog and a record set; nothing is kept."""
    keys = hash128(pa.array([str(n) for n in range(_ROWS)]))
    murmur2(pa.array([b"key"], pa.binary()), 3)
    hex_to_keys(pa.array(keys_to_hex(keys)))
    state = State([Table("warm", _ROW, capacity=4)])
    table, changelog = state.table("warm"), Changelog(state)
    log = [changelog.layout_records()]
    table.find_or_insert(keys)
    log.append(changelog.take_changes())
    table.delete(keys[::2].copy())
    table.find(keys)
    log.append(changelog.take_changes())
    Packed.of([b"value"]).behind(b"head").to_column()
    copy = Changelog(State([Table("warm", _ROW)]))
    for made in log:
        copy.apply(_read(made))


def _read(made: ChangeRecords) -> RecordSlice:
    batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for at, (key, value) in enumerate(zip(made.keys, made.values, strict=True)):
        batch.append(at, 0, key, value, [])
    reader = RecordReader("warm", 0, bytes(batch.build()), None, 0, check_crc=True)
    return next(reader.slices(_ROWS))
