"""Reads back what the workers write and keeps the figures that the demo shows.

One thread follows the source topics, the timeline, the scores and the live quality as any
subscriber would, ``read_committed``; a second one asks the workers for their metrics.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from models.workspaces import WorkspaceConfig
from streams.demo import scrape
from streams.demo.account import Account
from streams.demo.latency import Latencies
from streams.demo.processes import Workers
from streams.demo.state import Delivery, RoleState, WorkspaceState
from streams.demo.tail import Read, Tail
from streams.demo.top import TopLeads
from streams.settings import Settings

TOPICS = (
    "crm.events", "web.events", "lead.timeline", "leads.scored", "leads.latest", "models.metrics",
)  # fmt: skip
_READ_S = 0.2
_LAST_READ_S = 1.0  # longer than the broker lets a fetch wait for records
_SCRAPE_S = 0.5
_RATE_S = 4.0


class _Workspace:
    """What was read of one workspace."""

    def __init__(self, config: WorkspaceConfig, top: int, clock: Callable[[], float]) -> None:
        self.target = config.targets[0].name
        self.leads: set[str] = set()
        self.metrics: dict[str, Any] = {}
        self.top = TopLeads(config, top, clock)


class Watcher:
    """Follows the demo's topics and workers in threads of its own.

    Args:
        settings: Broker and prefix.
        partitions: Partition count of each logical topic.
        configs: Workspaces to show, by name.
        workers: The worker processes.
        clock: Seconds since the command began.
        top: How many leads to show of each workspace.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: Mapping[str, int],
        configs: Mapping[str, WorkspaceConfig],
        workers: Workers,
        clock: Callable[[], float],
        top: int = 3,
    ) -> None:
        self.first_score_s: float | None = None
        self.last_score_s: float | None = None
        self.error: BaseException | None = None
        self._tail = Tail(settings, {name: partitions[name] for name in TOPICS})
        self._workers, self._clock = workers, clock
        self._account = Account({n: [t.name for t in c.targets] for n, c in configs.items()})
        self._latencies = Latencies()
        self._workspaces = {n: _Workspace(c, top, clock) for n, c in configs.items()}
        self._scrapes: dict[str, deque[tuple[float, scrape.WorkerFigures]]] = {
            role: deque(maxlen=1 + int(_RATE_S / _SCRAPE_S)) for role in workers.roles
        }
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for name, work in (("watch-topics", self._follow), ("watch-metrics", self._scrape))
        ]

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Read what is there to its end, and follow no more."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def sending(self, workspace: str, event_ids: list[str]) -> None:
        """Events that are about to be sent; call it before they are."""
        with self._lock:
            self._account.sent(workspace, event_ids)

    # -- what the view asks for

    def delivery(self) -> Delivery:
        """The exactly-once account as it stands."""
        with self._lock:
            return self._account.delivery()

    def latency_ms(self, last_s: float | None = None) -> tuple[float, float] | None:
        """(p50, p99) from the append of an event to the append of its score, or of late only."""
        with self._lock:
            return self._latencies.figures(last_s)

    def roles(self) -> list[RoleState]:
        """Figures of each role."""
        return [self._role(role) for role in self._workers.roles]

    def workspaces(self, known: Sequence[WorkspaceState]) -> list[WorkspaceState]:
        """The given states with what was read of each workspace."""
        with self._lock:
            return [self._workspace(state) for state in known]

    def _role(self, role: str) -> RoleState:
        seen = list(self._scrapes[role])
        restarts = self._workers.restarts(role)
        if not seen:
            return RoleState(role, restarts=restarts)
        (since, first), (now, last) = seen[0], seen[-1]
        passed = max(now - since, _SCRAPE_S)
        return RoleState(
            role,
            ready=True,
            events_in=last.events_in,
            events_out=last.events_out,
            in_per_s=max(0, last.events_in - first.events_in) / passed,
            out_per_s=max(0, last.events_out - first.events_out) / passed,
            lag=last.lag,
            commits=last.commits,
            dead_letters=last.dead_letters,
            restarts=restarts,
        )

    def _workspace(self, state: WorkspaceState) -> WorkspaceState:
        mine = self._workspaces[state.name]
        metrics = mine.metrics
        return WorkspaceState(
            name=state.name,
            what=state.what,
            target=mine.target,
            sent=state.sent,
            total=state.total,
            leads=len(mine.leads),
            labels=metrics.get("labels", 0),
            auc=metrics.get("auc"),
            log_loss=metrics.get("log_loss"),
            ece=metrics.get("ece"),
            version=metrics.get("version", 0),
            top=mine.top.shown(),
        )

    # -- threads

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.error = error

    def _follow(self) -> None:
        self._tail.open()
        try:
            while not self._stop.is_set():
                self._read(_READ_S)
            while self._read(_LAST_READ_S):
                pass
        finally:
            self._tail.close()

    def _read(self, timeout_s: float) -> int:
        """Take what comes; returns how many batches it was."""
        batches = 0
        for read in self._tail.read(timeout_s):
            with self._lock:
                self._take(read)
            batches += 1
        return batches

    def _scrape(self) -> None:
        while not self._stop.wait(_SCRAPE_S):
            for role, seen in self._scrapes.items():
                port = self._workers.port(role)
                found = scrape.figures(port) if port is not None else None
                if found is not None:
                    seen.append((self._clock(), found))

    def _take(self, read: Read) -> None:
        match read.topic:
            case "leads.scored":
                self._scored(read)
            case "leads.latest":
                self._latest(read.values)
            case "lead.timeline":
                self._timeline(read.values)
            case "models.metrics":
                for row in read.values.to_pylist():
                    mine = self._workspaces.get(row["workspace"])
                    if mine is not None and row["target"] == mine.target:
                        mine.metrics = row
            case _:
                ids = read.values.column("event_id").to_pylist()
                self._latencies.appended(ids, read.appended_ms.tolist())

    def _scored(self, read: Read) -> None:
        now = self._clock()
        if self.first_score_s is None:
            self.first_score_s = now
        self.last_score_s = now
        columns = [read.values.column(n).to_pylist() for n in ("workspace", "event_id", "target")]
        self._account.scored(zip(*columns, strict=True))
        self._latencies.scored(columns[1], read.appended_ms.tolist())

    def _timeline(self, values: pa.RecordBatch) -> None:
        names = ("record_kind", "workspace", "lead_id", "kind", "event_id")
        columns = [values.column(name).to_pylist() for name in names]
        for row, (record, name, lead, kind, event_id) in enumerate(zip(*columns, strict=True)):
            mine = self._workspaces.get(name)
            if mine is not None and record == "event":
                mine.leads.add(lead)
                mine.top.happened(lead, kind, event_id, values.slice(row, 1))

    def _latest(self, values: pa.RecordBatch) -> None:
        names = ("workspace", "target", "lead_id", "event_id", "score", "probability")
        columns = [values.column(name).to_pylist() for name in names]
        for row, (name, target, lead, event_id, score, p) in enumerate(zip(*columns, strict=True)):
            mine = self._workspaces.get(name)
            if mine is not None and target == mine.target:
                mine.top.scored(lead, event_id, score, p, values.slice(row, 1))
