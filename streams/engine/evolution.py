"""Reading records of another schema version: Avro's schema resolution, on whole columns.

What can be decided field by field (same type, a number that widens, an enum with fewer symbols, a
field that is new and has a default, an alias) is planned once for each writer's schema. For
anything else :func:`plan` gives ``None`` and fastavro resolves record by record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_WIDENS = {"int": ("int", "long", "float", "double"), "long": ("long", "float", "double"),
           "float": ("float", "double")}  # fmt: skip
_SILENT = ("doc", "aliases", "default", "namespace")


@dataclass(frozen=True, slots=True)
class Column:
    """Where one of the reader's columns comes from: a writer's field, or a default."""

    field: pa.Field
    source: str | None
    default: Any = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How to take the columns of one writer's schema over."""

    schema: pa.Schema
    columns: tuple[Column, ...]

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return ``batch`` with the reader's columns.

        Raises:
            ValueError: a null stands where the reader's schema has none.
        """
        arrays = []
        for column in self.columns:
            kind = column.field.type
            if column.source is None:
                arrays.append(pa.array([column.default] * batch.num_rows, kind))
                continue
            values = batch.column(column.source)
            if not column.field.nullable and values.null_count:
                raise ValueError(f"{column.source} is null")
            # a long becomes the nearest double, as Avro says: no check for exactness
            arrays.append(values if values.type == kind else values.cast(kind, safe=False))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def plan(writer: str, reader: str, schema: pa.Schema) -> Plan | None:
    """Plan how ``writer``'s records become ``reader``'s columns.

    Args:
        writer: JSON text of the schema that the records were written with.
        reader: JSON text of the schema that they are read with.
        schema: Arrow schema of ``reader``.
    """
    theirs = {field["name"]: field for field in json.loads(writer)["fields"]}
    columns = []
    for field, arrow in zip(json.loads(reader)["fields"], schema, strict=True):
        names = [n for n in (field["name"], *field.get("aliases", ())) if n in theirs]
        if names:
            if not _readable(theirs[names[0]]["type"], field["type"]):
                return None
            columns.append(Column(arrow, names[0]))
        elif "default" in field and not isinstance(field["default"], dict):
            columns.append(Column(arrow, None, field["default"]))
        elif field.get("default") == {} and pa.types.is_map(arrow.type):
            columns.append(Column(arrow, None, []))
        else:
            return None
    return Plan(schema, tuple(columns))


def _readable(writer: Any, reader: Any) -> bool:
    """Whether every value of type ``writer`` is one of ``reader``, but for nulls."""
    writer, reader = _without_null(writer), _without_null(reader)
    if isinstance(writer, list) or isinstance(reader, list):
        return bool(_bare(writer) == _bare(reader))
    if isinstance(writer, Mapping) and isinstance(reader, Mapping):
        if writer["type"] == reader["type"] == "enum":
            return set(writer["symbols"]) <= set(reader["symbols"])
        return bool(_bare(writer) == _bare(reader))
    return bool(writer == reader) or reader in _WIDENS.get(_name(writer), ())


def _name(node: Any) -> str:
    return node if isinstance(node, str) else ""


def _without_null(node: Any) -> Any:
    if isinstance(node, list) and len(node) == 2 and "null" in node:
        return next(branch for branch in node if branch != "null")
    return node


def _bare(node: Any) -> Any:
    """The type without what does not change how it is read."""
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if isinstance(node, Mapping):
        return {k: _bare(v) for k, v in node.items() if k not in _SILENT}
    return node
