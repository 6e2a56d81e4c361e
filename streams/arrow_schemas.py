"""Arrow schemas of our Avro schemas, as the engine reads and writes them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pyarrow as pa

from schemas.registry import schema_id, schema_json
from streams.engine.codec import Codec


@cache
def arrow_schema(name: str) -> pa.Schema:
    """Columns of a schema by its name, e.g. ``scored_lead``."""
    return Codec(schema_json(name), schema_id(name)).arrow_schema


@cache
def _fields(name: str) -> tuple[frozenset[str], dict[str, Any]]:
    """All fields of a record schema, and the defaults of those that have one."""
    fields = json.loads(schema_json(name))["fields"]
    given = {f["name"]: f["default"] for f in fields if "default" in f}
    return frozenset(f["name"] for f in fields), given


def record(name: str, **values: Any) -> dict[str, Any]:
    """A record of a schema as a plain row for ``RecordBatch.from_pylist``, defaults filled in.

    Maps are given as dicts; times as µs.

    Raises:
        TypeError: a field is missing, or the schema has no such field.
    """
    fields, defaults = _fields(name)
    row = {**defaults, **values}
    if row.keys() != fields:
        raise TypeError(f"{name}: {sorted(row.keys() ^ fields)} is missing or unknown")
    return {k: [*v.items()] if isinstance(v, dict) else v for k, v in row.items()}
