"""What a person sees of an import: progress, the first events, the summary."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.files.importer import ImportResult
    from connectors.files.importer import Progress as Step
    from connectors.files.rejects import RejectReport

_LINE_EVERY_S = 2.0


@contextmanager
def progress_view(console: Console) -> Iterator[Callable[[Step], None]]:
    """Function that shows the progress it is given: a bar, or plain lines off a terminal."""
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[note]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("importing", total=1.0, note="")

        def show(step: Step) -> None:
            bar.update(task, completed=_fraction(step), note=_note(step))

        yield show


def _plain_lines(console: Console) -> Callable[[Step], None]:
    last = time.monotonic()

    def show(step: Step) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_EVERY_S:
            last = time.monotonic()
            percent = f"{100 * _fraction(step):.0f} %"
            console.print(f"import {percent} {_note(step)}", highlight=False, soft_wrap=True)

    return show


def _fraction(step: Step) -> float:
    """Part that is done: of what was read when files stream, of the records once all are read."""
    sent = step.resumed + step.sent
    if step.read.fraction < 1.0:
        return step.read.fraction
    return sent / max(1, sent + step.read.waiting)


def _note(step: Step) -> str:
    rate = step.sent / step.elapsed_s if step.elapsed_s > 0 else 0.0
    moment = "" if step.event_time_us is None else f", event time {_moment(step.event_time_us)}"
    return f"{step.resumed + step.sent:,} events, {rate:,.0f}/s{moment}"


def _moment(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M")


def show_result(console: Console, result: ImportResult, command: str) -> None:
    """The summary line, and how to go on after a stop."""
    step = result.progress
    if result.status == "already_done":
        console.print(
            f"already imported: {step.acknowledged:,} events. --fresh sends them again; their ids"
            " stay the same, so identity drops the repeats.",
            highlight=False,
        )
        return
    resumed = f" ({step.resumed:,} more were sent before)" if step.resumed else ""
    left_out = f", {step.read.filtered:,} left out by the mapping" if step.read.filtered else ""
    console.print(
        f"[green]{step.sent:,} events[/]{resumed} of {step.read.rows:,} rows"
        f" in {step.elapsed_s:.1f} s, {result.events_per_s:,.0f}/s{left_out}",
        highlight=False,
    )
    if step.read.unseen:
        columns = escape(", ".join(sorted(step.read.unseen)))
        console.print(f"[yellow]never filled in the file:[/] {columns}", highlight=False)
    if result.status in ("stopped", "limit"):
        why = "stopped; all that was sent is safe" if result.status == "stopped" else "--limit"
        console.print(f"{why}. Go on with: {command}", markup=False, highlight=False)


def show_rejected(console: Console, report: RejectReport) -> None:
    """Table of the reasons why rows were rejected; nothing when none was."""
    if not report.rows:
        return
    table = Table(title=f"{report.rows:,} rows rejected", title_justify="left")
    table.add_column("where")
    table.add_column("rows", justify="right")
    table.add_column("first row", justify="right")
    table.add_column("what it says", overflow="fold")
    for reason in report.reasons:
        said = reason.example.partition(": ")[2]
        table.add_row(
            escape(reason.place), f"{reason.rows:,}", f"{reason.first_row:,}", escape(said)
        )
    console.print(table)
    console.print(
        f"each row with its reasons: {report.path}", highlight=False, markup=False, soft_wrap=True
    )


def show_records(console: Console, records: Sequence[dict[str, Any]]) -> None:
    """Records as they would be sent: topic, time, kind and person, then what they say."""
    head = {"topic", "kind", "series", "identifiers", "numbers", "texts", "event_id"}
    head |= {"workspace", "source", "source_type", "occurred_at", "received_at", "published_at"}
    for record in records:
        moment = record.get("occurred_at") or record.get("published_at")
        kind = record.get("kind") or record.get("series")
        who = _pairs(record.get("identifiers") or {})
        console.print(f"{record['topic']}  {moment}  {kind}  {who}", style="bold", markup=False)
        values = {**record.get("numbers", {}), **record.get("texts", {})}
        values |= {k: v for k, v in record.items() if k not in head and v is not None}
        console.print(f"    {_pairs(values)}", markup=False, highlight=False)


def _pairs(values: dict[str, Any]) -> str:
    return "  ".join(f"{key}={value}" for key, value in values.items())
