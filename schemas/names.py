"""Named types of an Avro schema: full names, and what a name in the place of a type stands for."""

from __future__ import annotations

from typing import Any

NAMED = ("record", "enum", "fixed")
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class Names:
    """All named types that a schema (parsed JSON) defines, by full name.

    Raises ValueError for what is not a schema.
    """

    def __init__(self, schema: Any) -> None:
        self._types: dict[str, tuple[dict[str, Any], str]] = {}
        self._collect(schema, "")

    def resolve(self, schema: Any, space: str) -> tuple[Any, str]:
        """What the schema stands for, and the namespace around it. Raises ValueError."""
        while isinstance(schema, dict) and not isinstance(schema.get("type"), str):
            schema = schema.get("type")  # {"type": {…}} is what is in it
        if isinstance(schema, dict) and (
            schema["type"] in _PRIMITIVES or schema["type"] in (*NAMED, "array", "map")
        ):
            return schema, space
        name = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(name, list) or name in _PRIMITIVES:
            return name, space
        if not isinstance(name, str):
            raise ValueError(f"not an Avro type: {schema!r}")
        found = self._types.get(full_name({"name": name}, space)[0]) or self._types.get(name)
        if found is None:
            raise ValueError(f"unknown Avro type {name!r}")
        return found

    def _collect(self, schema: Any, space: str) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._collect(branch, space)
        elif isinstance(schema, dict):
            kind = schema.get("type")
            inner = space
            if kind in NAMED:
                name, inner = full_name(schema, space)
                self._types[name] = (schema, space)
            for field in schema.get("fields", []) if kind == "record" else []:
                self._collect(field["type"], inner)
            if kind == "array":
                self._collect(schema["items"], space)
            elif kind == "map":
                self._collect(schema["values"], space)
            elif not isinstance(kind, str):
                self._collect(kind, space)


def full_name(schema: dict[str, Any], space: str) -> tuple[str, str]:
    """(full name, namespace for what is inside) of a named type inside namespace `space`."""
    name = str(schema["name"])
    if "." in name:
        return name, name.rpartition(".")[0]
    inner = str(schema.get("namespace", space))
    return (f"{inner}.{name}" if inner else name), inner


def kind_of(schema: Any) -> str:
    """Type of a resolved schema that is not a union, such as long or record."""
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def branch_name(names: Names, branch: Any, space: str) -> str:
    """Name of a union's branch: full name of a named type, otherwise its type."""
    resolved, around = names.resolve(branch, space)
    if isinstance(resolved, list):
        return "union"
    if isinstance(resolved, dict) and resolved["type"] in NAMED:
        return full_name(resolved, around)[0]
    return kind_of(resolved)
