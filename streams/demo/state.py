"""What the demo knows at one moment; :mod:`streams.demo.view` shows it, nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reason:
    """One contribution to a score: log-odds, and what caused it in words."""

    contribution: float
    words: str


@dataclass(frozen=True, slots=True)
class TopLead:
    """A lead with its newest score before its outcome, and the outcome: won, lost, None: open."""

    lead_id: str
    score: int
    grade: str
    probability: float
    reasons: Sequence[Reason] = ()
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class RoleState:
    """One role: counters since its worker started, rates of the last seconds.

    lag: records that wait in its input topics, None while not known; restarts: how often its
    process had to be started again.
    """

    name: str
    ready: bool = False
    events_in: int = 0
    events_out: int = 0
    in_per_s: float = 0.0
    out_per_s: float = 0.0
    lag: int | None = None
    commits: int = 0
    dead_letters: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class WorkspaceState:
    """One workspace: events sent of so many, and the live figures of its target.

    auc, log_loss, ece: prequential, over the recent labels; None before they can be computed.
    """

    name: str
    what: str
    target: str
    sent: int = 0
    total: int = 0
    leads: int = 0
    labels: int = 0
    auc: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    version: int = 0
    top: Sequence[TopLead] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the start: what, how long it took (None: still on it), a remark."""

    what: str
    seconds: float | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The exactly-once account: scores expected and read back, none should be missing or twice."""

    events: int = 0
    expected: int = 0
    scores: int = 0
    missing: int = 0
    duplicate: int = 0

    @property
    def holds(self) -> bool:
        """Whether everything that was sent was scored exactly once."""
        return self.events > 0 and not self.missing and not self.duplicate


@dataclass(frozen=True, slots=True)
class DemoState:
    """Everything at one moment.

    elapsed_s: since the command began; first_score_s: when, on that clock, the first score was
    read; latency_ms: (p50, p99) from the append of an event to the append of its score.
    """

    phase: str = "starting"
    elapsed_s: float = 0.0
    streamed_s: float = 0.0
    first_score_s: float | None = None
    bootstrap: str = ""
    steps: Sequence[Step] = ()
    roles: Sequence[RoleState] = ()
    workspaces: Sequence[WorkspaceState] = ()
    delivery: Delivery = field(default_factory=Delivery)
    latency_ms: tuple[float, float] | None = None
    recent_latency_ms: tuple[float, float] | None = None
