"""Tables and lines of ``leadstream models``, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from models.lifecycle.difference import Change, Difference
    from models.lifecycle.gate import GateResult
    from models.lifecycle.history import SlotHistory
    from models.lifecycle.preview import Preview
    from models.workspaces import WorkspaceConfig
    from streams.governance.status import SegmentLoss, Status
    from streams.governance.versions import Version

_TERMS = 15
_FIGURES = {
    "auc": "AUC",
    "log_loss": "log-loss",
    "ece": "ECE",
    "label_delay_s_p50": "label delay, s",
    "estimated_log_loss": "log-loss estimated before labels came",
}


def moment(us: int | None) -> str:
    """A time in µs as people write it, in UTC."""
    if us is None:
        return "-"
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table; a column's name that begins with `#` is set right."""
    made = Table(title=title, title_justify="left")
    for name in columns:
        right = name.startswith("#")
        made.add_column(name.lstrip("#"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(escape, row))
    return made


def show_list(console: Console, found: Sequence[Status]) -> None:
    """One row a target."""
    rows = []
    for s in found:
        quality = ", ".join(
            f"{words} {s.quality[name]:.4g}" for name, words in _FIGURES.items()
            if name in s.quality and name != "estimated_log_loss"
        )  # fmt: skip
        trial = "-"
        if s.challenger is not None:
            trial = (
                f"{s.challenger} of {moment(s.challenger_since)}: {s.state}, {s.judged:,} of "
                f"{s.needed:,} labels"
            )
            if s.state == "ready":
                trial = f"{s.challenger}: passed the gate, waits to be promoted"
        labels = f"{s.quality.get('labels', 0):,.0f}"
        rows.append(
            (f"{s.workspace}/{s.target}", s.champion or "-", moment(s.since), trial, labels,
             quality or "-", ", ".join(s.alarms) or "-")
        )  # fmt: skip
    columns = ("target", "champion", "since (UTC)", "challenger", "#labels", "quality", "alarms")
    console.print(table("Models", columns, rows))


def show_version(console: Console, config: WorkspaceConfig, target: str, found: Version) -> None:
    """Lineage, what happened, the gate's figures, the terms with the largest effect."""
    rows: list[tuple[str, ...]]
    from streams.governance.versions import term_words

    console.print(f"{config.name}/{target} {found.name}: {found.state}", highlight=False)
    if found.lineage is not None:
        line = found.lineage
        told = (
            ("labels", f"{line.labels:,}, {line.positives:,} of them positive"),
            ("rows from", f"{moment(line.first_row_time)} to {moment(line.last_row_time)}"),
            ("outcomes known until", moment(line.learned_until)),
            ("digest", line.digest),
            ("catalogue", line.catalogue[:12]),
            ("code", line.code_version),
            ("after", line.parent or "no champion"),
            ("parameters", ", ".join(f"{k} {v}" for k, v in line.parameters.items())),
        )
        console.print(table("Lineage", ("", "value"), told))
    show_events(console, "What happened to it", found.events)
    figures = next((e.figures for e in reversed(found.events) if e.figures), {})
    if figures:
        rows = [(name, f"{value:.5g}") for name, value in figures.items()]
        console.print(table("Figures", ("figure", "#value"), rows))
    if found.terms:
        rows = [
            (term_words(config.catalogue, name), name, f"{size:.4f}")
            for name, size in list(found.terms.items())[:_TERMS]
        ]
        title = f"Largest of {len(found.terms)} terms, by mean effect on the log-odds"
        console.print(table(title, ("what", "term", "#effect"), rows))


def show_events(console: Console, title: str, events: Iterable[Any]) -> None:
    """The log, oldest first."""
    rows = [
        (moment(e.occurred_at), e.action, e.version or "-", e.actor or "-", e.reason or "")
        for e in events
    ]
    console.print(table(title, ("time (UTC)", "action", "version", "by", "why"), rows))


def show_answer(console: Console, events: Iterable[Any]) -> None:
    """What the learner did, a line each."""
    for e in events:
        line = " ".join(part for part in (e.action, e.version) if part)
        console.print(f"{line}: {e.reason}", highlight=False, markup=False, soft_wrap=True)


def show_history(
    console: Console, where: str, history: SlotHistory, log: Sequence[Mapping[str, Any]]
) -> None:
    """What was in use when, and the whole log with the alarms."""
    rows: list[tuple[str, ...]]
    columns: tuple[str, ...]
    rows = [
        (p.version, moment(p.since), "in use" if p.until is None else moment(p.until),
         f"{p.actor}: {p.reason}", p.ended_by or "-")
        for p in history.periods
    ]  # fmt: skip
    columns = ("version", "from (UTC)", "until (UTC)", "because", "ended by")
    console.print(table(f"{where}: in production", columns, rows))
    rows = [
        (moment(r["occurred_at"]), r["slot"], r["action"], r["version"] or "-", r["actor"] or "-",
         r["reason"] or "")
        for r in log
    ]  # fmt: skip
    columns = ("time (UTC)", "slot", "action", "version", "by", "why")
    console.print(table(f"{where}: log", columns, rows))


def show_difference(console: Console, config: WorkspaceConfig, found: Difference) -> None:
    """What changed, largest first."""
    from streams.governance.versions import term_words

    def said(name: str, value: Any) -> str:
        if value is None:
            return "-"
        if name.endswith("_row_time"):
            return moment(value)
        return f"{value:.5g}" if isinstance(value, float) else str(value)

    for title, changes in (
        ("Made from", found.origin),
        ("Parameters", found.parameters),
        ("Figures", found.figures),
        ("Terms, by change of their mean effect", found.terms),
    ):
        named: Iterable[Change] = changes
        rows = []
        for c in named:
            words = term_words(config.catalogue, c.name)
            rows.append((words, said(c.name, c.before), said(c.name, c.after)))
        if rows:
            console.print(table(title, ("", f"#{found.before}", f"#{found.after}"), rows))


def show_preview(console: Console, where: str, version: str, found: Preview) -> None:
    """What a promotion would change, for whom."""
    rows: list[tuple[str, ...]]
    columns: tuple[str, ...]
    console.print(f"{where}: if {version} were the champion now", highlight=False)
    if found.impacts:
        rows = [
            (i.subscriber, i.threshold, f"{i.now:,}", f"{i.then:,}", f"{i.up:,}", f"{i.down:,}")
            for i in found.impacts
        ]
        columns = ("subscriber", "takes", "#leads now", "#then", "#come in", "#fall out")
        console.print(table("Subscribers", columns, rows))
    else:
        console.print("no subscribers: of this target are declared in workspace.yaml")
    grades = found.as_dict()["grades"]
    rows = [
        (f"{grade} now", *(f"{n:,}" for n in row))
        for grade, row in zip(grades, found.moves, strict=True)
    ]
    console.print(table("Leads by grade", ("", *(f"#{g} then" for g in grades)), rows))
    for line in found.reasons[-2:]:
        console.print(line, highlight=False)


def show_report(
    console: Console,
    where: str,
    status: Status,
    gate: GateResult | None,
    segments: Sequence[SegmentLoss],
) -> None:
    """The challenger against the champion, on the labels of its state so far."""
    rows: list[tuple[str, ...]]
    columns: tuple[str, ...]
    rival = status.champion or "no champion"
    console.print(
        f"{where}: {status.challenger} ({status.state}) against {rival}: {status.judged:,} of "
        f"{status.needed:,} labels",
        highlight=False,
    )
    if gate is None:
        console.print("no label has come since it is on trial")
        return
    f = gate.figures
    if "log_loss" in f:
        rows = [
            (words, f"{f[n]:.4f}", f"{f[f'{n}_incumbent']:.4f}", f"{f[f'{n}_difference']:+.4f}",
             f"{f[f'{n}_difference_low']:+.4f} to {f[f'{n}_difference_high']:+.4f}")
            for n, words in (("log_loss", "log-loss"), ("auc", "AUC"))
        ]  # fmt: skip
        columns = ("", "#challenger", "#in use", "#difference", "#by bootstrap")
        console.print(table("Both on the same labels", columns, rows))
    if segments:
        rows = [
            (s.segment, f"{s.labels:,}", f"{s.challenger:.4f}", f"{s.champion:.4f}")
            for s in segments
        ]
        columns = ("segment", "#labels", "#challenger", "#in use")
        console.print(table("Log-loss by segment", columns, rows))
    console.print("the gate would pass it" if gate.passed else "the gate would not pass it")
    for reason in gate.reasons:
        console.print(f"- {reason}", highlight=False)
