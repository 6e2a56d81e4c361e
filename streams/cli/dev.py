"""`leadstream dev`: a real Kafka broker for this machine, with no set-up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from infra.dev.kafka import DevKafka

NOT_RUNNING = 3  # exit status of `status`, as service managers have it


def register(app: typer.Typer) -> None:
    """Add the commands `dev up`, `dev down` and `dev status`."""
    dev = typer.Typer(no_args_is_help=True, help="Run a real Kafka broker on this machine.")
    dev.command("up")(up)
    dev.command("down")(down)
    dev.command("status")(status)
    app.add_typer(dev, name="dev")


def up(
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with no topics.")] = False,
    port: Annotated[
        int | None,
        typer.Option(min=1024, max=65535, help="Loopback port; default: the last one, or a free."),
    ] = None,
) -> None:
    """Start the broker, or do nothing if it runs. It goes on after this command."""
    console = Console(soft_wrap=True)
    with console.status("Starting Kafka …"):
        broker = _broker(console, port=port)
        before = broker.pid
        broker.start(fresh=fresh)
    verb = "runs already" if broker.pid == before else "is up"
    console.print(f"[green]Kafka {verb}[/] at [bold]{broker.bootstrap}[/] (process {broker.pid})")
    console.print(f"data and log: {broker.folder}", style="dim", highlight=False)
    console.print("stop it with: leadstream dev down", style="dim", highlight=False)


def down() -> None:
    """Stop the broker in order. Its data stays for the next `up`."""
    console = Console(soft_wrap=True)
    broker = _broker(console)
    if not broker.running:
        console.print("Kafka does not run.")
        return
    with console.status("Stopping Kafka …"):
        broker.stop()
    console.print("[green]Kafka is stopped[/]; its data is kept (`up --fresh` empties it).")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell whether the broker runs and answers; exit status 3 if it does not run."""
    console = Console(soft_wrap=True)
    broker = _broker(console)
    pid = broker.pid
    facts = {
        "running": pid is not None,
        "answers": broker.answers(),
        "pid": pid,
        "bootstrap": broker.bootstrap if broker.port is not None else None,
        "folder": str(broker.folder),
        "log": str(broker.log),
    }
    if as_json:
        print(json.dumps(facts))
    elif pid is None:
        console.print("Kafka does not run. Start it with: leadstream dev up")
    elif facts["answers"]:
        console.print(f"[green]Kafka runs[/] at [bold]{broker.bootstrap}[/] (process {pid})")
    else:
        console.print(f"[red]Kafka runs (process {pid}) but does not answer[/]; log: {broker.log}")
    if pid is None:
        raise typer.Exit(NOT_RUNNING)


def _broker(console: Console, port: int | None = None) -> DevKafka:
    from infra.dev.kafka import DevKafka

    return DevKafka(port=port, say=lambda line: console.print(line, style="dim", highlight=False))
