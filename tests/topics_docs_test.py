"""The generated documents: up to date, and valid for AsyncAPI's own parser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fastavro
import pytest
import typer
from fastavro.utils import generate_one
from typer.testing import CliRunner

from schemas.local import FOLDER
from schemas.registry import load_schema
from streams.asyncapi import asyncapi_document, asyncapi_yaml
from streams.cli.topics import register
from streams.json_schema import json_schemas
from streams.topics import TOPICS, all_topics
from streams.topics_table import topics_markdown

PARSER = "@asyncapi/parser@3.6.3"
SCRIPT = """
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'));
const problems = diagnostics
  .filter((each) => each.severity <= 1)
  .map((each) => `${each.path.join('/')}: ${each.message}`);
const channels = document ? document.channels().all().map((each) => each.address()) : [];
console.log(JSON.stringify({ problems, channels }));
"""


@pytest.fixture(scope="module")
def parser() -> Path:
    """Folder with the official parser, installed once into the user's cache."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed, so AsyncAPI's parser cannot run")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "leadstream" / "asyncapi-parser" / PARSER.rpartition("@")[2]
    installed = folder / "installed"
    if not installed.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"name": "check", "private": true}')
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", PARSER]
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=240, check=False
        )
        if result.returncode:
            pytest.skip(f"npm could not install {PARSER}: {result.stderr[-300:]}")
        installed.touch()
    (folder / "validate.mjs").write_text(SCRIPT)
    return folder


def validate(parser: Path, text: str) -> dict[str, Any]:
    result = subprocess.run(
        ["node", "validate.mjs"],
        cwd=parser,
        check=False,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def test_official_parser_finds_no_problem(parser: Path) -> None:
    report = validate(parser, (FOLDER / "asyncapi.yaml").read_text("utf-8"))
    assert report["problems"] == []
    assert set(report["channels"]) == {name for name, each in all_topics().items() if each.schema}


def test_official_parser_does_look_into_payloads_and_bindings(parser: Path) -> None:
    text = asyncapi_yaml()
    assert validate(parser, text.replace("format: int64", "minimum: low", 1))["problems"]
    assert validate(parser, text.replace("partitions: 4", "partitions: four", 1))["problems"]
    assert validate(parser, text.replace("- $ref: '#/servers/kafka'", "- $ref: '#/x'"))["problems"]


@pytest.mark.parametrize(
    ("name", "text"), [("asyncapi.yaml", asyncapi_yaml), ("TOPICS.md", topics_markdown)]
)
def test_committed_documents_are_up_to_date(name: str, text: Any) -> None:
    assert (FOLDER / name).read_text("utf-8") == text(), "run `leadstream topics docs --write`"


def test_every_topic_is_documented() -> None:
    table = topics_markdown()
    document = asyncapi_document()
    for each in all_topics().values():
        assert f"| `{each.name}` | {each.key} |" in table
    for name in TOPICS:
        assert document["channels"][name]["address"] == name
        receivers = [key for key in document["operations"] if key.endswith(f"-receive-{name}")]
        assert len(receivers) == len(TOPICS[name].readers)


def test_payload_has_every_field_of_the_avro_schema() -> None:
    for name in {each.schema for each in TOPICS.values()}:
        avro = load_schema(name)
        converted = json_schemas(avro)[avro["name"]]
        assert list(converted["properties"]) == [field["name"] for field in avro["fields"]]
        value = generate_one(fastavro.parse_schema(avro))
        assert set(converted["required"]) <= set(value)
        for field in avro["fields"]:
            types = converted["properties"][field["name"]].get("type")
            assert ("null" in types) == isinstance(field["type"], list)


def test_check_fails_on_a_stale_file_and_write_repairs_it(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)

    def run(option: str) -> Any:
        return CliRunner().invoke(app, ["topics", "docs", option, "--folder", str(tmp_path)])

    assert run("--check").exit_code == 1
    assert run("--write").exit_code == 0
    assert run("--check").exit_code == 0
    with (tmp_path / "TOPICS.md").open("a") as file:
        file.write("by hand\n")
    stale = run("--check")
    assert stale.exit_code == 1
    assert "leadstream topics docs --write" in stale.stderr
