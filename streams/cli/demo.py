"""``leadstream demo``: from nothing to scored leads on this machine, and a look at them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from streams.cli.options import Bootstrap, Json, Prefix

if TYPE_CHECKING:
    from streams.demo.plan import Plan
    from streams.demo.state import DemoState

DEFAULT_PREFIX = "demo."
_LINE_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Stream for so long at most.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1, help="Events a second of both workspaces; by default all of them in 75 s."
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the workers and the broker running.")
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Only stop what an earlier --keep left running.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="One line a second instead of the live view.")
    ] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Stream two example workspaces through a real broker and watch the scores.

    Starts a Kafka broker if none is given, a worker process of each role, and sends bank contacts
    as CRM events and a shop's sessions as web events. Topics are its own (demo.*), made anew each
    time. With LEADSTREAM_DATA it streams the whole data sets, else the excerpts that come with the
    project. Ctrl-C ends it in good order. Exit status 0: every event was scored exactly once.
    """
    began = time.monotonic()
    console = Console(stderr=as_json)
    broker = _Broker(bootstrap or os.environ.get("LEADSTREAM_KAFKA_BOOTSTRAP", ""))
    if stop:
        _stop_leftovers(console, broker)
        return
    plan = _plan(prefix or DEFAULT_PREFIX, seconds, rate)
    with ExitStack() as after:
        if not keep:
            after.callback(broker.stop, console)
        state = _run(console, broker, plan, began, keep=keep, plain=plain)
        _sum_up(console, broker, plan, state, keep)
    if as_json:
        from streams.demo.summary import as_json as figures

        print(figures(state))
    if not state.delivery.holds:
        raise typer.Exit(1)


def _run(
    console: Console, broker: _Broker, plan: Plan, began: float, *, keep: bool, plain: bool
) -> DemoState:
    with ExitStack() as shown:
        shown.enter_context(_logs_to(plan.folder / "demo.log"))
        show = shown.enter_context(_shown(console, plain or not console.is_terminal))
        address = shown.enter_context(ThreadPoolExecutor(1, "broker")).submit(broker.start)
        from streams.demo.run import Demo  # takes a second, as the broker does

        demo = Demo(plan, show, began)
        shown.enter_context(_stopped_by_signals(demo.stop.set))
        demo.run(address, lambda: broker.said, keep=keep)
    return demo.state


def _sum_up(console: Console, broker: _Broker, plan: Plan, state: DemoState, keep: bool) -> None:
    from streams.demo import summary
    from streams.demo.processes import note

    summary.show(console, state)
    left: list[str] = []
    if keep:
        note(plan.folder, {"broker": broker.ours})
        left = ["the workers", *(["the broker"] if broker.ours else [])]
    up = keep or not broker.ours
    summary.where_next(console, plan.settings.topic_prefix, plan.folder, left, up)


class _Broker:
    """The broker that was given, or the dev broker, which is stopped again if we started it."""

    def __init__(self, given: str) -> None:
        self._given = given
        self.ours = False
        self.said = ""

    def start(self) -> str:
        """Return its address; ``said`` tells what takes long."""
        if self._given:
            return self._given
        from infra.dev.kafka import DevKafka

        def say(line: str) -> None:
            self.said = line

        kafka = DevKafka(say=say)
        self.ours = not kafka.running
        return kafka.start().bootstrap

    def stop(self, console: Console) -> None:
        """Stop it if :meth:`start` started it."""
        if not self.ours:
            return
        from infra.dev.kafka import DevKafka

        with console.status("stopping the broker …"):
            DevKafka(say=lambda said: console.print(said, style="dim")).stop()
        console.print("the broker is stopped; its data is kept", style="dim")


def _folder() -> Path:
    from infra.dev.places import dev_folder

    return dev_folder().parent / "demo"


def _plan(prefix: str, seconds: float | None, rate: float | None) -> Plan:
    from streams.demo.plan import Plan
    from streams.settings import Settings, load

    data = os.environ.get("LEADSTREAM_DATA")
    examples = Settings.model_fields["workspaces"].default  # whatever the environment names
    settings = load(topic_prefix=prefix, policy="live", workspaces=examples)
    return Plan(settings, _folder(), seconds, rate, Path(data) if data else None)


def _stop_leftovers(console: Console, broker: _Broker) -> None:
    from streams.demo.processes import note, noted, only_one, stop_leftovers

    folder = _folder()
    with only_one(folder), console.status("stopping …"):
        count = stop_leftovers(folder)
        broker.ours = bool(noted(folder).get("broker"))
        note(folder, {"broker": False})
    console.print(f"{count} workers stopped")
    broker.stop(console)


@contextmanager
def _logs_to(file: Path) -> Iterator[None]:
    """Write what libraries and the supervisor log to a file: on the terminal is the view."""
    import logging

    import structlog

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as log:
        logging.basicConfig(stream=log, level=logging.WARNING, force=True)
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))
        try:
            yield
        finally:
            logging.basicConfig(handlers=[logging.NullHandler()], force=True)
            structlog.reset_defaults()


@contextmanager
def _shown(console: Console, plain: bool) -> Iterator[Callable[[DemoState], None]]:
    """A function that shows a state: on a screen of its own, or as lines."""
    from streams.demo import view

    if plain:
        yield _lines(console)
        return
    from rich.live import Live

    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda state: live.update(view.screen(state), refresh=True)


def _lines(console: Console) -> Callable[[DemoState], None]:
    from streams.demo import view

    steps: set[str] = set()
    due = 0.0

    def tell(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(state: DemoState) -> None:
        nonlocal due
        for step in state.steps:
            if step.seconds is not None and step.what not in steps:
                steps.add(step.what)
                tell(view.step_line(step))
        text = view.line(state)
        if state.elapsed_s >= due:
            tell(text)
            due = state.elapsed_s + _LINE_S

    return show


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first SIGINT or SIGTERM; a second one ends at once."""
    before: dict[signal.Signals, Any] = {}

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()
        for each in before:
            signal.signal(each, signal.default_int_handler)

    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, handle)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
