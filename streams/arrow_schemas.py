"""Arrow schemas of our Avro schemas, as the engine reads and writes them."""

from __future__ import annotations

from functools import cache

import pyarrow as pa

from schemas.registry import schema_id, schema_json
from streams.engine.codec import Codec


@cache
def arrow_schema(name: str) -> pa.Schema:
    """Columns of a schema by its name, e.g. ``scored_lead``."""
    return Codec(schema_json(name), schema_id(name)).arrow_schema
