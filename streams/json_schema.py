"""Avro schemas as JSON Schema (draft 7), for documents whose readers do not know Avro."""

from __future__ import annotations

from typing import Any

_TYPES: dict[str, dict[str, Any]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
}


def json_schemas(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """JSON Schemas of an Avro record and of the records inside it, by short name.

    Records refer to each other by ``#/components/schemas/<name>``, as AsyncAPI has it. Raises
    ValueError for what our schemas do not use: unions other than [null, T], named types by name.
    """
    found: dict[str, dict[str, Any]] = {}
    _record(record, found)
    return found


def _record(record: dict[str, Any], found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    name = record["name"]
    schema: dict[str, Any] = {"type": "object", "description": record["doc"], "properties": {}}
    found[name] = schema
    for field in record["fields"]:
        content = _convert(field["type"], found)
        text = content.pop("description", None)
        content["description"] = field["doc"] if text is None else f"{field['doc']} {text}"
        if "default" in field:
            content["default"] = field["default"]
        schema["properties"][field["name"]] = content
    schema["required"] = [each["name"] for each in record["fields"] if "default" not in each]
    return {"$ref": f"#/components/schemas/{name}"}


def _convert(schema: Any, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if isinstance(schema, list):
        if len(schema) != 2 or schema[0] != "null":
            raise ValueError(f"a union other than [null, T]: {schema!r}")
        content = _convert(schema[1], found)
        return {**content, "type": [content["type"], "null"]}
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return _record(schema, found)
    if kind == "enum":
        return {"type": "string", "enum": list(schema["symbols"]), "description": schema["doc"]}
    if kind == "array":
        return {"type": "array", "items": _convert(schema["items"], found)}
    if kind == "map":
        return {"type": "object", "additionalProperties": _convert(schema["values"], found)}
    if kind not in _TYPES:
        raise ValueError(f"a type that is not converted: {schema!r}")
    content = dict(_TYPES[kind])
    if isinstance(schema, dict) and "logicalType" in schema:
        content["x-avro-logical-type"] = schema["logicalType"]
    return content
