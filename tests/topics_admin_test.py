"""Creating and describing the topics on a real broker, by the functions and the command line."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
import typer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from streams.cli.topics import register
from streams.engine.errors import BrokerUnavailable, ConfigurationError
from streams.topic_admin import TopicAdmin
from streams.topics import all_topics


@pytest.fixture
def app() -> typer.Typer:
    root = typer.Typer()
    register(root)
    root.callback()(lambda: None)
    return root


@pytest.fixture
def nobody() -> Iterator[str]:
    """Address where nobody listens, and nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_create_makes_the_list_true_and_is_idempotent(kafka: str, prefix: str) -> None:
    admin = TopicAdmin(kafka, prefix=prefix, partitions=2)
    assert not any(state.exists for state in admin.describe())
    first = admin.create()
    assert set(first.created) == {prefix + name for name in all_topics()}
    assert all(state.exists and not state.differences for state in first.states)
    partitions = {state.topic.name: state.partitions for state in first.states}
    assert partitions["crm.events"] == partitions["scoring-changelog"] == 2
    assert partitions["models.current"] == 1
    second = admin.create()
    assert second.created == ()
    assert second.states == first.states


def test_what_differs_is_reported_and_left(kafka: str, prefix: str) -> None:
    client = AdminClient({"bootstrap.servers": kafka})
    name = f"{prefix}crm.events"
    own = NewTopic(name, num_partitions=3, replication_factor=1, config={"retention.ms": "1000"})
    client.create_topics([own])[name].result(30)
    admin = TopicAdmin(kafka, prefix=prefix, partitions=1)
    made = admin.create()
    assert name not in made.created
    state = next(each for each in made.states if each.name == name)
    assert {str(each) for each in state.differences} == {
        "partitions is 3, the list says 1",
        "message.timestamp.type is CreateTime, the list says LogAppendTime",
        "retention.ms is 1000, the list says 2592000000",
    }
    assert state.partitions == 3


def test_too_many_replicas_says_what_to_change(kafka: str, prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="--replication-factor"):
        TopicAdmin(kafka, prefix=prefix, replication_factor=99).create()


def test_name_that_kafka_refuses_is_a_wrong_setting(kafka: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot create"):
        TopicAdmin(kafka, prefix="no spaces ").create()


def test_no_broker_is_retryable_and_says_how_to_start_one(nobody: str) -> None:
    with pytest.raises(BrokerUnavailable, match="leadstream dev up"):
        TopicAdmin(nobody, timeout_s=1).describe()


def test_senseless_counts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="partitions"):
        TopicAdmin("127.0.0.1:9", partitions=0)
    with pytest.raises(ConfigurationError, match="replication"):
        TopicAdmin("127.0.0.1:9", replication_factor=0)


def test_command_line_creates_and_describes(kafka: str, prefix: str, app: typer.Typer) -> None:
    where = ["--bootstrap", kafka, "--prefix", prefix, "--partitions", "1"]
    created = CliRunner().invoke(app, ["topics", "create", *where, "--json"])
    assert created.exit_code == 0, created.output
    report = json.loads(created.stdout.splitlines()[-1])
    assert len(report["created"]) == len(all_topics())
    assert report["differences"] == report["registered"] == {}
    again = CliRunner().invoke(app, ["topics", "create", *where])
    assert f"0 topics created, {len(all_topics())} were there" in again.stdout
    described = CliRunner().invoke(app, ["topics", "describe", *where, "--json"])
    topics = {each["name"]: each for each in json.loads(described.stdout)["topics"]}
    assert topics[f"{prefix}leads.latest"]["compacted"]
    assert topics[f"{prefix}leads.latest"]["partitions"] == 1
    table = CliRunner().invoke(app, ["topics", "describe", *where], env={"COLUMNS": "200"})
    assert f"{prefix}lead.timeline" in table.stdout
    assert "missing" not in table.stdout


def test_command_line_says_what_is_wrong(nobody: str, app: typer.Typer) -> None:
    command = ["topics", "create", "--bootstrap", nobody, "--timeout", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "leadstream dev up" in result.stderr


def test_broken_registry_does_not_undo_the_topics(
    kafka: str, prefix: str, nobody: str, app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    where = ["--bootstrap", kafka, "--prefix", prefix, "--partitions", "1"]
    command = ["topics", "create", *where, "--schema-registry", f"http://{nobody}"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "LEADSTREAM_SCHEMA_REGISTRY_URL" in result.stderr
    assert all(state.exists for state in TopicAdmin(kafka, prefix=prefix, partitions=1).describe())
