"""A :class:`~streams.demo.state.DemoState` as something to look at: a screen, or one line of text.

Pure: the same state gives the same picture. Laid out for 100 x 30 characters.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams.demo.state import DemoState, RoleState, Step, TopLead, WorkspaceState

TOP_LEADS = 3
_GRADES = {"A": "bold green", "B": "green", "C": "yellow", "D": "red"}
_OUTCOMES = {"won": "bold green", "lost": "dim"}
_NOTHING = "–"


def screen(state: DemoState) -> RenderableType:
    """The whole live view."""
    layout = Layout()
    layout.split_column(
        Layout(_headline(state), name="head", size=3),
        Layout(_flow(state), name="flow", size=len(state.roles) + 4),
        Layout(_quality(state), name="quality", size=max(1, len(state.workspaces)) + 3),
        Layout(_bottom(state), name="bottom", minimum_size=6),
    )
    return layout


def line(state: DemoState) -> str:
    """One line for logs and pipes."""
    parts = [f"{_clock(state.elapsed_s)} {state.phase}"]
    if state.first_score_s is None:
        doing = state.steps[-1] if state.steps else Step("loading")
        return f"{parts[0]}: {doing.what}" + (f" ({doing.remark})" if doing.remark else "")
    parts.append(f"sent {sum(w.sent for w in state.workspaces):,}")
    parts.append(f"scored {state.delivery.scores:,}")
    lags = [r.lag for r in state.roles if r.lag is not None]
    parts.append(f"lag {sum(lags) if lags else _NOTHING}")
    letters = sum(r.dead_letters for r in state.roles)
    parts += [f"dead letters {letters:,}"] if letters else []
    parts.append(f"latency {latency(state.recent_latency_ms)}")
    for each in state.workspaces:
        parts.append(
            f"{each.name}: {each.labels:,} labels AUC {_figure(each.auc)} ECE {_figure(each.ece)}"
        )
    return " | ".join(parts)


def step_line(step: Step) -> str:
    """One finished step of the start as a line."""
    remark = f" ({step.remark})" if step.remark else ""
    return f"      {step.what}: {step.seconds or 0.0:.1f} s{remark}"


def latency(found: tuple[float, float] | None) -> str:
    """p50 and p99 in words."""
    if found is None:
        return _NOTHING
    return f"p50 {_milliseconds(found[0])} p99 {_milliseconds(found[1])}"


def leads_table(state: WorkspaceState, width: int | None = None) -> Table:
    """The top leads of one workspace with their reasons."""
    table = Table.grid(padding=(0, 1), expand=width is None)
    table.add_column(width=5, no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for lead in state.top[:TOP_LEADS]:
        table.add_row(*_lead(lead))
        for reason in lead.reasons:
            table.add_row(*_reason(reason.contribution, reason.words))
    if not state.top:
        table.add_row("", Text("none right now", style="dim"))
    return table


def _headline(state: DemoState) -> Panel:
    sent = sum(w.sent for w in state.workspaces)
    total = sum(w.total for w in state.workspaces)
    grid = Table.grid(expand=True, padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    first = (
        f"first score after {state.first_score_s:.1f} s"
        if state.first_score_s is not None
        else "no score yet"
    )
    grid.add_row(
        Text.assemble((_clock(state.elapsed_s), "bold"), "  ", (state.phase, "cyan")),
        ProgressBar(total=max(1, total), completed=sent),
        Text.assemble(f"{sent:,} of {total:,} events   ", (first, "bold green")),
    )
    title = "[bold]leadstream demo[/]"
    if state.bootstrap:
        title += f"  [dim]Kafka at {escape(state.bootstrap)}[/]"
    return Panel(grid, title=title, title_align="left", border_style="blue")


def _flow(state: DemoState) -> Panel:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("role")
    for name in ("events in", "/s", "out", "/s", "lag", "commits", "dead letters", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    for role in state.roles:
        table.add_row(*_role(role))
    whole = Text.assemble(
        ("event in -> score out  ", "dim"),
        (f"now {latency(state.recent_latency_ms)}", "bold"),
        (f"   whole run {latency(state.latency_ms)}", "dim"),
    )
    return Panel(Group(table, whole), title="flow", title_align="left", border_style="dim")


def _role(role: RoleState) -> tuple[RenderableType, ...]:
    if not role.ready:
        return (role.name, *([Text(_NOTHING, style="dim")] * 7), _restarts(role))
    return (
        Text(role.name, style="bold"),
        f"{role.events_in:,}",
        f"{role.in_per_s:,.0f}",
        f"{role.events_out:,}",
        f"{role.out_per_s:,.0f}",
        _NOTHING if role.lag is None else f"{role.lag:,}",
        f"{role.commits:,}",
        Text(f"{role.dead_letters:,}", style="bold red" if role.dead_letters else ""),
        _restarts(role),
    )


def _restarts(role: RoleState) -> Text:
    return Text(str(role.restarts), style="bold red" if role.restarts else "dim")


def _quality(state: DemoState) -> Panel:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("workspace", no_wrap=True)
    table.add_column("streams in", no_wrap=True)
    for name in ("leads", "labels learned", "AUC", "log-loss", "ECE", "weights"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in state.workspaces:
        table.add_row(
            Text(each.name, style="bold"),
            Text(each.what, style="dim"),
            f"{each.leads:,}",
            f"{each.labels:,}",
            Text(_figure(each.auc), style="bold"),
            _figure(each.log_loss),
            _figure(each.ece),
            f"v{each.version}" if each.version else _NOTHING,
        )
    title = "learning, judged by the scores as they were published"
    return Panel(table, title=title, title_align="left", border_style="dim")


def _bottom(state: DemoState) -> RenderableType:
    if state.first_score_s is None:
        return Panel(_steps(state), title="starting", title_align="left", border_style="dim")
    columns = Layout()
    columns.split_row(
        *(
            Layout(
                Panel(
                    leads_table(each),
                    title=f"top leads right now: [bold]{escape(each.name)}[/]",
                    title_align="left",
                    border_style="dim",
                    padding=0,
                )
            )
            for each in state.workspaces
        )
    )
    return columns


def _steps(state: DemoState) -> Table:
    table = Table.grid(padding=(0, 2))
    for step in state.steps:
        done = step.seconds is not None
        table.add_row(
            Text("✓" if done else "…", style="green" if done else "yellow"),
            step.what,
            Text(f"{step.seconds:.1f} s" if step.seconds is not None else "", style="dim"),
            Text(step.remark, style="dim"),
        )
    return table


def _lead(lead: TopLead) -> tuple[Text, Text]:
    style = _GRADES.get(lead.grade, "")
    head = Text.assemble((f"{lead.grade} {lead.score:>3}", style))
    rest = Text.assemble(
        (f"{lead.probability:>6.1%}", "bold"), (f"  lead {lead.lead_id[:8]}", "dim")
    )
    if lead.outcome is not None:
        rest.append(f"  {lead.outcome}", style=_OUTCOMES.get(lead.outcome, ""))
    return head, rest


def _reason(contribution: float, words: str) -> tuple[Text, Text]:
    style = "green" if contribution > 0 else "red"
    return Text(f"{contribution:+5.2f}", style=style), Text(words)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _figure(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"
