"""The leads to look at right now: highest scores of late, their reasons, and how they turned out.

The demo passes weeks in a minute, so a lead is open for a blink only. A list of open leads could
not be read; this one holds still for two seconds, and says of a lead what became of it meanwhile.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pyarrow as pa

from models.workspaces import WorkspaceConfig
from streams.demo.reasons import Words
from streams.demo.state import TopLead

_STILL_S = 2.0
_RECENT_S = 10.0
_REASONS = 3


@dataclass(slots=True)
class _Candidate:
    """One lead: its timeline events before the outcome, and its newest score before it."""

    events: list[pa.RecordBatch] = field(default_factory=list)
    score: tuple[int, float] | None = None
    record: pa.RecordBatch | None = None
    seen_s: float = 0.0
    outcome: str | None = None
    outcome_event: str | None = None


class TopLeads:
    """Leads of one workspace, for its first target.

    Args:
        config: The workspace.
        count: How many to show.
        clock: Seconds.
    """

    def __init__(self, config: WorkspaceConfig, count: int, clock: Callable[[], float]) -> None:
        target = config.targets[0]
        self._outcomes = dict.fromkeys(target.negative_kinds, "lost")
        self._outcomes |= dict.fromkeys(target.positive_kinds, "won")
        self._words = Words(config)
        self._count, self._clock = count, clock
        self._leads: dict[str, _Candidate] = {}
        self._shown: list[TopLead] = []
        self._shown_s = -_STILL_S

    def happened(self, lead: str, kind: str, event_id: str, event: pa.RecordBatch) -> None:
        """A timeline event [1] of a lead."""
        candidate = self._seen(lead)
        outcome = self._outcomes.get(kind)
        if outcome is not None:
            candidate.outcome, candidate.outcome_event = outcome, event_id
        elif candidate.outcome is None:
            candidate.events.append(event)

    def scored(
        self, lead: str, event_id: str, score: int, probability: float, record: pa.RecordBatch
    ) -> None:
        """A score [1] of a lead; one that an outcome caused tells nothing any more."""
        candidate = self._seen(lead)
        if event_id != candidate.outcome_event:
            candidate.score, candidate.record = (score, probability), record

    def shown(self) -> list[TopLead]:
        """The leads to show, best first."""
        now = self._clock()
        if now - self._shown_s >= _STILL_S:
            self._forget(now - _RECENT_S)
            scored = [(c.score, lead) for lead, c in self._leads.items() if c.score and c.events]
            best = heapq.nlargest(self._count, scored)
            self._shown, self._shown_s = [self._show(lead) for _, lead in best], now
        return [replace(lead, outcome=self._outcome(lead)) for lead in self._shown]

    def _seen(self, lead: str) -> _Candidate:
        candidate = self._leads.setdefault(lead, _Candidate())
        candidate.seen_s = self._clock()
        return candidate

    def _forget(self, before_s: float) -> None:
        gone = [n for n, c in self._leads.items() if c.outcome is not None and c.seen_s < before_s]
        for lead in gone:
            del self._leads[lead]

    def _outcome(self, shown: TopLead) -> str | None:
        candidate = self._leads.get(shown.lead_id)
        return shown.outcome if candidate is None else candidate.outcome

    def _show(self, lead: str) -> TopLead:
        candidate = self._leads[lead]
        assert candidate.record is not None
        [row] = candidate.record.to_pylist()
        told = row["contributions"][:_REASONS]
        reasons = self._words.reasons(candidate.events, told)
        return TopLead(lead, row["score"], row["grade"], row["probability"], reasons)
