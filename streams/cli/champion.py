"""``leadstream champion``: the batch model that stands beside the online one."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.options import Bootstrap, Prefix, Workspaces, settings_of

_Workspace = Annotated[str, typer.Argument(help="Workspace name.")]
_Target = Annotated[str, typer.Argument(help="Target name.")]
_Reason = Annotated[str, typer.Option(help="Why, for models.lifecycle.")]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    champion = typer.Typer(no_args_is_help=True, help="The champion slot of a target.")
    champion.command("train")(train)
    champion.command("publish")(publish)
    champion.command("clear")(clear)
    app.add_typer(champion, name="champion")


def _config(settings: Any, workspace: str, target: str) -> Any:
    from streams.app import workspaces_of
    from streams.engine.errors import ConfigurationError

    configs = workspaces_of(settings)
    if workspace not in configs or target not in [t.name for t in configs[workspace].targets]:
        raise ConfigurationError(f"{workspace}/{target} is not configured in {settings.workspaces}")
    return configs[workspace]


def train(
    workspace: _Workspace,
    target: _Target,
    out: Annotated[Path | None, typer.Option(help="Write the ONNX graph here as well.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Publish it at once.")] = False,
    reason: _Reason = "trained from lead.labels",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
) -> None:
    """Fit an additive champion on all labels so far and show its figures in the order of time."""
    from rich.console import Console

    from streams import champion

    settings = settings_of(bootstrap=bootstrap, prefix=prefix, workspaces=workspaces)
    config = _config(settings, workspace, target)
    trained = champion.train(settings, config, target)
    if out is not None:
        out.write_bytes(trained.artifact)
    known = {k: v for k, v in trained.held_out.as_dict().items() if v is not None}
    console = Console()
    console.print(
        f"{trained.labels:,} labels; on the newest fifth: "
        + ", ".join(f"{k} {v:.4f}" for k, v in known.items() if isinstance(v, float)),
        highlight=False,
    )
    if promote:
        version = champion.publish(
            settings, config, target, trained.artifact,
            reason=reason, actor=getpass.getuser(),
            figures_={k: float(v) for k, v in known.items()},
        )  # fmt: skip
        console.print(f"champion {version} is in its slot; scorers take it at their next batch")
    else:
        console.print("not published; add --promote, or publish the file of --out later")


def publish(
    workspace: _Workspace,
    target: _Target,
    file: Annotated[Path, typer.Argument(help="ONNX graph of a champion.", exists=True)],
    reason: _Reason = "published by hand",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
) -> None:
    """Verify an ONNX graph and put it into the slot."""
    from rich.console import Console

    from streams import champion

    settings = settings_of(bootstrap=bootstrap, prefix=prefix, workspaces=workspaces)
    config = _config(settings, workspace, target)
    version = champion.publish(
        settings, config, target, file.read_bytes(), reason=reason, actor=getpass.getuser()
    )
    Console().print(f"champion {version} is in its slot; scorers take it at their next batch")


def clear(
    workspace: _Workspace,
    target: _Target,
    reason: _Reason = "cleared by hand",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
) -> None:
    """Empty the slot: the online model scores alone from the next batch on."""
    from rich.console import Console

    from streams import champion

    settings = settings_of(bootstrap=bootstrap, prefix=prefix, workspaces=workspaces)
    config = _config(settings, workspace, target)
    champion.publish(settings, config, target, None, reason=reason, actor=getpass.getuser())
    Console().print("the slot is empty")
