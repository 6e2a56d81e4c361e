"""``leadstream topics``: create the topics on a broker, show them, generate their documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.options import Bootstrap, Json, Prefix, settings_of

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.topic_admin import TopicAdmin, TopicState

_Replication = Annotated[
    int, typer.Option("--replication-factor", min=1, help="Copies of each partition.")
]
_Partitions = Annotated[
    int | None,
    typer.Option(
        "--partitions", min=1, help="Partitions of topics that have more than one by default."
    ),
]
_Registry = Annotated[
    str | None,
    typer.Option(
        "--schema-registry",
        envvar="LEADSTREAM_SCHEMA_REGISTRY_URL",
        help="Register our schemas there too.",
        show_envvar=True,
    ),
]
_Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds for each request to the broker.")
]


def register(app: typer.Typer) -> None:
    """Add the command group ``topics`` to `app`."""
    topics = typer.Typer(no_args_is_help=True, help="Topics and their schemas.")
    topics.command("create")(create)
    topics.command("describe")(describe)
    topics.command("docs")(docs)
    app.add_typer(topics, name="topics")


def create(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    replication_factor: _Replication = 1,
    partitions: _Partitions = None,
    timeout: _Timeout = 15.0,
    schema_registry: _Registry = None,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing; report, and never change, what differs."""
    from schemas.registry import SchemaError
    from streams.engine.errors import LeadstreamError

    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    try:
        made = _admin(settings, replication_factor, partitions, timeout).create()
        registered = _register_schemas(schema_registry, settings.topic_prefix)
    except (LeadstreamError, SchemaError, ValueError) as error:
        raise _failed(error) from error
    present = len(made.states) - len(made.created)
    if as_json:
        report = {
            "created": list(made.created),
            "present": present,
            "differences": _differences(made.states),
            "registered": registered,
        }
        typer.echo(json.dumps(report))
        return
    for name in made.created:
        typer.echo(f"created {name}")
    typer.echo(f"{len(made.created)} topics created, {present} were there")
    if schema_registry:
        typer.echo(f"{len(registered)} schemas registered")
    for name, differences in _differences(made.states).items():
        for text in differences:
            typer.echo(f"not as in the list, left as it is: {name}: {text}", err=True)


def describe(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    replication_factor: _Replication = 1,
    partitions: _Partitions = None,
    timeout: _Timeout = 15.0,
    as_json: Json = False,
) -> None:
    """Show every topic of the list as it is on the broker."""
    from streams.engine.errors import LeadstreamError

    settings = settings_of(bootstrap=bootstrap, prefix=prefix, start_broker=False)
    try:
        states = _admin(settings, replication_factor, partitions, timeout).describe()
    except LeadstreamError as error:
        raise _failed(error) from error
    if as_json:
        typer.echo(json.dumps({"topics": [_as_json(state) for state in states]}))
        return
    _print_table(states)


def docs(
    write: Annotated[bool, typer.Option("--write", help="Write the files.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail if a file is out of date.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Default: the schemas folder.")
    ] = None,
) -> None:
    """Generate asyncapi.yaml and TOPICS.md from the topic list and the schemas."""
    from schemas.local import FOLDER
    from streams.asyncapi import asyncapi_yaml
    from streams.topics_table import topics_markdown

    if write == check:
        raise typer.BadParameter("give one of --write and --check")
    target = folder or FOLDER
    stale = []
    for name, text in (("asyncapi.yaml", asyncapi_yaml()), ("TOPICS.md", topics_markdown())):
        path = target / name
        if path.is_file() and path.read_text("utf-8") == text:
            typer.echo(f"{path} is up to date")
        elif write:
            path.write_text(text, "utf-8")
            typer.echo(f"{path} written")
        else:
            stale.append(path)
    if stale:
        names = ", ".join(map(str, stale))
        typer.echo(f"out of date: {names}; run `leadstream topics docs --write`", err=True)
        raise typer.Exit(1)


def _admin(
    settings: Settings, replicas: int, partitions: int | None, timeout_s: float
) -> TopicAdmin:
    from streams.topic_admin import TopicAdmin

    return TopicAdmin(
        settings.kafka_bootstrap,
        prefix=settings.topic_prefix,
        replication_factor=replicas,
        partitions=partitions,
        timeout_s=timeout_s,
    )


def _register_schemas(url: str | None, prefix: str) -> dict[str, int]:
    """Ids at the registry by subject."""
    if not url:
        return {}
    from schemas.registry import Registry, subject
    from streams.topics import TOPICS, topic_name

    registry = Registry.open(url)
    ids = {}
    for topic in TOPICS.values():
        name = topic_name(topic.name, prefix)
        found = registry.register(topic.schema, name)
        if found is not None:
            ids[subject(name)] = found
    return ids


def _failed(error: Exception) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)


def _differences(states: Sequence[TopicState]) -> dict[str, list[str]]:
    return {
        state.name: [str(each) for each in state.differences]
        for state in states
        if state.differences
    }


def _as_json(state: TopicState) -> dict[str, Any]:
    topic = state.topic
    return {
        "name": state.name,
        "exists": state.exists,
        "partitions": state.partitions,
        "replicas": state.replicas,
        "key": topic.key,
        "schema": topic.schema or None,
        "compacted": topic.compacted,
        "retention_ms": topic.retention_ms,
        "writers": list(topic.writers),
        "readers": list(topic.readers),
        "differences": [
            {"setting": each.setting, "wanted": each.wanted, "found": each.found}
            for each in state.differences
        ],
    }


def _print_table(states: Sequence[TopicState]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from streams.topics_table import kept

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("topic", "partitions", "replicas", "kept", "state"):
        table.add_column(column, no_wrap=column != "state", overflow="fold")
    for state in states:
        condition = "missing" if not state.exists else "as listed"
        if state.differences:
            condition = "\n".join(map(str, state.differences))
        table.add_row(
            state.name,
            "-" if state.partitions is None else str(state.partitions),
            "-" if state.replicas is None else str(state.replicas),
            kept(state.topic),
            condition,
        )
    Console().print(table)
