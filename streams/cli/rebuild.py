"""``leadstream rebuild ROLE``: recompute a role's state without repeating its output."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from streams.cli.options import Bootstrap, Prefix, Workspaces, settings_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rebuild")(rebuild)


def rebuild(
    role: Annotated[str, typer.Argument(help="identity, scoring or learning.")],
    from_start: Annotated[
        bool,
        typer.Option(
            "--from-start",
            help="The source topics were deleted and made anew: write output for all records.",
        ),
    ] = False,
    skip_expired: Annotated[
        bool,
        typer.Option(
            "--skip-expired",
            help="Keep the state and go on behind records that expired before they were processed.",
        ),
    ] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
) -> None:
    """Make a role recompute its state from the start of its sources.

    Stop the role's workers first. Then start them again: they work through the sources once more
    and write nothing until they have come as far as they were.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if from_start and skip_expired:
        raise typer.BadParameter("--from-start and --skip-expired exclude each other")
    settings = settings_of(
        start_broker=False, bootstrap=bootstrap, prefix=prefix, workspaces=workspaces
    )
    from streams import topics
    from streams.app import ROLES, wire, workspaces_of
    from streams.engine.broker import KafkaBroker
    from streams.engine.errors import ConfigurationError
    from streams.engine.rebuilding import rebuild as run

    found = ROLES.get(role)
    if found is None:
        raise ConfigurationError(f"no role {role!r}; there are: {', '.join(ROLES)}")
    wiring = wire(settings, found, workspaces_of(settings))
    outputs = [t.name for t in topics.TOPICS.values() if role in t.writers and t.codec == "columns"]
    done = run(
        wiring,
        KafkaBroker(settings.kafka_bootstrap),
        outputs,
        from_start=from_start,
        skip_expired=skip_expired,
        say=lambda line: console.print(f"[dim]{line}[/dim]"),
    )
    for each in done:
        for topic, start in each.start.items():
            silent = each.silent_below.get(topic, start)
            line = f"{topic}-{each.partition}: reads from {start}"
            line += f", writes from {silent}" if silent > start else ""
            console.print(line)
        for topic, count in each.expired.items():
            console.print(
                f"[yellow]{topic}-{each.partition}: {count} records have expired and are not in "
                "the state[/yellow]"
            )
    console.print(f"Start `leadstream worker {role}` now.")
