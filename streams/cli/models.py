"""``leadstream models``: which champion serves, why, what would change, and who decides."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streams.cli.options import Bootstrap, Json, Prefix, Workspaces, settings_of

if TYPE_CHECKING:
    from models.lifecycle.preview import Preview
    from models.workspaces import WorkspaceConfig
    from streams.governance.commands import Answer
    from streams.settings import Settings

REFUSED = 1
_Workspace = Annotated[str, typer.Argument(help="Workspace name.")]
_Target = Annotated[str, typer.Argument(help="Target name.")]
_Version = Annotated[
    str, typer.Argument(help="Version, its beginning, or `champion` or `challenger`.")
]
_Reason = Annotated[str | None, typer.Option(help="Why, for models.lifecycle.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the learner.")]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    models = typer.Typer(no_args_is_help=True, help="The champions of all targets.")
    for name, command in (
        ("list", list_targets),
        ("show", show),
        ("history", history),
        ("diff", diff),
        ("shadow-report", shadow_report),
        ("preview", preview),
        ("promote", promote),
        ("rollback", rollback),
        ("refit", refit),
        ("retire", retire),
        ("mirror", mirror),
    ):
        models.command(name)(command)
    app.add_typer(models, name="models")


def open_settings(
    bootstrap: str | None, prefix: str | None, workspaces: Path | None
) -> tuple[Settings, dict[str, WorkspaceConfig]]:
    """Settings and configurations of a command that only looks; it starts no broker."""
    from streams.app import workspaces_of
    from streams.logs import configure
    from streams.settings import load

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

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    found = statuses(settings, configs)
    if as_json:
        print(json.dumps({"targets": [asdict(each) for each in found]}))
    else:
        show_list(Console(), found)


def show(
    workspace: _Workspace,
    target: _Target,
    version: Annotated[
        str, typer.Argument(help="Version, its beginning, or `champion` or `challenger`.")
    ] = "champion",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show a version: what it was made of, what the gate said, its largest terms in words."""
    from rich.console import Console

    from streams.cli.models_view import show_version

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    config = configured(configs, workspace, target)
    found = _versions(settings, config, target, version)[0]
    if as_json:
        print(json.dumps(_plain(found)))
    else:
        show_version(Console(), config, target, found)


def history(
    workspace: _Workspace,
    target: _Target,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show everything that happened to a target's models, and what was in production when."""
    from rich.console import Console

    from streams.cli.models_view import show_history
    from streams.governance import log

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    configured(configs, workspace, target)
    events = log.lifecycle(settings).get((workspace, target), [])
    found = log.history(events)
    if as_json:
        periods = [asdict(period) for period in found.periods]
        told = {"champion": found.champion, "challenger": found.challenger, "states": found.states}
        print(json.dumps({**told, "in_production": periods, "log": events}))
    else:
        show_history(Console(), f"{workspace}/{target}", found, events)


def diff(
    workspace: _Workspace,
    target: _Target,
    before: _Version,
    after: _Version,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show how two versions differ: data, parameters, figures, terms."""
    from rich.console import Console

    from streams.cli.models_view import show_difference
    from streams.governance.versions import compare

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    config = configured(configs, workspace, target)
    found = compare(*_versions(settings, config, target, before, after))
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        show_difference(Console(), config, found)


def shadow_report(
    workspace: _Workspace,
    target: _Target,
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

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    config = configured(configs, workspace, target)
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


def preview(
    workspace: _Workspace,
    target: _Target,
    version: _Version,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show how many leads a promotion would move over each subscriber's threshold."""
    from rich.console import Console

    from streams.cli.models_view import show_preview

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    config = configured(configs, workspace, target)
    name, found, champion = _preview(settings, config, target, version)
    if as_json:
        print(json.dumps({"version": name, "champion": champion, **found.as_dict()}))
    else:
        show_preview(Console(), f"{workspace}/{target}", name, found)


def promote(
    workspace: _Workspace,
    target: _Target,
    version: _Version,
    yes: _Yes = False,
    reason: _Reason = None,
    timeout: _Timeout = 30.0,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Put a version into use, after showing what that changes; refused if another one came first.

    Scorers take it at their next batch.
    """
    from rich.console import Console

    from streams.cli.models_view import show_preview
    from streams.engine.errors import ConfigurationError

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    config = configured(configs, workspace, target)
    name, found, champion = _preview(settings, config, target, version)
    if not as_json:
        show_preview(Console(), f"{workspace}/{target}", name, found)
    if not yes:
        if as_json:
            raise ConfigurationError("--json cannot ask. Fix: add --yes")
        typer.confirm(f"promote {name} in place of {champion or 'no champion'}?", abort=True)
    answer = _command(
        settings, config, target, "promote", timeout,
        version=name, reason=reason, champion=champion or "",
    )  # fmt: skip
    _told(answer, as_json, preview=found.as_dict())


def rollback(
    workspace: _Workspace,
    target: _Target,
    yes: _Yes = False,
    reason: _Reason = None,
    timeout: _Timeout = 30.0,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Go back to the champion before; scorers are back at their next batch."""
    from streams.governance import log

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    config = configured(configs, workspace, target)
    champion = log.history(log.lifecycle(settings).get((workspace, target), [])).champion
    _ask(yes, as_json, f"roll {workspace}/{target} back from {champion or 'no champion'}?")
    answer = _command(
        settings, config, target, "rollback", timeout, reason=reason, champion=champion or ""
    )
    _told(answer, as_json)


def refit(
    workspace: _Workspace,
    target: _Target,
    reason: _Reason = None,
    timeout: _Timeout = 120.0,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Train a new version from the learner's training window now; it begins in shadow."""
    settings, configs = open_settings(bootstrap, prefix, workspaces)
    config = configured(configs, workspace, target)
    _told(_command(settings, config, target, "refit", timeout, reason=reason), as_json)


def retire(
    workspace: _Workspace,
    target: _Target,
    version: _Version,
    yes: _Yes = False,
    reason: _Reason = None,
    timeout: _Timeout = 30.0,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Take a version out of use or off its trial; without a champion the online model scores."""
    from streams.governance import log, versions

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    config = configured(configs, workspace, target)
    found = log.history(log.lifecycle(settings).get((workspace, target), []))
    name = versions.resolve(found, f"{workspace}/{target}", version)
    _ask(yes, as_json, f"retire {name} of {workspace}/{target}, {found.states[name]} now?")
    _told(
        _command(
            settings, config, target, "retire", timeout,
            version=name, reason=reason, champion=found.champion or "",
        ),
        as_json,
    )  # fmt: skip


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

    settings, configs = open_settings(bootstrap, prefix, workspaces)
    console = Console(stderr=True)
    try:
        place = ModelRegistry(registry) if registry else ModelRegistry.local(home() / "registry")
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


def _preview(
    settings: Settings, config: WorkspaceConfig, target: str, version: str
) -> tuple[str, Preview, str | None]:
    """The version's whole name, the preview, and the champion that is in use."""
    from streams.governance import log, versions
    from streams.governance.preview import promotion_preview
    from streams.governance.state import learner_of

    found = log.history(log.lifecycle(settings).get((config.name, target), []))
    name = versions.resolve(found, f"{config.name}/{target}", version)
    learner = learner_of(settings, config, target)
    made = promotion_preview(settings, config, target, name, learner)
    return name, made, learner.champion.version


def _ask(yes: bool, as_json: bool, question: str) -> None:
    from streams.engine.errors import ConfigurationError

    if yes:
        return
    if as_json:
        raise ConfigurationError("--json cannot ask. Fix: add --yes")
    typer.confirm(question, abort=True)


def _command(
    settings: Settings,
    config: WorkspaceConfig,
    target: str,
    action: Literal["promote", "rollback", "refit", "retire"],
    timeout_s: float,
    **fields: Any,
) -> Answer:
    from models.lifecycle.transitions import Command
    from streams.governance.commands import send

    command = Command(action, actor=getpass.getuser(), **fields)
    return send(settings, config.name, target, command, timeout_s=timeout_s)


def _told(answer: Answer, as_json: bool, **more: Any) -> None:
    """Show what the learner did; exit status 1 when it refused."""
    from rich.console import Console

    from streams.cli.models_view import show_answer

    if as_json:
        plain = [event.record() for event in answer.events]
        print(json.dumps({"refused": answer.refused, "events": plain, **more}))
    else:
        show_answer(Console(), answer.events)
    if answer.refused is not None:
        raise typer.Exit(REFUSED)


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
