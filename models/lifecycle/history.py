"""What the log of a champion slot says: each version's state, and what was in use when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from models.lifecycle.transitions import Action, State, Transition

_STATES: Mapping[Action, State] = {
    "trained": "training",
    "shadow": "shadow",
    "canary": "canary",
    "promoted": "champion",
    "rolled_back": "champion",
    "retired": "retired",
}


class LifecycleEvent(Transition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A transition as it stands in the log: of which slot, and when (µs) it was written."""

    workspace: str
    target: str
    occurred_at: int

    @classmethod
    def of(cls, transition: Transition, workspace: str, target: str, occurred_at: int) -> Self:
        """The event of a transition."""
        fields = msgspec.structs.asdict(transition)
        return cls(**fields, workspace=workspace, target=target, occurred_at=occurred_at)

    @classmethod
    def of_record(cls, row: Mapping[str, Any]) -> Self:
        """Read a ``ModelLifecycle`` record of the slot `champion` (times as µs).

        Raises:
            ValueError: it is of another slot, or was not written by a champion's slot.
        """
        details = dict(row["details"])
        try:
            number, labels = int(details.pop("number")), int(details.pop("labels"))
        except (KeyError, ValueError):
            raise ValueError(
                f"no event of a champion's slot: {row['slot']} {row['action']} {details}"
            ) from None
        return cls(
            number,
            row["action"],
            row["version"],
            row["reason"] or "",
            row["actor"] or "",
            dict(row["figures"]),
            details,
            labels,
            workspace=row["workspace"],
            target=row["target"],
            occurred_at=int(row["occurred_at"]),
        )

    def record(self) -> dict[str, Any]:
        """As a plain ``ModelLifecycle`` record; number and labels stand among the details."""
        counts = {"number": str(self.number), "labels": str(self.labels)}
        return {
            "workspace": self.workspace,
            "target": self.target,
            "slot": "champion",
            "action": self.action,
            "version": self.version,
            "reason": self.reason,
            "actor": self.actor,
            "figures": self.figures,
            "details": self.details | counts,
            "occurred_at": self.occurred_at,
        }

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among the events of its slot."""
        return self.occurred_at, self.number


@dataclass(frozen=True, slots=True)
class Period:
    """A version's time in use; `until` (µs) and what ended it are None while it lasts."""

    version: str
    since: int
    until: int | None
    actor: str
    reason: str
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class SlotHistory:
    """One slot after all its events.

    Attributes:
        states: of every version, in the order in which they came up.
        champion: the version in use.
        challenger: the version on trial.
        periods: what was in use when, oldest first.
        events: the log in order, each event once.
    """

    states: dict[str, State]
    champion: str | None
    challenger: str | None
    periods: tuple[Period, ...]
    events: tuple[LifecycleEvent, ...]

    def in_use(self, time_us: int) -> str | None:
        """The version that was in use at a time."""
        for period in self.periods:
            if period.since <= time_us and (period.until is None or time_us < period.until):
                return period.version
        return None


def slot_history(events: Iterable[LifecycleEvent]) -> SlotHistory:
    """The history of one slot from its events, in any order, some perhaps twice."""
    ordered = sorted({event.place: event for event in events}.values(), key=lambda e: e.place)
    states: dict[str, State] = {}
    champion: str | None = None
    challenger: str | None = None
    periods: list[Period] = []
    for event in ordered:
        state = _STATES.get(event.action)
        if state is None or not event.version:
            continue
        version = event.version
        states[version] = state
        taken, left = state == "champion", state == "retired" and version == champion
        if taken or left:
            _end(periods, event)
            champion = version if taken else None
        if taken:
            periods.append(
                Period(version, event.occurred_at, None, event.actor, event.reason, None)
            )
        if state in ("training", "shadow", "canary"):
            challenger = version
        elif version == challenger:
            challenger = None
    return SlotHistory(states, champion, challenger, tuple(periods), tuple(ordered))


def _end(periods: list[Period], event: LifecycleEvent) -> None:
    if periods and periods[-1].until is None:
        p = periods[-1]
        ended = f"{event.action} by {event.actor}: {event.reason}"
        periods[-1] = Period(p.version, p.since, event.occurred_at, p.actor, p.reason, ended)
