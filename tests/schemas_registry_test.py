"""Schema ids: ours first, then the registry's; unknown is invalid, unreachable is retryable.

The server here is a stand-in that speaks the subset of Confluent's REST interface that the client
uses, over real HTTP in this process; it is no registry and checks no compatibility of its own.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.evaluation.histograms import Counts
from schemas.registry import (
    ConfluentRegistry,
    InvalidHeader,
    Registry,
    RegistryUnavailable,
    SchemaRejected,
    UnknownSchema,
    UnknownSchemaId,
    header,
    load_schema,
    parse_header,
    schema_id,
    schema_names,
)
from streams.app import new_codec
from streams.arrow_schemas import arrow_schema
from streams.cli.topics import register
from streams.engine.errors import ConfigurationError, RetryableError
from streams.scoring import records
from streams.settings import load
from streams.topics import TOPICS
from tests.faults.slices import slice_of

FOREIGN = '{"type":"record","name":"Foreign","fields":[{"name":"a","type":"long"}]}'


class StandIn(ThreadingHTTPServer):
    """In-process stand-in for a Confluent-compatible registry."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        self.failures: list[tuple[int, bytes]] = []  # answered first, in order
        self.schemas: dict[int, dict[str, Any]] = {7: {"schema": FOREIGN}}
        self.subjects: dict[str, list[int]] = {}
        self.levels: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""

    def answer(self, status: int, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self) -> tuple[list[str], dict[str, Any]] | None:
        self.server.requests.append(f"{self.command} {self.path}")
        self.server.authorizations.append(self.headers["Authorization"])
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.server.failures:
            self.answer(*self.server.failures.pop(0))
            return None
        return self.path.strip("/").split("/"), json.loads(body or "{}")

    def do_GET(self) -> None:
        match self.begin():
            case (["schemas", "ids", number], _):
                found = self.server.schemas.get(int(number))
                missing = {"error_code": 40403, "message": "Schema not found"}
                self.answer(200 if found else 404, found or missing)
            case (["subjects", name, "versions", "latest"], _):
                ids = self.server.subjects.get(name)
                if not ids:
                    self.answer(404, {"error_code": 40401, "message": "Subject not found"})
                    return
                found = {"id": ids[-1], "version": len(ids), "subject": name}
                self.answer(200, {**found, **self.server.schemas[ids[-1]]})
            case None:
                return
            case _:
                self.answer(404, b"<html>no such page</html>")

    def do_POST(self) -> None:
        match self.begin():
            case (["subjects", name, "versions"], body):
                ids = self.server.subjects.setdefault(name, [])
                known = [each for each in ids if self.server.schemas[each] == body]
                number = known[0] if known else max(self.server.schemas) + 1
                if not known:
                    self.server.schemas[number] = body
                    ids.append(number)
                self.answer(200, {"id": number})
            case (["subjects", name], body):
                ids = self.server.subjects.get(name, [])
                known = [each for each in ids if self.server.schemas[each] == body]
                missing = {"error_code": 40403, "message": "Schema not found"}
                self.answer(200 if known else 404, {"id": known[0]} if known else missing)

    def do_PUT(self) -> None:
        match self.begin():
            case (["config", name], body):
                self.server.levels[name] = body["compatibility"]
                self.answer(200, body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with StandIn() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def client(server: StandIn, **more: Any) -> ConfluentRegistry:
    return ConfluentRegistry(server.url, sleep=lambda _: None, **more)


def test_own_ids_resolve_without_asking_anybody(server: StandIn) -> None:
    registry = Registry(remote=client(server))
    for name in schema_names():
        text = registry.by_id(schema_id(name))
        assert json.loads(text)["name"] == load_schema(name)["name"]
    assert server.requests == []


def test_foreign_ids_are_asked_once_for_ever(server: StandIn) -> None:
    registry = Registry(remote=client(server))
    assert [registry.by_id(7) for _ in range(3)] == [FOREIGN] * 3
    assert server.requests == ["GET /schemas/ids/7"]


def test_unknown_id_is_invalid_and_not_asked_again_at_once(server: StandIn) -> None:
    now = [0.0]
    remote = client(server, unknown_s=30.0, clock=lambda: now[0])
    for _ in range(3):
        with pytest.raises(UnknownSchemaId, match="schema id 8 is not known"):
            remote.by_id(8)
    assert len(server.requests) == 1
    server.schemas[8] = {"schema": FOREIGN}
    now[0] = 31.0
    assert remote.by_id(8) == FOREIGN


def test_unknown_id_without_a_registry_says_what_to_set() -> None:
    with pytest.raises(UnknownSchemaId, match="LEADSTREAM_SCHEMA_REGISTRY_URL") as caught:
        Registry.open(None).by_id(8)
    assert caught.value.schema_id == 8


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"schema": "syntax = 3", "schemaType": "PROTOBUF"}, "is a PROTOBUF schema"),
        ({"schema": FOREIGN, "references": [{"name": "x"}]}, "refers to schemas of other"),
    ],
)
def test_schema_that_we_cannot_read_is_invalid(
    server: StandIn, answer: dict[str, Any], message: str
) -> None:
    server.schemas[9] = answer
    with pytest.raises(UnknownSchemaId, match=message):
        client(server).by_id(9)


def test_registry_that_recovers_within_the_tries_is_not_an_error(server: StandIn) -> None:
    server.failures = [(503, b"starting"), (500, b'{"error_code":50001,"message":"store"}')]
    assert client(server).by_id(7) == FOREIGN
    assert len(server.requests) == 3


def test_registry_that_stays_away_is_retryable_and_asked_again_later(server: StandIn) -> None:
    server.failures = [(503, b"down")] * 3
    remote = client(server)
    with pytest.raises(RegistryUnavailable, match="HTTP 503"):
        remote.by_id(7)
    assert remote.by_id(7) == FOREIGN


def test_nobody_listening_is_retryable(server: StandIn) -> None:
    url = server.url
    server.server_close()
    with pytest.raises(RegistryUnavailable, match="refused"):
        ConfluentRegistry(url, tries=2, sleep=lambda _: None).by_id(7)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html>not here</html>"),  # a wrong path must not turn good data into dead letters
        (401, b'{"error_code":401,"message":"Unauthorized"}'),
        (200, b"<html>welcome</html>"),
        (200, b'{"hello":"world"}'),
    ],
)
def test_wrong_address_or_password_is_not_the_records_fault(
    server: StandIn, status: int, body: bytes
) -> None:
    server.failures = [(status, body)]
    with pytest.raises(RegistryUnavailable):
        client(server).by_id(7)
    assert len(server.requests) == 1


def test_pauses_between_tries_grow(server: StandIn) -> None:
    server.failures = [(503, b"")] * 8
    pauses: list[float] = []
    with pytest.raises(RegistryUnavailable):
        ConfluentRegistry(server.url, tries=8, sleep=pauses.append).by_id(7)
    assert len(pauses) == 7
    assert pauses[0] <= 0.1
    assert 1.0 <= pauses[-1] <= 2.0


def test_credentials_go_into_the_header_and_nowhere_else(server: StandIn) -> None:
    address = server.url.removeprefix("http://")
    remote = ConfluentRegistry(f"http://anna:p%40ss@{address}/", tries=1)
    remote.by_id(7)
    expected = base64.b64encode(b"anna:p@ss").decode()
    assert server.authorizations == [f"Basic {expected}"]
    server.failures = [(401, b"{}")]
    with pytest.raises(RegistryUnavailable) as caught:
        remote.by_id(8)
    assert "anna" not in str(caught.value)
    assert "p@ss" not in str(caught.value)


def test_path_of_the_url_is_kept(server: StandIn) -> None:
    server.failures = [(200, json.dumps({"schema": FOREIGN}).encode())]
    assert ConfluentRegistry(f"{server.url}/apis/ccompat/v7/").by_id(7) == FOREIGN
    assert server.requests == ["GET /apis/ccompat/v7/schemas/ids/7"]


@pytest.mark.parametrize("url", ["localhost:8081", "file:///etc/passwd", "http://", ""])
def test_url_that_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        ConfluentRegistry(url)


def test_registering_twice_is_registering_once(server: StandIn) -> None:
    registry = Registry(remote=client(server))
    first = registry.register("label", "x.lead.labels")
    assert registry.register("label", "x.lead.labels") == first
    assert server.levels == {"x.lead.labels-value": "BACKWARD_TRANSITIVE"}
    newest = client(server).newest("x.lead.labels-value")
    assert newest is not None
    assert (newest.id, newest.version) == (first, 1)
    assert json.loads(newest.text) == load_schema("label")


def test_creating_topics_registers_their_schemas(server: StandIn, kafka: str, prefix: str) -> None:
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    where = ["--bootstrap", kafka, "--prefix", prefix, "--partitions", "1"]
    command = ["topics", "create", *where, "--schema-registry", server.url, "--json"]
    for _ in range(2):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        registered = json.loads(result.stdout.splitlines()[-1])["registered"]
        assert set(registered) == {f"{prefix}{name}-value" for name in TOPICS}
    for name, topic in TOPICS.items():
        newest = client(server).newest(f"{prefix}{name}-value")
        assert newest is not None and newest.version == 1
        assert json.loads(newest.text) == load_schema(topic.schema)


def test_what_we_write_carries_the_servers_id_and_our_own_ids_stay_readable(
    server: StandIn,
) -> None:
    settings = load(
        kafka_bootstrap="127.0.0.1:1", schema_registry_url=server.url, topic_prefix="x."
    )
    codec, own = new_codec(settings)("lead.labels"), new_codec(load(kafka_bootstrap="127.0.0.1:1"))
    found = client(server).newest("x.lead.labels-value")  # it was registered on the way
    assert found is not None and codec.header == header(found.id)
    assert server.levels == {"x.lead.labels-value": "BACKWARD_TRANSITIVE"}
    assert new_codec(settings)("lead.labels").header == codec.header
    assert own("lead.labels").header == header(schema_id("label"))

    names = records.Names("acme", "conversion", "1")
    nothing = Counts(np.zeros((0, 0), np.int64), np.zeros(0, np.int64))
    row = records.epoch_end(
        names, epoch=1, watermark=2, partition=0, partitions=1, offset=3, counts=nothing
    ).values.cast(arrow_schema("label"))
    for written_by in (codec, own("lead.labels")):
        decoded = codec.decode(slice_of(written_by.encode(row)))
        assert not decoded.bad
        assert decoded.values.to_pylist() == row.to_pylist()


def test_a_registry_that_is_away_or_refuses_is_said_as_such(server: StandIn) -> None:
    settings = load(kafka_bootstrap="127.0.0.1:1", schema_registry_url=server.url)
    missing = (404, b'{"error_code":40403,"message":"Schema not found"}')
    server.failures = [missing, (409, b'{"error_code":409,"message":"not compatible"}')]
    with pytest.raises(ConfigurationError, match="not compatible"):
        new_codec(settings)("lead.labels")
    server.failures = [(503, b"")] * 20
    with pytest.raises(RetryableError):
        new_codec(settings)("lead.labels")


def test_subject_that_nobody_registered_has_no_newest_version(server: StandIn) -> None:
    assert client(server).newest("nothing-value") is None


def test_without_a_server_there_is_nothing_to_register() -> None:
    assert Registry().register("label", "lead.labels") is None


def test_incompatible_schema_is_refused_with_the_registrys_words(server: StandIn) -> None:
    server.failures = [(409, b'{"error_code":409,"message":"field added without default"}')]
    with pytest.raises(SchemaRejected, match="field added without default"):
        client(server).register("lead.labels-value", FOREIGN)


@given(st.integers(0, 2**32 - 1), st.binary())
def test_header_round_trip(number: int, rest: bytes) -> None:
    assert parse_header(header(number) + rest) == number


@pytest.mark.parametrize("value", [b"", b"\x00\x00\x0f\x42", b"\x01\x00\x0f\x42\x41x", b'{"a":1}'])
def test_value_outside_the_wire_format_is_invalid(value: bytes) -> None:
    with pytest.raises(InvalidHeader, match="wire format"):
        parse_header(value)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownSchema, match="source_event"):
        schema_id("nothing")
