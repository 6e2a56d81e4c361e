"""What people decide of champions, by ``leadstream models``: preview, promote, roll back, retire.

Each is a command to the learner, which answers; exit status 1 when it refuses.
"""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streams.cli.options import (
    Bootstrap,
    Json,
    Prefix,
    TargetName,
    VersionName,
    WorkspaceName,
    Workspaces,
    looking_at,
)

if TYPE_CHECKING:
    from models.lifecycle.preview import Preview
    from models.workspaces import WorkspaceConfig
    from streams.governance.commands import Answer
    from streams.settings import Settings

REFUSED = 1
_Reason = Annotated[str | None, typer.Option(help="Why, for models.lifecycle.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the learner.")]


def preview(
    workspace: WorkspaceName,
    target: TargetName,
    version: VersionName,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Show how many leads a promotion would move over each subscriber's threshold."""
    from rich.console import Console

    from streams.cli.models_view import show_preview

    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
    name, found, champion = _preview(settings, config, target, version)
    if as_json:
        print(json.dumps({"version": name, "champion": champion, **found.as_dict()}))
    else:
        show_preview(Console(), f"{workspace}/{target}", name, found)


def promote(
    workspace: WorkspaceName,
    target: TargetName,
    version: VersionName,
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

    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
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
    workspace: WorkspaceName,
    target: TargetName,
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

    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
    champion = log.history(log.lifecycle(settings).get((workspace, target), [])).champion
    _ask(yes, as_json, f"roll {workspace}/{target} back from {champion or 'no champion'}?")
    answer = _command(
        settings, config, target, "rollback", timeout, reason=reason, champion=champion or ""
    )
    _told(answer, as_json)


def refit(
    workspace: WorkspaceName,
    target: TargetName,
    reason: _Reason = None,
    timeout: _Timeout = 120.0,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Train a new version from the learner's training window now; it begins in shadow."""
    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
    _told(_command(settings, config, target, "refit", timeout, reason=reason), as_json)


def retire(
    workspace: WorkspaceName,
    target: TargetName,
    version: VersionName,
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

    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
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
