"""The fast codec equals the reference, whatever bytes come; only the bad record is lost."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
import pytest
from fastavro.utils import generate_many
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import RegistryUnavailable, UnknownSchemaId
from schemas.registry import schema_json
from streams.engine import avro_rows
from streams.engine.codec import HEADER, Codec
from streams.engine.errors import InvalidRecord, RetryableError
from tests.faults.slices import slice_of

COLUMNAR = ["source_event", "timeline_event", "opportunity", "scored_lead", "label"]
ID = 1_000_001


def records_of(name: str, count: int, seed: int) -> list[dict[str, Any]]:
    random.seed(seed)
    return list(generate_many(avro_rows.plain_schema(schema_json(name)), count))


def wire(schema: str, rows: list[dict[str, Any]], schema_id: int = ID) -> list[bytes]:
    plain = avro_rows.plain_schema(schema)
    return [HEADER.pack(0, schema_id) + avro_rows.write(plain, row) for row in rows]


def plain(rows: list[dict[str, Any]]) -> str:
    """Comparable, NaN and float32 included."""
    return json.dumps(rows, sort_keys=True, default=repr)


@pytest.mark.parametrize("name", [*COLUMNAR, "market_indicator", "model_weights"])
def test_columns_and_back_are_the_reference(name: str) -> None:
    schema = schema_json(name)
    codec = Codec(schema, ID)
    values = wire(schema, records_of(name, 60, 1))
    decoded = codec.decode(slice_of(values))
    assert decoded.bad == []
    reference = [avro_rows.read(v[5:], codec._plain, codec._plain) for v in values]
    assert plain(avro_rows.to_dicts(decoded.values)) == plain(reference)
    again = codec.encode(decoded.values)
    assert plain([avro_rows.read(v[5:], codec._plain, codec._plain) for v in again]) == plain(
        reference
    )
    assert all(v.startswith(codec.header) for v in again)


@pytest.mark.parametrize("name", COLUMNAR)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_bytes_never_change_a_neighbour(name: str, data: st.DataObject) -> None:
    schema = schema_json(name)
    codec = Codec(schema, ID)
    values = wire(schema, records_of(name, 6, data.draw(st.integers(0, 3))))
    at = data.draw(st.integers(0, 5))
    broken = bytearray(values[at])
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, max(0, len(broken) - 1)))
        how = data.draw(st.sampled_from(["set", "cut", "drop", "insert"]))
        if how == "set" and broken:
            broken[where] = data.draw(st.integers(0, 255))
        elif how == "cut":
            broken = broken[:where]
        elif how == "drop":
            del broken[where : where + data.draw(st.integers(1, 9))]
        else:
            broken[where:where] = bytes([0xFF] * data.draw(st.integers(1, 10)))
    damaged = [*values[:at], bytes(broken), *values[at + 1 :]]
    decoded = codec.decode(slice_of(damaged))
    rows = dict(zip(decoded.rows.tolist(), avro_rows.to_dicts(decoded.values), strict=True))
    for row, value in enumerate(values):
        if row != at:
            reference = avro_rows.read(value[5:], codec._plain, codec._plain)
            assert plain([rows[row]]) == plain([reference])
    assert [b.row for b in decoded.bad] == ([] if at in rows else [at])
    assert all(b.message for b in decoded.bad)
    decoded.values.validate(full=True)


def test_every_kind_of_bad_record_says_what_is_wrong() -> None:
    schema = schema_json("source_event")
    good = wire(schema, records_of("source_event", 1, 2))[0]
    values = [good, None, b"", b"\x00", b"\x01" + good[1:], good[:9], good]
    decoded = Codec(schema, ID).decode(slice_of(values))
    assert decoded.rows.tolist() == [0, 6]
    assert [b.error_class for b in decoded.bad] == [
        "NullValue", "WireFormat", "WireFormat", "WireFormat", "Undecodable",
    ]  # fmt: skip


def test_enum_out_of_range_and_non_booleans_are_bad() -> None:
    schema = json.dumps({"type": "record", "name": "R", "fields": [
        {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["a", "b"]}},
        {"name": "flag", "type": "boolean"},
        {"name": "more", "type": ["null", "long"]},
    ]})  # fmt: skip
    codec = Codec(schema, 7)
    head = HEADER.pack(0, 7)
    values = [b"\x02\x01\x00", b"\x04\x01\x00", b"\x01\x01\x00", b"\x00\x20\x00", b"\x00\x00\x01"]
    decoded = codec.decode(slice_of([head + v for v in values]))
    assert decoded.rows.tolist() == [0]
    assert [b.row for b in decoded.bad] == [1, 2, 3, 4]


def test_empty_batches() -> None:
    codec = Codec(schema_json("label"), ID)
    decoded = codec.decode(slice_of([]))
    assert decoded.values.schema.equals(codec.arrow_schema)
    assert decoded.values.num_rows == 0
    assert codec.encode(decoded.values) == []
    nothing_good = codec.decode(slice_of([b"x", None]))
    assert nothing_good.values.schema.equals(codec.arrow_schema)


OLD = {"type": "record", "name": "R", "fields": [
    {"name": "a", "type": "int"},
    {"name": "gone", "type": "string"},
    {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["x", "y"]}},
    {"name": "before", "type": "double"},
]}  # fmt: skip
NEW = {"type": "record", "name": "R", "fields": [
    {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["z", "y", "x"]}},
    {"name": "a", "type": "double"},
    {"name": "after", "type": "double", "aliases": ["before"]},
    {"name": "new", "type": ["null", "string"], "default": None},
    {"name": "map", "type": {"type": "map", "values": "double"}, "default": {}},
    {"name": "count", "type": "long", "default": 3},
]}  # fmt: skip


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.sampled_from("xy"))))
@settings(deadline=None, max_examples=30)
def test_older_writers_are_resolved_as_the_reference_does(rows: list[tuple[int, str]]) -> None:
    old, new = json.dumps(OLD), json.dumps(NEW)
    codec = Codec(new, 8, {7: old}.__getitem__)
    dicts = [{"a": a, "gone": "g", "kind": k, "before": a / 3} for a, k in rows]
    values = wire(old, dicts, 7)
    values += wire(new, [{"kind": "z", "a": 1.5, "after": 2.5, "new": "n", "map": {"m": 1.0},
                          "count": 9}], 8)  # fmt: skip
    values += wire(old, dicts[:2], 7)
    decoded = codec.decode(slice_of(values))
    assert decoded.bad == []
    schemas = {7: avro_rows.plain_schema(old), 8: avro_rows.plain_schema(new)}
    reference = [
        avro_rows.read(v[5:], schemas[HEADER.unpack_from(v)[1]], schemas[8]) for v in values
    ]
    assert plain(avro_rows.to_dicts(decoded.values)) == plain(reference)


def test_newer_writers_with_unknown_symbols_lose_only_those_records() -> None:
    old, new = json.dumps({**OLD, "fields": OLD["fields"][2:3]}), json.dumps({
        **NEW, "fields": NEW["fields"][:1]})  # fmt: skip
    codec = Codec(old, 7, {8: new}.__getitem__)
    decoded = codec.decode(slice_of(wire(new, [{"kind": k} for k in "xzy"], 8)))
    assert decoded.values.column("kind").to_pylist() == ["x", "y"]
    assert [b.row for b in decoded.bad] == [1]


def test_ids_that_nobody_knows_and_registries_that_do_not_answer() -> None:
    schema = schema_json("label")
    values = [*wire(schema, records_of("label", 2, 1)), HEADER.pack(0, 99) + b"x"]

    def unknown(schema_id: int) -> str:
        raise UnknownSchemaId(schema_id, "never heard of it")

    def silent(schema_id: int) -> str:
        raise RegistryUnavailable("no answer")

    decoded = Codec(schema, ID, unknown).decode(slice_of(values))
    assert decoded.rows.tolist() == [0, 1]
    assert [(b.error_class, b.message) for b in decoded.bad] == [
        ("UnknownSchemaId", "never heard of it")
    ]
    with pytest.raises(RetryableError, match="no answer"):
        Codec(schema, ID, silent).decode(slice_of(values))
    garbage = Codec(schema, ID, lambda _id: "{").decode(slice_of(values))
    assert [b.error_class for b in garbage.bad] == ["UnknownSchemaId"]


def test_values_that_do_not_fit_the_schema_are_refused() -> None:
    schema = json.dumps(OLD)
    codec = Codec(schema, 7)
    good = {"a": [1], "gone": ["g"], "kind": ["x"], "before": [0.5]}
    fits = pa.RecordBatch.from_pydict(good, schema=codec.arrow_schema)
    assert len(codec.encode(fits)) == 1
    plain_types = pa.schema([pa.field(f.name, f.type) for f in codec.arrow_schema])
    with pytest.raises(ValueError, match="kind"):
        codec.encode(pa.RecordBatch.from_pydict({**good, "kind": [None]}, schema=plain_types))
    with pytest.raises(Exception, match=r"(?i)q|enum|kind"):
        codec.encode(pa.RecordBatch.from_pydict({**good, "kind": ["q"]}, schema=plain_types))
    with pytest.raises(TypeError, match="missing"):
        codec.encode(fits.select(["a"]))
    with pytest.raises(TypeError, match="before"):
        codec.encode(fits.set_column(3, "before", pa.array(["text"])))


def test_dicts_of_low_volume_topics() -> None:
    schema = schema_json("model_weights")
    rows = records_of("model_weights", 2, 1)
    values = [*wire(schema, rows), None, b"junk"]
    found = Codec(schema, ID).decode_dicts(slice_of(values))
    assert found[0] is not None
    assert found[2] is None
    assert isinstance(found[3], InvalidRecord)
