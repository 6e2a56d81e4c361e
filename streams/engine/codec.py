"""Avro in Confluent wire format <-> Arrow columns.

``pyruhvro`` (Rust) does whole batches; ``fastavro`` is the reference and takes what pyruhvro
cannot: one bad record in a batch, a schema with bytes, a writer schema that needs full resolution.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyruhvro
from fastavro.types import Schema

from streams.engine.errors import InvalidRecord
from streams.engine.records import RecordSlice

HEADER = struct.Struct(">bI")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that cannot be decoded: its row in the slice, the kind of error and the reason."""

    row: int
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The good rows of a slice as columns, their row numbers, and the bad ones."""

    values: pa.RecordBatch
    rows: np.ndarray[tuple[int], np.dtype[np.int64]]
    bad: list[BadRow]


class Codec:
    """One Avro record schema, read and written in columns.

    Args:
        schema: The reader's schema, as JSON text; also what is written.
        schema_id: Its id on the wire.
        writer_schema: Returns the JSON text of another schema id that a record may carry.

    Example:
        >>> codec = Codec('{"type":"record","name":"A","fields":[{"name":"x","type":"long"}]}', 7)
        >>> codec.encode(pa.record_batch({"x": pa.array([1, 2])}, schema=codec.arrow_schema))
        [b'\\x00\\x00\\x00\\x00\\x07\\x02', b'\\x00\\x00\\x00\\x00\\x07\\x04']
    """

    def __init__(
        self,
        schema: str,
        schema_id: int,
        writer_schema: Callable[[int], str] | None = None,
    ) -> None:
        self.schema_id = schema_id
        self.header = HEADER.pack(0, schema_id)
        self._json = schema
        self._plain = _plain_schema(schema)
        self._columnar = '"bytes"' not in schema and '"fixed"' not in schema
        self.arrow_schema: pa.Schema = (
            pyruhvro.avro_to_arrow_schema(schema) if self._columnar else _arrow_schema(schema)
        )
        self._defaults = {
            f["name"]: f["default"] for f in json.loads(schema)["fields"] if "default" in f
        }
        self._writer_schema = writer_schema
        self._writers: dict[int, tuple[str, Schema]] = {schema_id: (schema, self._plain)}
        # pyruhvro marks columns "not null": an empty batch needs the very same schema
        self._empty = self.arrow_schema.empty_table().to_batches() or [
            pa.RecordBatch.from_pylist([], schema=self.arrow_schema)
        ]

    # -- writing

    def encode(self, batch: pa.RecordBatch) -> list[bytes]:
        """Encode all rows, header included.

        Raises:
            TypeError: a column is missing or of another type than ``arrow_schema`` says.
        """
        if batch.num_rows == 0:
            return []
        batch = self._conform(batch)
        header = self.header
        if self._columnar:
            parts = pyruhvro.serialize_record_batch(batch, self._json, 1)
            return [header + value for part in parts for value in part.to_pylist()]
        rows = _int_timestamps(batch).to_pylist()
        return [header + _write(self._plain, row) for row in rows]

    def _conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.schema.equals(self.arrow_schema):
            return batch
        columns = []
        for field in self.arrow_schema:
            at = batch.schema.get_field_index(field.name)
            if at < 0:
                raise TypeError(f"column {field.name!r} is missing")
            column = batch.column(at)
            if column.type != field.type:
                if not _same_but_nullability(column.type, field.type):
                    raise TypeError(f"column {field.name!r} is {column.type}, not {field.type}")
                column = column.cast(field.type)
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self.arrow_schema)

    # -- reading

    def decode(self, records: RecordSlice) -> Decoded:
        """Decode a slice; records that cannot be decoded are reported, never raised.

        Raises:
            RetryableError: a schema id could not be looked up now.
        """
        start, length = records.value_start, records.value_length
        good = length >= HEADER.size
        head = _heads(records, good)
        mine = good & (head == self.schema_id)
        if mine.all():
            batch, rows, bad = self._decode_rows(records, np.arange(len(records)), self.schema_id)
            return Decoded(batch, rows, bad)
        parts: list[tuple[pa.RecordBatch, np.ndarray[Any, Any]]] = []
        bad = []
        for row in np.flatnonzero(~good | (head < 0)).tolist():
            what = "the value is null" if length[row] < 0 else "not in Confluent wire format"
            cause = "NullValue" if length[row] < 0 else "WireFormat"
            bad.append(BadRow(row, cause, f"{what}; send byte 0, a schema id and Avro binary"))
        for schema_id in np.unique(head[good & (head >= 0)]).tolist():
            rows = np.flatnonzero(good & (head == schema_id))
            try:
                self._writer(schema_id)
            except InvalidRecord as error:
                bad += [BadRow(int(r), "UnknownSchemaId", str(error)) for r in rows]
                continue
            batch, kept, wrong = self._decode_rows(records, rows, schema_id)
            parts.append((batch, kept))
            bad += wrong
        values, order = _merge(parts, self._empty[0])
        del start
        return Decoded(values, order, sorted(bad, key=lambda b: b.row))

    def decode_dicts(self, records: RecordSlice) -> list[dict[str, Any] | None]:
        """Decode low-volume topics to plain dicts (times as µs); ``None`` for a tombstone.

        Raises:
            InvalidRecord: a record cannot be decoded.
        """
        out: list[dict[str, Any] | None] = []
        for value in records.values():
            if value is None:
                out.append(None)
                continue
            if len(value) < HEADER.size or value[0] != 0:
                raise InvalidRecord(f"{records.topic}: a value is not in Confluent wire format")
            _, schema_id = HEADER.unpack_from(value)
            out.append(self._read(self._writer(schema_id)[1], value[HEADER.size :]))
        return out

    def _writer(self, schema_id: int) -> tuple[str, Schema]:
        known = self._writers.get(schema_id)
        if known is None:
            if self._writer_schema is None:
                raise InvalidRecord(f"schema id {schema_id} is unknown; use id {self.schema_id}")
            text = self._writer_schema(schema_id)
            known = self._writers[schema_id] = (text, _plain_schema(text))
        return known

    def _decode_rows(
        self, records: RecordSlice, rows: np.ndarray[Any, Any], schema_id: int
    ) -> tuple[pa.RecordBatch, np.ndarray[Any, Any], list[BadRow]]:
        data = records.buffer.tobytes()
        payloads = [
            data[s + HEADER.size : s + n]
            for s, n in zip(
                records.value_start[rows].tolist(), records.value_length[rows].tolist(), strict=True
            )
        ]
        text, plain = self._writer(schema_id)
        bad: list[BadRow] = []
        pieces: list[pa.RecordBatch] = []
        kept: list[int] = []
        self._split(payloads, rows.tolist(), text, plain, pieces, kept, bad)
        if not pieces:
            return self._empty[0], np.empty(0, np.int64), bad
        batch = pieces[0] if len(pieces) == 1 else _concat(pieces)
        return batch, np.array(kept, np.int64), bad

    def _split(
        self,
        payloads: list[bytes],
        rows: list[int],
        text: str,
        plain: Schema,
        pieces: list[pa.RecordBatch],
        kept: list[int],
        bad: list[BadRow],
    ) -> None:
        """Decode what can be decoded whole; halve until a bad record stands alone."""
        if not payloads:
            return
        batch = self._columns(payloads, text)
        if batch is not None:
            pieces.append(batch)
            kept += rows
        elif len(payloads) == 1:
            try:
                row = self._read(plain, payloads[0])
                pieces.append(_from_dicts([row], self.arrow_schema))
                kept += rows
            except (InvalidRecord, pa.ArrowException) as error:
                bad.append(BadRow(rows[0], "Undecodable", str(error)))
        else:
            half = len(payloads) // 2
            self._split(payloads[:half], rows[:half], text, plain, pieces, kept, bad)
            self._split(payloads[half:], rows[half:], text, plain, pieces, kept, bad)

    def _columns(self, payloads: list[bytes], text: str) -> pa.RecordBatch | None:
        if not self._columnar:
            return None
        try:
            batch = pyruhvro.deserialize_array(payloads, text)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  a Rust panic is no Exception; fastavro says why
            return None
        return batch if text == self._json else self._resolve(batch)

    def _resolve(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """Take columns of an older or newer writer over; None where that needs a full resolution."""
        columns = []
        for field in self.arrow_schema:
            at = batch.schema.get_field_index(field.name)
            if at >= 0:
                column = batch.column(at)
                if column.type != field.type:
                    if not _promotes(column.type, field.type):
                        return None
                    column = column.cast(field.type)
                if not field.nullable and column.null_count:
                    return None
            elif field.name in self._defaults:
                default = self._defaults[field.name]
                if isinstance(default, (dict, list)):
                    return None
                column = pa.array([default] * batch.num_rows, field.type)
            else:
                return None
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self.arrow_schema)

    def _read(self, writer: Schema, payload: bytes) -> dict[str, Any]:
        try:
            row = fastavro.schemaless_reader(io.BytesIO(payload), writer, self._plain)
        except Exception as error:
            raise InvalidRecord(
                f"the value is no Avro record of its schema ({type(error).__name__}: {error}); "
                "check the producer's serializer"
            ) from error
        return dict(row)  # type: ignore[arg-type]


def _heads(records: RecordSlice, good: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Schema ids; -1 where the magic byte is not 0."""
    out = np.full(len(records), -1, np.int64)
    at = records.value_start[good]
    b = records.buffer
    ids = (
        (b[at + 1].astype(np.int64) << 24)
        | (b[at + 2].astype(np.int64) << 16)
        | (b[at + 3].astype(np.int64) << 8)
        | b[at + 4]
    )
    out[good] = np.where(b[at] == 0, ids, -1)
    return out


def _merge(
    parts: list[tuple[pa.RecordBatch, np.ndarray[Any, Any]]], empty: pa.RecordBatch
) -> tuple[pa.RecordBatch, np.ndarray[Any, Any]]:
    if not parts:
        return empty, np.empty(0, np.int64)
    rows = np.concatenate([rows for _, rows in parts])
    batch = _concat([batch for batch, _ in parts])
    order = np.argsort(rows, kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        batch = batch.take(pa.array(order))
    return batch, rows[order]


def _concat(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(batches)


def _plain_schema(text: str) -> Schema:
    """Parse for fastavro with times left as integers: no datetime objects on the way."""

    def strip(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {k: strip(v) for k, v in node.items() if k != "logicalType"}
        return [strip(n) for n in node] if isinstance(node, list) else node

    return fastavro.parse_schema(strip(json.loads(text)))


def _write(schema: Schema, row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, row)
    return out.getvalue()


def _int_timestamps(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _from_dicts(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    def convert(value: Any, kind: pa.DataType) -> Any:
        return list(value.items()) if pa.types.is_map(kind) and value is not None else value

    arrays = [
        pa.array([convert(row[f.name], f.type) for row in rows], f.type) for f in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _same_but_nullability(a: pa.DataType, b: pa.DataType) -> bool:
    return str(a).replace(" not null", "") == str(b).replace(" not null", "")


def _promotes(a: pa.DataType, b: pa.DataType) -> bool:
    ladder = [pa.int32(), pa.int64(), pa.float32(), pa.float64()]
    if a in ladder and b in ladder:
        return ladder.index(a) <= ladder.index(b)
    return _same_but_nullability(a, b)


_ARROW = {
    "string": pa.string(),
    "bytes": pa.binary(),
    "long": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "boolean": pa.bool_(),
}


def _arrow_schema(text: str) -> pa.Schema:
    """Arrow schema of a record that pyruhvro cannot describe (it has bytes)."""

    def convert(node: Any) -> tuple[pa.DataType, bool]:
        if isinstance(node, list):
            inner = next(n for n in node if n != "null")
            return convert(inner)[0], True
        if isinstance(node, str):
            return _ARROW[node], False
        if node.get("logicalType") == "timestamp-micros":
            return pa.timestamp("us"), False
        kind = node["type"]
        if kind == "array":
            return pa.list_(convert(node["items"])[0]), False
        if kind == "map":
            return pa.map_(pa.string(), convert(node["values"])[0]), False
        if kind == "enum":
            return pa.string(), False
        return convert(kind)

    fields = []
    for field in json.loads(text)["fields"]:
        kind, nullable = convert(field["type"])
        fields.append(pa.field(field["name"], kind, nullable=nullable))
    return pa.schema(fields)
