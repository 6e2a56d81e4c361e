"""``leadstream replay``: prove that published scores follow from what was recorded."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from streams.cli.options import Bootstrap, Json, Prefix, Workspaces, settings_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no ISO time such as 2026-11-23T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def replay(
    topic: Annotated[str, typer.Option(help="Topic to replay.")] = "lead.timeline",
    since: Annotated[
        str | None,
        typer.Option("--from", help="ISO time of the append; from the start if left out."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="ISO time of the append; to the end if left out.")
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    workspaces: Workspaces = None,
    as_json: Json = False,
) -> None:
    """Recompute scores from the timeline with the recorded model versions and compare every bit.

    Exit status 0: all equal but ``scored_at``; 1: something differs, the first cases are shown.
    """
    if topic != "lead.timeline":
        raise typer.BadParameter("only lead.timeline can be replayed")
    start, end = _moment(since), _moment(until)
    settings = settings_of(bootstrap=bootstrap, prefix=prefix, workspaces=workspaces)
    from rich.console import Console

    from streams.replay import replay as run

    console = Console(stderr=True)
    with console.status("reading versions and scores …") as status:
        result = run(
            settings, start, end, lambda n: status.update(f"{n:,} timeline records replayed")
        )
    if as_json:
        print(
            json.dumps(
                {
                    "events": result.events,
                    "scores": result.compared,
                    "different": result.different,
                    "missing": result.missing,
                }
            )
        )
    else:
        verdict = "all equal bit for bit" if result.equal else "NOT equal"
        Console().print(
            f"{result.events:,} timeline records, {result.compared:,} scores compared: {verdict}"
            f" ({result.different:,} different, {result.missing:,} missing)",
            highlight=False,
        )
    for example in result.examples[:10]:
        console.print(f"  {example}", highlight=False)
    sys.exit(0 if result.equal else 1)
