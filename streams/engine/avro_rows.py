"""Avro record by record with fastavro, and between its dicts and Arrow columns.

The slow way: for schemas with bytes, for records that need a full schema resolution, and to say
what is wrong with a bad one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro
import pyarrow as pa
from fastavro.types import Schema

from streams.engine.errors import InvalidRecord


def plain_schema(text: str) -> Schema:
    """Parse for fastavro with times left as integers: no datetime objects on the way."""

    def strip(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {k: strip(v) for k, v in node.items() if k != "logicalType"}
        return [strip(n) for n in node] if isinstance(node, list) else node

    return fastavro.parse_schema(strip(json.loads(text)))


def read(payload: bytes, writer: Schema, reader: Schema) -> dict[str, Any]:
    """Decode one record of ``writer``'s schema into the fields of ``reader``'s.

    Raises:
        InvalidRecord: it is not a record of the schema.
    """
    try:
        row = fastavro.schemaless_reader(io.BytesIO(payload), writer, reader)
    except Exception as error:
        raise InvalidRecord(
            f"the value is no Avro record of its schema ({type(error).__name__}: {error}); "
            "check the producer's serializer"
        ) from error
    return dict(row)  # type: ignore[arg-type]


def is_canonical(payload: bytes, writer: Schema) -> bool:
    """Whether writing the record again gives the same bytes.

    fastavro takes negative enum and union indexes and any byte as a boolean; such bytes are not
    what was meant by whoever sent them.
    """
    return payload.startswith(write(writer, read(payload, writer, writer)))


def write(schema: Schema, row: Mapping[str, Any]) -> bytes:
    """Encode one record, without header."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, row)
    return out.getvalue()


def to_dicts(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as fastavro takes them with :func:`plain_schema`: times are integers, maps dicts."""
    columns = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in batch.columns]
    plain = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    rows: list[dict[str, Any]] = plain.to_pylist(maps_as_pydicts="strict")
    return rows


def from_dicts(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Columns of rows as fastavro gives them."""

    def convert(value: Any, kind: pa.DataType) -> Any:
        return list(value.items()) if pa.types.is_map(kind) and value is not None else value

    arrays = [pa.array([convert(row[f.name], f.type) for row in rows], f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


_ARROW = {
    "string": pa.string(),
    "bytes": pa.binary(),
    "long": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "boolean": pa.bool_(),
}


def arrow_schema(text: str) -> pa.Schema:
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
