"""``leadstream train champion``: a champion from all labels that hold, by hand."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.evaluate import progress_bar
from streams.cli.models_commands import REFUSED
from streams.cli.options import (
    Bootstrap,
    Json,
    Prefix,
    TargetName,
    WorkspaceName,
    Workspaces,
    looking,
    looking_at,
)

if TYPE_CHECKING:
    from rich.console import Console

    from streams.governance.training import Trained


def register(app: typer.Typer) -> None:
    """Add the command group."""
    train = typer.Typer(no_args_is_help=True, help="Train models by hand.")

    @train.callback()
    def _group() -> None:
        """Train models by hand."""

    train.command("champion")(champion)
    train.command("prior")(prior)
    app.add_typer(train, name="train")


def champion(
    workspace: WorkspaceName,
    target: TargetName,
    out: Annotated[Path | None, typer.Option(help="Write the ONNX graph here.")] = None,
    offer: Annotated[
        bool, typer.Option("--offer", help="Give it to the learner; it begins in shadow.")
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Offer it and put it into use at once.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for models.lifecycle.")] = "trained by hand",
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for it.")] = 60.0,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Fit a champion on the labels so far, in the order of time, and judge it on held-out ones.

    Labels that were taken back are left out. The newest fifth judges a champion fitted on the rest,
    mixed with what was published then; what is written or offered is fitted on all. Its graph is
    proven equal to the model before. Exit status 1: the learner refused it.
    """
    from rich.console import Console

    from models.champion.artifact import ArtifactError
    from streams.engine.errors import ConfigurationError
    from streams.governance import log
    from streams.governance.labels import current_labels
    from streams.governance.training import train

    settings, config = looking_at(workspace, target, bootstrap, prefix, workspaces)
    if out is not None and not out.parent.is_dir():
        raise ConfigurationError(f"--out: there is no folder {out.parent}. Fix: make it first")
    console = Console(stderr=True)
    with progress_bar(console, "labels read") as tell:
        found = current_labels(settings, config, target, tell)
    labels, _ = found.labels()
    parent = log.history(log.lifecycle(settings).get((workspace, target), [])).champion
    with console.status(f"fitting {len(labels):,} labels"):
        try:
            trained = train(config, target, labels, parent)
        except ArtifactError as error:
            raise ConfigurationError(str(error)) from error
    if out is not None:
        out.write_bytes(trained.artifact)
    if not as_json:
        _show(Console(), trained, f"{workspace}/{target}", found.taken_back)
    told: dict[str, Any] = {"refused": None, "events": []}
    if offer or promote:
        told = _offered(settings, trained, reason, promote, timeout)
    if as_json:
        print(json.dumps({**_plain(trained), "taken_back": found.taken_back, **told}))
    else:
        where = "" if out is None else f", written to {out}"
        given = "offered" if told["events"] else "not offered: add --offer or --promote"
        Console().print(f"version {trained.version}{where}; {given}", highlight=False)
        for event in told["events"]:
            line = f"- {event['action']} {event['version']}: {event['reason']}"
            Console().print(line, highlight=False, markup=False)
    if told["refused"] is not None:
        raise typer.Exit(REFUSED)


def prior(
    workspaces_: Annotated[
        list[str], typer.Argument(metavar="WORKSPACE...", help="Workspaces to learn from.")
    ],
    target: Annotated[str, typer.Option(help="Target name, the same in all of them.")],
    out: Annotated[Path, typer.Option(help="Write the pooled weights here.")],
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
) -> None:
    """Pool what workspaces learned, so that a new one need not start from nothing.

    Put the file beside the new workspace's workspace.yaml and name it there as `online.prior`. Its
    inputs are matched by name; what its own labels say replaces the pooled weights as they come.
    """
    from rich.console import Console

    from models.online.prior import save_prior
    from streams.governance.pooling import pool

    settings, configs = looking(bootstrap, prefix, workspaces)
    made = pool(settings, configs, workspaces_, target)
    save_prior(made, out)
    Console().print(
        f"{out}: {len(made.weights):,} weights from {made.labels:,} labels of "
        f"{', '.join(made.sources)}",
        highlight=False,
    )


def _offered(
    settings: Any, trained: Trained, reason: str, promote: bool, timeout_s: float
) -> dict[str, Any]:
    """Give it to the learner, and put it into use if that is wanted."""
    import msgspec

    from models.lifecycle.transitions import Command
    from streams.governance.commands import Offer, send

    where, actor = (trained.lineage.workspace, trained.lineage.target), getpass.getuser()
    details = {"lineage": msgspec.json.encode(trained.lineage).decode()}
    figures = trained.lineage.metrics
    given = Offer(trained.artifact, actor, reason, figures, details)
    answer = send(settings, *where, given, timeout_s=timeout_s)
    events, refused = [*answer.events], answer.refused
    if promote and refused is None and not any(e.action == "promoted" for e in events):
        command = Command("promote", trained.version, actor, reason)
        answer = send(settings, *where, command, timeout_s=timeout_s)
        events, refused = [*events, *answer.events], answer.refused
    return {"refused": refused, "events": [event.record() for event in events]}


def _show(console: Console, trained: Trained, where: str, taken_back: int) -> None:
    from streams.cli.models_view import table

    line = trained.lineage
    console.print(
        f"{where}: fitted on {line.labels:,} labels, {line.positives:,} of them positive"
        + (f"; {taken_back:,} were taken back" if taken_back else ""),
        highlight=False,
    )
    if trained.gate is None or trained.alone is None or trained.published is None:
        console.print("too few labels to hold some out: nothing is known of its quality")
        return
    own, rival = trained.alone.as_dict(), trained.published.as_dict()
    mixed = {n: trained.gate.figures.get(n) for n in ("auc", "log_loss", "ece")}
    rows = [
        (words, *("-" if v is None else f"{v:.4f}" for v in (own[n], mixed[n], rival[n])))
        for n, words in (("auc", "AUC"), ("log_loss", "log-loss"), ("ece", "ECE"))
    ]
    title = f"On the newest {trained.alone.labels:,} labels, fitted on the older ones"
    columns = ("", "#champion alone", "#mixed with what was published", "#published")
    console.print(table(title, columns, rows))
    console.print("the gate passes it" if trained.gate.passed else "the gate does not pass it")
    for reason in trained.gate.reasons:
        console.print(f"- {reason}", highlight=False)


def _plain(trained: Trained) -> dict[str, Any]:
    import msgspec

    def figures(found: Any) -> Any:
        return None if found is None else found.as_dict()

    return {
        "version": trained.version,
        "lineage": msgspec.to_builtins(trained.lineage),
        "gate": None if trained.gate is None else asdict(trained.gate),
        "alone": figures(trained.alone),
        "published": figures(trained.published),
    }
