"""``leadstream up``: all roles on this machine, as separate processes that are restarted."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streams.cli.options import Bootstrap, Prefix, Workspaces, settings_of
from streams.settings import load


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
    """Run all roles here until Ctrl-C; missing topics are created, dead workers restarted.

    A wrong configuration is said before anything starts, with exit status 2.
    """
    from streams.app import ROLES, workspaces_of
    from streams.engine.errors import ConfigurationError
    from streams.supervisor import Supervisor, worker_command
    from streams.topic_admin import TopicAdmin

    unknown = sorted(set(roles or ()) - set(ROLES))
    if unknown:
        raise ConfigurationError(f"no role {', '.join(unknown)}; there are: {', '.join(ROLES)}")
    workspaces_of(load(workspaces=workspaces))
    settings = settings_of(
        bootstrap=bootstrap, prefix=prefix, workspaces=workspaces, log_level=log_level
    )
    TopicAdmin(settings.kafka_bootstrap, prefix=settings.topic_prefix).create()
    typer.echo(f"workers start on {settings.kafka_bootstrap}; Ctrl-C stops them", err=True)
    supervisor = Supervisor({r: worker_command(r, settings) for r in roles or ROLES})
    sys.exit(supervisor.run())
