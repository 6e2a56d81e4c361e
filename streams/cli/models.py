"""``leadstream models``: which champion serves, why, what would change, and who decides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import models_commands
from streams.cli.options import (
    Bootstrap,
    Json,
    Prefix,
    TargetName,
    VersionName,
    WorkspaceName,
    Workspaces,
    looking,
    looking_at,
)

if TYPE_CHECKING:
    from models.workspaces import WorkspaceConfig
    from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command group."""
    models = typer.Typer(no_args_is_help=True, help="The champions of all targets.")
    for name, command in (
        ("list", list_targets),
        ("show", show),
        ("history", history),
        ("diff", diff),
        ("shadow-report", shadow_report),
        ("preview", models_commands.preview),
        ("promote", models_commands.promote),
        ("rollback", models_commands.rollback),
        ("refit", models_commands.refit),
        ("retire", models_commands.retire),
        ("mirror", mirror),
    ):
        models.command(name)(command)
    app.add_typer(models, name="models")


def list_targets(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show each target's champion, challenger, live quality and alarms."""
    from rich.console import Console

    from streams.cli.models_view import show_list
    from streams.governance.status import statuses

    settings, configs = looking(bootstrap, prefix, workspaces)
    found = statuses(settings, configs)
    if as_json:
        print(json.dumps({"targets": [asdict(each) for each in found]}))
    else:
        show_list(Console(), found)


def show(
    workspace: WorkspaceName,
    target: TargetName,
    version: VersionName = "champion",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show a version: what it was made of, what the gate said, its largest terms in words."""
    from rich.console import Console

    from streams.cli.models_view import show_version

    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
    found = _versions(settings, config, target, version)[0]
    if as_json:
        print(json.dumps(_plain(found)))
    else:
        show_version(Console(), config, target, found)


def history(
    workspace: WorkspaceName,
    target: TargetName,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show everything that happened to a target's models, and what was in production when."""
    from rich.console import Console

    from streams.cli.models_view import show_history
    from streams.governance import log

    settings, _ = looking_at(workspace, target, bootstrap, prefix, workspaces)
    events = log.lifecycle(settings).get((workspace, target), [])
    found = log.history(events)
    if as_json:
        periods = [asdict(period) for period in found.periods]
        told = {"champion": found.champion, "challenger": found.challenger, "states": found.states}
        print(json.dumps({**told, "in_production": periods, "log": events}))
    else:
        show_history(Console(), f"{workspace}/{target}", found, events)


def diff(
    workspace: WorkspaceName,
    target: TargetName,
    before: VersionName,
    after: VersionName,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show how two versions differ: data, parameters, figures, terms."""
    from rich.console import Console

    from streams.cli.models_view import show_difference
    from streams.governance.versions import compare

    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
    found = compare(*_versions(settings, config, target, before, after))
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        show_difference(Console(), config, found)


def shadow_report(
    workspace: WorkspaceName,
    target: TargetName,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Compare the challenger with the champion on the labels that came since its trial began."""
    from rich.console import Console

    from streams.cli.models_view import show_report
    from streams.engine.errors import ConfigurationError
    from streams.governance.log import lifecycle, newest_metrics
    from streams.governance.state import learner_of
    from streams.governance.status import segment_losses, status_of

    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
    learner, key = learner_of(settings, config, target), (workspace, target)
    status = status_of(
        learner, lifecycle(settings).get(key, []), newest_metrics(settings).get(key, {})
    )
    if status.challenger is None:
        raise ConfigurationError(
            f"{workspace}/{target} has no challenger on trial. Fix: leadstream models refit "
            f"{workspace} {target}, or leadstream train champion {workspace} {target} --offer"
        )
    gate = learner.champion.slot.report()
    segments = segment_losses(learner, config.segment_names)
    if as_json:
        told = {**asdict(status), "segments": [asdict(each) for each in segments]}
        print(json.dumps({**told, "gate": None if gate is None else asdict(gate)}))
    else:
        show_report(Console(), f"{workspace}/{target}", status, gate, segments)


def mirror(
    registry: Annotated[
        str | None,
        typer.Option(help="MLflow's URL or sqlite:///file; the folder `registry` at home if none."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on every few seconds.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Bring an MLflow registry up to date: artifacts, signatures, lineage, states, aliases."""
    import time

    from rich.console import Console

    from models.lifecycle.registry import ModelRegistry, RegistryError
    from streams.cli.import_ import home
    from streams.engine.errors import ConfigurationError
    from streams.governance.mirror import Mirror

    settings, configs = looking(bootstrap, prefix, workspaces)
    console = Console(stderr=True)
    try:
        if registry and registry.startswith("sqlite:///"):  # else MLflow makes a folder here
            beside = Path(registry.removeprefix("sqlite:///")).absolute().parent / "artifacts"
            place = ModelRegistry(registry, beside)
        elif registry:
            place = ModelRegistry(registry)
        else:
            place = ModelRegistry.local(home() / "registry")
        following = Mirror(settings, configs, place)
        while True:
            found = following.once(lambda what: console.print(what, style="dim"))
            if as_json:
                print(json.dumps(asdict(found)), flush=True)
            elif found.events or found.versions or not follow:
                Console().print(f"{found.events:,} events, {found.versions:,} versions brought in")
            for refused in found.refused:
                console.print(f"not taken: {refused}", highlight=False)
            if not follow:
                return
            time.sleep(5.0)
    except RegistryError as error:
        raise ConfigurationError(str(error)) from error


def _versions(settings: Settings, config: WorkspaceConfig, target: str, *names: str) -> list[Any]:
    from streams.governance import log, versions
    from streams.governance.state import learner_of

    found = log.history(log.lifecycle(settings).get((config.name, target), []))
    whole = [versions.resolve(found, f"{config.name}/{target}", name) for name in names]
    learner = learner_of(settings, config, target)
    return [versions.version_of(settings, config, learner, found, name) for name in whole]


def _plain(found: Any) -> dict[str, Any]:
    import msgspec

    events: Sequence[Any] = found.events
    return {
        "version": found.name,
        "state": found.state,
        "lineage": msgspec.to_builtins(found.lineage),
        "events": [event.record() for event in events],
        "terms": found.terms,
    }
