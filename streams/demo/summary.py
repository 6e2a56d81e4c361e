"""What the demo says when it is over: figures, the exactly-once account, where to look next."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from connectors.files.shipped import shipped_excerpt
from streams.demo.state import DemoState
from streams.demo.view import latency, leads_table


def as_json(state: DemoState) -> str:
    """The figures as one JSON object; its names are public and stay."""
    p50, p99 = state.latency_ms or (None, None)
    sent = state.delivery
    figures: dict[str, Any] = {
        "time_to_first_score_s": _rounded(state.first_score_s, 2),
        "events": sent.events,
        "scores": sent.scores,
        "missing": sent.missing,
        "duplicate": sent.duplicate,
        "dead_letters": sum(r.dead_letters for r in state.roles),
        "restarts": sum(r.restarts for r in state.roles),
        "latency_ms_p50": _rounded(p50, 1),
        "latency_ms_p99": _rounded(p99, 1),
        "labels": {w.name: w.labels for w in state.workspaces},
        "auc": {w.name: _rounded(w.auc, 4) for w in state.workspaces},
        "log_loss": {w.name: _rounded(w.log_loss, 4) for w in state.workspaces},
        "ece": {w.name: _rounded(w.ece, 4) for w in state.workspaces},
    }
    return json.dumps(figures)


def show(console: Console, state: DemoState) -> None:
    """Figures and the account."""
    if not state.delivery.events:
        console.print("stopped before the first event was sent")
        return
    for each in state.workspaces:
        if each.top:
            console.print(f"\n[bold]top leads of the last seconds: {escape(each.name)}[/]")
            console.print(leads_table(each, console.width))
    table = Table(title="\nleadstream demo", title_justify="left", title_style="bold")
    table.add_column("")
    for each in state.workspaces:
        table.add_column(each.name, justify="right")
    rows = [
        ("events sent", [f"{w.sent:,}" for w in state.workspaces]),
        ("leads", [f"{w.leads:,}" for w in state.workspaces]),
        ("labels learned", [f"{w.labels:,}" for w in state.workspaces]),
        ("AUC (recent labels)", [_figure(w.auc) for w in state.workspaces]),
        ("log-loss", [_figure(w.log_loss) for w in state.workspaces]),
        ("calibration error (ECE)", [_figure(w.ece) for w in state.workspaces]),
        ("weights versions", [f"{w.version:,}" for w in state.workspaces]),
    ]
    for name, values in rows:
        table.add_row(name, *values)
    console.print(table)
    first = state.first_score_s
    for name, said in (
        ("first score", "none" if first is None else f"{first:.1f} s after the start"),
        ("latency", f"{latency(state.latency_ms)}, from an event's append to its score's"),
        ("commits", f"{sum(r.commits for r in state.roles):,}"),
        ("dead letters", f"{sum(r.dead_letters for r in state.roles):,}"),
    ):
        console.print(f"{name:<13} {said}", highlight=False)
    console.print(f"{'exactly once':<13} {verdict(state)}", highlight=False)


def verdict(state: DemoState) -> str:
    """The exactly-once account in one line of markup."""
    sent = state.delivery
    text = (
        f"{sent.events:,} events sent, {sent.scores:,} scores read back: "
        f"{sent.missing:,} missing, {sent.duplicate:,} twice"
    )
    return f"[green]{text}[/]" if sent.holds else f"[bold red]{text}[/]"


def where_next(console: Console, prefix: str, logs: Path, kept: Sequence[str], up: bool) -> None:
    """Commands to go on with.

    Args:
        prefix: Of the demo's topics.
        logs: Folder of the workers' logs.
        kept: Names of what still runs.
        up: Whether the broker still runs.
    """
    us = _program()
    console.print("\n[bold]where to look next[/]")
    commands = [
        (f"{us} topics describe --prefix {prefix}", ""),
        (f"{us} read leads.latest --prefix {prefix} --count 3", "scores with their reasons"),
        (f"{us} read models.metrics --prefix {prefix}", "how good they were"),
        (f"{us} evaluate bank_marketing {_excerpt()} --target conversion", "strictly judged"),
        (f"{us} demo --rate 2000 --keep", "faster, and left running"),
    ]
    if not up:
        commands.insert(0, (f"{us} dev up", "the broker; the topics are still there"))
    for command, remark in commands:
        said = f"  # {remark}" if remark else ""
        console.print(f"  {command}{said}", highlight=False, soft_wrap=True)
    console.print(f"  workers' logs: {logs}", highlight=False, soft_wrap=True)
    console.print("  README.md: what it is, how to bring in one's own CRM export", highlight=False)
    if kept:
        console.print(f"\nstill running: {', '.join(kept)}; stop with: {us} demo --stop")


def _program() -> str:
    """How to call us again: by name where the shell finds us, else by the path that was used."""
    called = Path(sys.argv[0])
    if called.name != "leadstream" or shutil.which("leadstream") == str(called.absolute()):
        return "leadstream"
    return _near(called)


def _excerpt() -> str:
    found = shipped_excerpt("bank_marketing")
    return _near(found) if found is not None else "FILE"


def _near(path: Path) -> str:
    """A path as it is shortest to type."""
    inside = path.absolute().is_relative_to(Path.cwd())
    return str(path.absolute().relative_to(Path.cwd()) if inside else path)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
