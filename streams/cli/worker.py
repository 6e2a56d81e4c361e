"""``leadstream worker ROLE``: one worker process of one role."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from streams.cli.options import Bootstrap, Prefix, Workspaces, settings_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker")(worker)


def worker(
    role: Annotated[str, typer.Argument(help="identity, scoring or learning.")],
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    policy: Annotated[
        Literal["live", "barrier"] | None,
        typer.Option(help="Learning clock: newest weights, or those of the last epoch."),
    ] = None,
    instance: Annotated[
        str | None, typer.Option(help="Stable name of this worker, for static membership.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of /metrics, /livez, /readyz; 0 for any.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning, error.")] = None,
) -> None:
    """Run one worker of a role until SIGTERM.

    Start as many as there are partitions, on as many machines as you like: Kafka spreads the
    partitions over them. Exit status 1: it could not go on, its last log line says why; 70: it
    stalled; start it again.
    """
    settings = settings_of(
        bootstrap=bootstrap,
        prefix=prefix,
        workspaces=workspaces,
        policy=policy,
        instance=instance,
        metrics_port=metrics_port,
        log_level=log_level,
    )
    from streams.app import build_worker
    from streams.logs import configure

    configure(settings.log_level)
    sys.exit(build_worker(settings, role).run())
