"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streams.settings import Settings, load

Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        help="Kafka's host:port,…; else LEADSTREAM_KAFKA_BOOTSTRAP, else the dev broker.",
        show_default=False,
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", help="Put before every topic and group name.", show_default=False),
]
Workspaces = Annotated[
    Path | None,
    typer.Option("--workspaces", help="Folder of workspace configurations.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")]


def settings_of(*, start_broker: bool = True, **options: Any) -> Settings:
    """Environment and options as settings; the dev broker stands in where no broker is given.

    Args:
        start_broker: Start the dev broker when it does not run.
    """
    bootstrap = options.pop("bootstrap", None)
    renamed = {"prefix": "topic_prefix"}
    settings = load(kafka_bootstrap=bootstrap, **{renamed.get(k, k): v for k, v in options.items()})
    if not settings.kafka_bootstrap:
        from infra.dev.kafka import bootstrap_servers

        settings = settings.model_copy(
            update={"kafka_bootstrap": bootstrap_servers(start=start_broker)}
        )
    return settings
