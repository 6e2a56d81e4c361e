"""The compatibility checker: explicit cases, and whatever it allows fastavro can really read."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_many
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.compatibility import incompatibilities, transitive_incompatibilities


def record(*fields: dict[str, Any], name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "n", "fields": list(fields), **more}


def field(name: str, schema: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": schema, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def fixed(size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size}


MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
A = field("a", "long")
TREE = record(field("child", ["null", "R"]), A)

READABLE = {
    "same": (record(A), record(A)),
    "added with default": (record(A, field("b", "string", default="")), record(A)),
    "added nullable": (record(A, field("b", ["null", "string"], default=None)), record(A)),
    "added record with default": (
        record(A, field("b", record(field("c", "int"), name="S"), default={"c": 1})), record(A),
    ),
    "removed": (record(A), record(A, field("b", "string"))),
    "reordered": (record(field("b", "int"), A), record(A, field("b", "int"))),
    "int to long": ("long", "int"),
    "int to double": ("double", "int"),
    "long to float": ("float", "long"),
    "float to double": ("double", "float"),
    "string to bytes": ("bytes", "string"),
    "bytes to string": ("string", "bytes"),
    "array of int to array of long": (
        {"type": "array", "items": "long"}, {"type": "array", "items": "int"},
    ),
    "symbol added": (enum("x", "y"), enum("x")),
    "symbol removed, with default": (enum("x", default="x"), enum("x", "y")),
    "became nullable": (["null", "long"], "long"),
    "became nullable and wider": (["null", "double"], "long"),
    "branch added": (["null", "long", "string"], ["null", "long"]),
    "union to what reads all branches": ("double", ["int", "long"]),
    "field renamed with alias": (record(field("b", "long", aliases=["a"])), record(A)),
    "record renamed with alias": (record(A, name="S", aliases=["R"]), record(A)),
    "recursive": (record(*TREE["fields"], field("b", "int", default=0)), TREE),
    "docs": (record(A, doc="better"), record(A, doc="good")),
    "wrapped type": ({"type": {"type": "long"}}, "long"),
    "named type in two places": (
        record(field("a", enum("x", "y")), field("b", "E")),
        record(field("a", enum("x")), field("b", "E")),
    ),
}  # fmt: skip

UNREADABLE = {
    "added without default": (record(A, field("b", "string")), record(A), "$.b: is new"),
    "added with default of another type": (
        record(A, field("b", "long", default="x")), record(A), "$.b: default does not fit",
    ),
    "added with default too large": (
        record(A, field("b", "int", default=1 << 31)), record(A), "$.b: default does not fit",
    ),
    "added with default of the second branch": (
        record(A, field("b", ["null", "long"], default=1)), record(A), "$.b: default does not",
    ),
    "added record with half a default": (
        record(A, field("b", record(field("c", "int"), name="S"), default={})), record(A),
        "c is missing",
    ),
    "renamed without alias": (record(field("b", "long")), record(A), "$.b: is new"),
    "narrowed": ("int", "long", "was long and is int"),
    "text to number": ("long", "string", "was string and is long"),
    "map to array": (
        {"type": "array", "items": "long"}, {"type": "map", "values": "long"}, "was map",
    ),
    "map values narrowed": (
        {"type": "map", "values": "int"}, {"type": "map", "values": "long"}, "${}: was long",
    ),
    "symbol removed": (enum("x"), enum("x", "y"), "symbols y are gone"),
    "no longer nullable": ("long", ["null", "long"], "$<null>: was null"),
    "branch removed": (["null", "long"], ["null", "long", "string"], "no branch of [null, long]"),
    "branch narrowed": (["null", enum("x")], ["null", enum("x", "y")], "symbols y are gone"),
    "record renamed": (record(A, name="S"), record(A), "add n.R to its aliases"),
    "namespace changed": ({**record(A), "namespace": "m"}, record(A), "add n.R to its aliases"),
    "fixed resized": (fixed(8), fixed(4), "size was 4 and is 8"),
    "unit of time changed": (MILLIS, MICROS, "was timestamp-micros and is timestamp-millis"),
    "became a time": (MICROS, "long", "was none and is timestamp-micros"),
    "inside recursion": (
        record(*TREE["fields"], field("b", "int")), TREE, "$.b: is new",
    ),
    "second use of a named type": (
        record(field("a", enum("x")), field("b", "E")),
        record(field("a", enum("x", "y")), field("b", "E")),
        "$.a: symbols y",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READABLE)
def test_what_avro_reads_is_allowed(case: str) -> None:
    reader, writer = READABLE[case]
    assert incompatibilities(reader, writer) == []


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_avro_cannot_read_is_found_and_named(case: str) -> None:
    reader, writer, message = UNREADABLE[case]
    assert message in " ".join(map(str, incompatibilities(reader, writer)))


def test_every_older_version_counts_not_only_the_last() -> None:
    first = record(A)
    second = record(A, field("b", "string", default=""))
    third = record(A, field("b", "string"))
    assert incompatibilities(third, second) == []
    assert [version for version, _ in transitive_incompatibilities(third, [first, second])] == [1]


@pytest.mark.parametrize("schema", ["strange", {"type": "strange"}, 7])
def test_what_is_no_schema_is_an_error(schema: Any) -> None:
    with pytest.raises(ValueError, match="Avro"):
        incompatibilities(schema, "long")


PRIMITIVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "string"])
DEFAULTS = {
    "null": None, "boolean": True, "int": 1, "long": 2, "float": 0.5, "double": 1, "string": "s",
}  # fmt: skip


@st.composite
def types(draw: st.DrawFn) -> Any:
    inner = draw(PRIMITIVES)
    return draw(
        st.sampled_from(
            [
                inner,
                {"type": "array", "items": inner},
                {"type": "map", "values": inner},
                ["null", "string"] if inner == "null" else ["null", inner],
                ["int", "string"],
            ]
        )
    )


@st.composite
def versions(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1))
    fields = []
    for name in names:
        schema = draw(types())
        more: dict[str, Any] = {}
        if isinstance(schema, str) and draw(st.booleans()):
            more["default"] = DEFAULTS[schema]
        elif isinstance(schema, list) and schema[0] == "null" and draw(st.booleans()):
            more["default"] = None
        fields.append(field(name, schema, **more))
    symbols = draw(st.lists(st.sampled_from("xyz"), unique=True, min_size=1))
    default = {"default": symbols[0]} if draw(st.booleans()) else {}
    return record(*fields, field("e", enum(*symbols, **default)))


@settings(max_examples=300, deadline=None)
@given(versions(), versions())
def test_fastavro_reads_whatever_is_allowed(reader: dict[str, Any], writer: dict[str, Any]) -> None:
    if incompatibilities(reader, writer):
        return
    writer_schema, reader_schema = fastavro.parse_schema(writer), fastavro.parse_schema(reader)
    for value in generate_many(writer_schema, 5):
        buffer = BytesIO()
        fastavro.schemaless_writer(buffer, writer_schema, value)
        buffer.seek(0)
        found = fastavro.schemaless_reader(buffer, writer_schema, reader_schema)
        assert set(found) == {each["name"] for each in reader["fields"]}
