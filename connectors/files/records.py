"""Arrow building blocks of the records that an import writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro
from numpy.typing import NDArray

from schemas.registry import schema_json

SOURCE_EVENT, MARKET_INDICATOR = "source_event", "market_indicator"
INDICATORS_TOPIC = "market.indicators"


def schema_of(topic: str) -> str:
    """Name of the schema of the records that an import writes to a topic (without prefix)."""
    return MARKET_INDICATOR if topic == INDICATORS_TOPIC else SOURCE_EVENT


@cache
def arrow_schema(name: str) -> Any:
    """Arrow schema of one of our Avro schemas, as pyruhvro reads and writes it."""
    return pyruhvro.avro_to_arrow_schema(schema_json(name))


def record_batch(name: str, columns: Mapping[str, Any], count: int) -> Any:
    """RecordBatch [count] of a schema; a nullable column that is not given is null."""
    schema = arrow_schema(name)
    arrays = [
        columns[field.name] if field.name in columns else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def timestamps(times: NDArray[np.int64]) -> Any:
    """Microseconds [n] as the Arrow type of our event times."""
    return pa.array(times, pa.int64()).cast(arrow_schema(SOURCE_EVENT).field("occurred_at").type)


def number_map(
    names: Sequence[str],
    values: Sequence[NDArray[np.float64]],
    present: Sequence[NDArray[np.bool_]],
    count: int,
) -> Any:
    """map<string, double> [count] of one value array [count] a name; absent values are left out."""
    kind = arrow_schema(SOURCE_EVENT).field("numbers").type
    if not names:
        return _empty_maps(kind, count)
    there = np.stack(present, axis=1)
    items = pa.array(np.stack(values, axis=1)[there], pa.float64())
    return pa.MapArray.from_arrays(_offsets(there), _keys(names, there), items, type=kind)


def text_map(names: Sequence[str], values: Sequence[Any], count: int) -> Any:
    """map<string, string> [count] of one Arrow string array [count] a name, nulls left out."""
    kind = arrow_schema(SOURCE_EVENT).field("texts").type
    if not names:
        return _empty_maps(kind, count)
    masks = [pc.is_valid(value).to_numpy(zero_copy_only=False) for value in values]
    there = np.stack(masks, axis=1)
    rows, which = np.nonzero(there)
    items = pa.concat_arrays(list(values)).take(pa.array(which * count + rows))
    return pa.MapArray.from_arrays(_offsets(there), _keys(names, there), items, type=kind)


def _empty_maps(kind: Any, count: int) -> Any:
    return pa.array([[]] * count, kind)


def _offsets(there: NDArray[np.bool_]) -> Any:
    offsets = np.zeros(len(there) + 1, dtype=np.int32)
    np.cumsum(there.sum(axis=1), out=offsets[1:])
    return pa.array(offsets)


def _keys(names: Sequence[str], there: NDArray[np.bool_]) -> Any:
    which = np.nonzero(there)[1]
    return pa.array(list(names), pa.string()).take(pa.array(which))
