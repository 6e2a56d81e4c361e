"""The committed schemas: complete, documented, compatible with their history, usable by codecs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pyruhvro
import pytest
from fastavro.utils import generate_many

from schemas.add_version import NotAdded, add_version
from schemas.compatibility import transitive_incompatibilities
from schemas.local import FIRST_ID, FOLDER, LocalRegistry
from schemas.registry import (
    load_schema,
    local_registry,
    schema_id,
    schema_json,
    schema_names,
    without_docs,
)

NAMES = sorted(path.stem for path in FOLDER.glob("*.avsc"))
UNITS = re.compile(
    r"microseconds since|log-odds|0 to 1\b|from 0|from 1\b|count|minor units|1 to 100|epochs"
    r"|version|seconds|nats|ratio|logits|unit|partitions|events of the lead|sha-256|finite",
    re.IGNORECASE,
)


def records(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from records(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
        for key in ("type", "items", "values"):
            yield from records(schema.get(key))
        for field in schema.get("fields", []):
            yield from records(field["type"])


def enums(schema: Any) -> Iterator[dict[str, Any]]:
    for record in records(schema):
        for field in record["fields"]:
            if isinstance(field["type"], dict) and field["type"]["type"] == "enum":
                yield field["type"]


def test_every_schema_has_a_version_and_an_id_of_our_own() -> None:
    assert schema_names() == NAMES
    for name in NAMES:
        versions = [each.version for each in local_registry().history(name)]
        assert versions == list(range(1, len(versions) + 1))
    assert all(each > FIRST_ID for each in local_registry().versions)


@pytest.mark.parametrize("name", NAMES)
def test_schema_in_force_is_its_newest_version(name: str) -> None:
    in_force = json.loads((FOLDER / f"{name}.avsc").read_text("utf-8"))
    newest = local_registry().newest(name)
    assert without_docs(in_force) == without_docs(newest.load()), (
        f"{name}.avsc differs from version {newest.version}; "
        f"run `python -m schemas.add_version {name}` and commit schemas/history"
    )


@pytest.mark.parametrize("name", NAMES)
def test_newest_schema_reads_all_older_versions(name: str) -> None:
    history = [each.load() for each in local_registry().history(name)]
    for last in range(1, len(history) + 1):
        problems = transitive_incompatibilities(history[last - 1], history[:last])
        assert [f"version {version}: {problem}" for version, problem in problems] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_documented_with_its_unit(name: str) -> None:
    schema = load_schema(name)
    for record in records(schema):
        assert record["doc"]
        for field in record["fields"]:
            assert field["doc"].endswith("."), field["name"]
            if numeric(field["type"]):
                assert UNITS.search(field["doc"]), f"{field['name']} has no unit"
    for enum in enums(schema):
        for symbol in enum["symbols"]:
            assert f"{symbol}: " in enum["doc"], symbol


def numeric(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(numeric, schema))
    if isinstance(schema, dict):
        return numeric(schema["type"])
    return schema in ("int", "long", "float", "double")


@pytest.mark.parametrize("name", NAMES)
def test_nullable_fields_default_to_null_and_money_is_whole(name: str) -> None:
    for record in records(load_schema(name)):
        for field in record["fields"]:
            if isinstance(field["type"], list):
                assert field["type"][0] == "null"
                assert field["default"] is None
            if field["name"].endswith("_minor"):
                assert "long" in field["type"]


@pytest.mark.parametrize("name", [each for each in NAMES if each != "model_weights"])
def test_column_codec_takes_the_schema(name: str) -> None:
    arrow = pyruhvro.avro_to_arrow_schema(schema_json(name))
    assert [field.name for field in arrow] == [each["name"] for each in load_schema(name)["fields"]]
    assert "bytes" not in schema_json(name)


@pytest.mark.parametrize("name", NAMES)
def test_any_record_survives_a_round_trip(name: str) -> None:
    schema = fastavro.parse_schema(json.loads(schema_json(name)))
    for record in generate_many(schema, 20):
        first, second = BytesIO(), BytesIO()
        fastavro.schemaless_writer(first, schema, record)
        first.seek(0)
        fastavro.schemaless_writer(second, schema, fastavro.schemaless_reader(first, schema, None))
        assert second.getvalue() == first.getvalue()


def test_codec_text_keeps_what_decides_about_bytes() -> None:
    text = schema_json("source_event")
    assert '"doc"' not in text
    assert '"logicalType":"timestamp-micros"' in text
    assert '"default":null' in text
    assert schema_id("source_event") == FIRST_ID + 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy of the schemas folder that a test may change."""
    copy = tmp_path / "schemas"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return copy


def change(folder: Path, field: dict[str, Any]) -> None:
    path = folder / "label.avsc"
    schema = json.loads(path.read_text("utf-8"))
    schema["fields"].append(field)
    path.write_text(json.dumps(schema), "utf-8")


def test_added_version_gets_the_next_id_and_keeps_the_old_one(folder: Path) -> None:
    before = LocalRegistry(folder).versions
    was = LocalRegistry(folder).newest("label").version
    change(folder, {"name": "note", "type": ["null", "string"], "default": None, "doc": "Note."})
    added = add_version("label", folder)
    after = LocalRegistry(folder)
    assert added.id == max(before) + 1
    assert after.newest("label").id == added.id
    assert [each.version for each in after.history("label")][-2:] == [was, was + 1]
    assert after.versions.items() >= before.items()


def test_version_that_cannot_read_the_old_one_is_refused(folder: Path) -> None:
    was = LocalRegistry(folder).newest("label").version
    change(folder, {"name": "note", "type": "string", "doc": "Note."})
    with pytest.raises(NotAdded, match=r"version 1: \$\.note: is new and has no default"):
        add_version("label", folder)
    assert LocalRegistry(folder).newest("label").version == was


def test_better_docs_need_no_version(folder: Path) -> None:
    path = folder / "label.avsc"
    path.write_text(path.read_text("utf-8").replace("Outcome of a target", "How a target ended"))
    with pytest.raises(NotAdded, match="apart from docs"):
        add_version("label", folder)
