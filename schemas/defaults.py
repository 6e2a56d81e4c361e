"""Does the default of a field fit its type? Avro reads it in place of a field that is missing."""

from __future__ import annotations

from typing import Any

from schemas.names import Names, full_name, kind_of

_LIMITS = {"int": 1 << 31, "long": 1 << 63}


def default_problem(names: Names, schema: Any, default: Any, space: str) -> str | None:
    """Why `default` (parsed JSON) is no value of the type, in words; None when it is one.

    The default of a union is a value of its first branch, as Avro up to 1.11 demands.
    """
    schema, space = names.resolve(schema, space)
    if isinstance(schema, list):
        return default_problem(names, schema[0], default, space) if schema else "an empty union"
    kind = kind_of(schema)
    if kind == "record":
        return _record_problem(names, schema, default, space)
    if kind == "array" and isinstance(default, list):
        return _first(default_problem(names, schema["items"], each, space) for each in default)
    if kind == "map" and isinstance(default, dict):
        values = default.values()
        return _first(default_problem(names, schema["values"], each, space) for each in values)
    if kind == "enum" and default in schema["symbols"]:
        return None
    return None if _fits(kind, schema, default) else f"{default!r} is not a value of {kind}"


def _record_problem(names: Names, schema: dict[str, Any], default: Any, space: str) -> str | None:
    if not isinstance(default, dict):
        return f"{default!r} is not a value of record"
    _, inner = full_name(schema, space)
    for field in schema["fields"]:
        if field["name"] in default:
            problem = default_problem(names, field["type"], default[field["name"]], inner)
            if problem:
                return problem
        elif "default" not in field:
            return f"{field['name']} is missing"
    return None


def _fits(kind: str, schema: Any, default: Any) -> bool:
    if kind == "null":
        return default is None
    if kind == "boolean":
        return isinstance(default, bool)
    if kind in _LIMITS:
        limit = _LIMITS[kind]
        return type(default) is int and -limit <= default < limit
    if kind in ("float", "double"):
        return type(default) in (int, float)
    if kind == "string":
        return isinstance(default, str)
    if kind in ("bytes", "fixed") and isinstance(default, str):
        size = schema["size"] if kind == "fixed" else len(default)
        return len(default) == size and all(ord(each) < 256 for each in default)
    return False


def _first(problems: Any) -> str | None:
    return next((each for each in problems if each), None)
