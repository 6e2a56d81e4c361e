"""Avro in Confluent wire format <-> Arrow columns.

``pyruhvro`` (Rust) does whole batches; ``fastavro`` is the reference and takes what pyruhvro
cannot: one bad record in a batch, a schema with bytes, a writer schema that needs full resolution.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyruhvro
from fastavro.types import Schema
from numpy.typing import NDArray

from schemas.errors import RegistryUnavailable, UnknownSchemaId
from streams.engine import avro_rows
from streams.engine.errors import InvalidRecord, RetryableError
from streams.engine.evolution import Plan, plan
from streams.engine.packed import Packed
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
    rows: NDArray[np.int64]
    bad: list[BadRow]


@dataclass(frozen=True, slots=True)
class _Writer:
    """A schema that records were written with, and how its columns become the reader's."""

    text: str
    plain: Schema
    columnar: bool
    own: bool
    plan: Plan | None


class Codec:
    r"""One Avro record schema, read and written in columns.

    Args:
        schema: The reader's schema, as JSON text; also what is written.
        schema_id: Its id on the wire.
        writer_schema: Returns the JSON text of another schema id that a record may carry.

    Example:
        >>> codec = Codec('{"type":"record","name":"A","fields":[{"name":"x","type":"long"}]}', 7)
        >>> codec.encode(pa.record_batch({"x": pa.array([1, 2])}, schema=codec.arrow_schema))
        [b'\x00\x00\x00\x00\x07\x02', b'\x00\x00\x00\x00\x07\x04']
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
        self._plain = avro_rows.plain_schema(schema)
        self._columnar = _is_columnar(schema)
        self.arrow_schema: pa.Schema = (
            pyruhvro.avro_to_arrow_schema(schema)
            if self._columnar
            else avro_rows.arrow_schema(schema)
        )
        self._writer_schema = writer_schema
        self._writers = {schema_id: _Writer(schema, self._plain, self._columnar, True, None)}
        # pyruhvro marks columns "not null": an empty batch needs the very same schema
        self._empty = pa.RecordBatch.from_pylist([], schema=self.arrow_schema)

    # -- writing

    def encode(self, batch: pa.RecordBatch) -> list[bytes]:
        """:meth:`pack`, as Python bytes."""
        return [value or b"" for value in self.pack(batch).to_list()]

    def pack(self, batch: pa.RecordBatch) -> Packed:
        """Encode all rows ``[n]``, header included.

        Raises:
            TypeError: a column is missing or of another type than ``arrow_schema`` says.
            ValueError: a value does not fit the schema.
        """
        if batch.num_rows == 0:
            return Packed.nulls(0)
        batch = self._conform(batch)
        if self._columnar:
            try:
                parts = pyruhvro.serialize_record_batch(batch, self._json, 1)
                whole = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
                return Packed.of_column(whole).behind(self.header)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: S110  a Rust panic; fastavro says which value
                pass
        values = [avro_rows.write(self._plain, row) for row in avro_rows.to_dicts(batch)]
        return Packed.of(values).behind(self.header)

    def _conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = []
        for field in self.arrow_schema:
            at = batch.schema.get_field_index(field.name)
            if at < 0:
                raise TypeError(f"column {field.name!r} is missing")
            column = batch.column(at)
            if column.type != field.type:
                if str(column.type).replace(" not null", "") != str(field.type).replace(
                    " not null", ""
                ):
                    raise TypeError(f"column {field.name!r} is {column.type}, not {field.type}")
                column = column.cast(field.type)
            if column.null_count and not field.nullable:
                raise ValueError(f"column {field.name!r} has nulls, which its schema does not take")
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self.arrow_schema)

    # -- reading

    def decode(self, records: RecordSlice) -> Decoded:
        """Decode a slice; records that cannot be decoded are reported, never raised.

        Raises:
            RetryableError: a schema id could not be looked up now.
        """
        length = records.value_length
        good = length >= HEADER.size
        head = _heads(records, good)
        if (head == self.schema_id).all():
            everything = np.arange(len(records))
            return Decoded(*self._decode_rows(records, everything, self._writer(self.schema_id)))
        parts: list[tuple[pa.RecordBatch, NDArray[np.int64]]] = []
        bad = []
        for row in np.flatnonzero(head < 0).tolist():
            what = "the value is null" if length[row] < 0 else "not in Confluent wire format"
            cause = "NullValue" if length[row] < 0 else "WireFormat"
            bad.append(BadRow(row, cause, f"{what}; send byte 0, a schema id and Avro binary"))
        for schema_id in np.unique(head[head >= 0]).tolist():
            rows = np.flatnonzero(head == schema_id)
            try:
                writer = self._writer(schema_id)
            except InvalidRecord as error:
                bad += [BadRow(r, "UnknownSchemaId", str(error)) for r in rows.tolist()]
                continue
            batch, kept, wrong = self._decode_rows(records, rows, writer)
            parts.append((batch, kept))
            bad += wrong
        values, order = _merge(parts, self._empty)
        return Decoded(values, order, sorted(bad, key=lambda b: b.row))

    def decode_dicts(self, records: RecordSlice) -> list[dict[str, Any] | InvalidRecord | None]:
        """Decode low-volume topics to plain dicts (times as µs).

        Returns:
            One entry a record: ``None`` for a tombstone, the error of one that is not readable.

        Raises:
            RetryableError: a schema id could not be looked up now.
        """
        out: list[dict[str, Any] | InvalidRecord | None] = []
        for value in records.values():
            if value is None:
                out.append(None)
                continue
            try:
                if len(value) < HEADER.size or value[0] != 0:
                    raise InvalidRecord(f"{records.topic}: not in Confluent wire format")
                _, schema_id = HEADER.unpack_from(value)
                plain = self._writer(schema_id).plain
                out.append(avro_rows.read(value[HEADER.size :], plain, self._plain))
            except InvalidRecord as error:
                out.append(error)
        return out

    def _writer(self, schema_id: int) -> _Writer:
        known = self._writers.get(schema_id)
        if known is not None:
            return known
        if self._writer_schema is None:
            raise InvalidRecord(f"schema id {schema_id} is unknown; use id {self.schema_id}")
        try:
            text = self._writer_schema(schema_id)
        except UnknownSchemaId as error:
            raise InvalidRecord(str(error)) from error
        except RegistryUnavailable as error:
            raise RetryableError(f"schema id {schema_id} cannot be looked up: {error}") from error
        try:
            columnar = self._columnar and _is_columnar(text)
            steps = plan(text, self._json, self.arrow_schema) if columnar else None
            found = _Writer(text, avro_rows.plain_schema(text), columnar, text == self._json, steps)
        except Exception as error:
            raise InvalidRecord(f"schema id {schema_id} is no record schema: {error}") from error
        self._writers[schema_id] = found
        return found

    def _decode_rows(
        self, records: RecordSlice, rows: NDArray[np.int64], writer: _Writer
    ) -> tuple[pa.RecordBatch, NDArray[np.int64], list[BadRow]]:
        start = records.value_start[rows] + HEADER.size
        stop = records.value_start[rows] + records.value_length[rows]
        first = int(start.min()) if len(rows) else 0
        data = records.buffer[first : int(stop.max()) if len(rows) else 0].tobytes()
        payloads = [
            data[a:b]
            for a, b in zip((start - first).tolist(), (stop - first).tolist(), strict=True)
        ]
        bad: list[BadRow] = []
        pieces: list[pa.RecordBatch] = []
        kept: list[int] = []
        self._split(payloads, rows.tolist(), writer, pieces, kept, bad)
        if not pieces:
            return self._empty, np.empty(0, np.int64), bad
        batch = pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
        return batch, np.array(kept, np.int64), bad

    def _split(
        self,
        payloads: list[bytes],
        rows: list[int],
        writer: _Writer,
        pieces: list[pa.RecordBatch],
        kept: list[int],
        bad: list[BadRow],
    ) -> None:
        """Decode what can be decoded whole; halve until a bad record stands alone."""
        if not payloads:
            return
        batch = self._columns(payloads, writer)
        if batch is not None:
            pieces.append(batch)
            kept += rows
        elif len(payloads) > 1 and (writer.own or writer.plan is not None) and writer.columnar:
            half = len(payloads) // 2
            self._split(payloads[:half], rows[:half], writer, pieces, kept, bad)
            self._split(payloads[half:], rows[half:], writer, pieces, kept, bad)
        else:
            for payload, row in zip(payloads, rows, strict=True):
                try:
                    pieces.append(self._one(payload, writer))
                    kept.append(row)
                except Exception as error:  # whatever is wrong with it, only this record is lost
                    bad.append(BadRow(row, "Undecodable", str(error)))

    def _columns(self, payloads: list[bytes], writer: _Writer) -> pa.RecordBatch | None:
        if not writer.columnar or not (writer.own or writer.plan is not None):
            return None
        try:
            batch = _rust(payloads, writer.text)
            return batch if writer.plan is None else writer.plan.apply(batch)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return None

    def _one(self, payload: bytes, writer: _Writer) -> pa.RecordBatch:
        row = avro_rows.read(payload, writer.plain, self._plain)
        if not avro_rows.is_canonical(payload, writer.plain) and not _rust_reads(payload, writer):
            raise InvalidRecord("the value is no Avro record of its schema; check the serializer")
        return avro_rows.from_dicts([row], self.arrow_schema)


def _rust(payloads: list[bytes], text: str) -> pa.RecordBatch:
    batch = pyruhvro.deserialize_array(payloads, text)
    batch.validate(full=True)  # pyruhvro hands invalid UTF-8 over unchecked
    return batch


def _rust_reads(payload: bytes, writer: _Writer) -> bool:
    if not writer.columnar:
        return False
    try:
        _rust([payload], writer.text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return False
    return True


def _is_columnar(schema: str) -> bool:
    return not any(f'"{kind}"' in schema for kind in ("bytes", "fixed", "decimal", "uuid"))


def _heads(records: RecordSlice, good: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Schema ids; -1 where the value is null, too short or without the magic byte 0."""
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
    parts: list[tuple[pa.RecordBatch, NDArray[np.int64]]], empty: pa.RecordBatch
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    if not parts:
        return empty, np.empty(0, np.int64)
    rows = np.concatenate([rows for _, rows in parts])
    batch = pa.concat_batches([batch for batch, _ in parts])
    order = np.argsort(rows, kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        batch = batch.take(pa.array(order))
    return batch, rows[order]
