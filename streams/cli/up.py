"""``leadstream up``: all roles on this machine, as separate processes that are restarted."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streams.cli.options import Bootstrap, Prefix, Workspaces, settings_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up")(up)


def up(
    roles: Annotated[
        list[str] | None, typer.Argument(help="Roles to run; all of them by default.")
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning, error.")] = None,
) -> None:
    """Run all roles here until Ctrl-C; missing topics are created, dead workers restarted."""
    from streams.app import ROLES
    from streams.supervisor import Supervisor, worker_command
    from streams.topic_admin import TopicAdmin

    settings = settings_of(
        bootstrap=bootstrap, prefix=prefix, workspaces=workspaces, log_level=log_level
    )
    TopicAdmin(settings.kafka_bootstrap, prefix=settings.topic_prefix).create()
    supervisor = Supervisor({r: worker_command(r, settings) for r in roles or ROLES})
    sys.exit(supervisor.run())
