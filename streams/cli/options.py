"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.settings import Settings, load

if TYPE_CHECKING:
    from models.workspaces import WorkspaceConfig

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
WorkspaceName = Annotated[str, typer.Argument(metavar="WORKSPACE", help="Workspace name.")]
TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="Target name.")]
VersionName = Annotated[
    str,
    typer.Argument(
        metavar="VERSION", help="Version, its beginning, or `champion` or `challenger`."
    ),
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


def looking(
    bootstrap: str | None, prefix: str | None, workspaces: Path | None
) -> tuple[Settings, dict[str, WorkspaceConfig]]:
    """Settings and configurations of a command that only looks; it starts no broker."""
    from streams.app import workspaces_of
    from streams.logs import configure

    configure("error")
    configs = dict(workspaces_of(load(workspaces=workspaces)))
    settings = settings_of(
        bootstrap=bootstrap, prefix=prefix, workspaces=workspaces, start_broker=False
    )
    return settings, configs


def configured(configs: dict[str, WorkspaceConfig], workspace: str, target: str) -> WorkspaceConfig:
    """The workspace that has this target.

    Raises:
        ConfigurationError: there is none; names those there are.
    """
    from streams.engine.errors import ConfigurationError

    config = configs.get(workspace)
    if config is None or target not in [t.name for t in config.targets]:
        known = ", ".join(f"{c.name} {t.name}" for c in configs.values() for t in c.targets)
        raise ConfigurationError(
            f"no target {workspace} {target} is configured. Fix: name one of: {known}"
        )
    return config


def looking_at(
    workspace: str,
    target: str,
    bootstrap: str | None,
    prefix: str | None,
    workspaces: Path | None,
) -> tuple[Settings, WorkspaceConfig]:
    """Settings, and the configuration that has this target, which is checked first.

    Raises:
        ConfigurationError: there is no such target.
    """
    from streams.app import workspaces_of
    from streams.logs import configure

    configure("error")
    config = configured(dict(workspaces_of(load(workspaces=workspaces))), workspace, target)
    settings = settings_of(
        bootstrap=bootstrap, prefix=prefix, workspaces=workspaces, start_broker=False
    )
    return settings, config
