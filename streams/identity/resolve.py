"""What the state of the workspaces says of a batch: repeats, leads, links, event time, ticks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.workspaces import WorkspaceConfig
from streams.engine.state import State
from streams.identity import dedup, identifiers
from streams.identity.identifiers import Identified
from streams.identity.observation import Observation
from streams.identity.validate import Checked
from streams.identity.watermark import Clock, Reading, advance


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of one workspace that identity needs."""

    name: str
    number: int
    dedup_window: int
    clock: Clock

    @classmethod
    def of(cls, config: WorkspaceConfig, number: int) -> Rules:
        """Rules of the workspace that has this number."""
        settings = config.workspace
        clock = Clock(settings.allowed_lateness_us, settings.epoch_us)
        return cls(settings.name, number, settings.dedup_window, clock)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of n source events before any state is asked.

    Attributes:
        checked: What validation found.
        people: ``[n]`` valid and no heartbeat.
        identified: Identifiers of the events of people, in their order.
        event_ids: ``[n, 2]`` hashes of event ids.
    """

    checked: Checked
    people: NDArray[np.bool_]
    identified: Identified
    event_ids: NDArray[np.uint64]


@dataclass(slots=True)
class Resolved:
    """What the state says of n source events, in place of their rows.

    Attributes:
        timeline: ``[n]`` whether it becomes a timeline event.
        lead: ``[n, 2]``.
        watermark, epoch: ``[n]`` as of the event.
        late: ``[n]``.
        ticks: Rows before which a tick is due, per workspace.
        links: Rows that showed a link and the other lead of the pair, per workspace.
    """

    timeline: NDArray[np.bool_]
    lead: NDArray[np.uint64]
    watermark: NDArray[np.int64]
    epoch: NDArray[np.int64]
    late: NDArray[np.bool_]
    ticks: list[NDArray[np.int64]] = field(default_factory=list)
    links: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = field(default_factory=list)

    @classmethod
    def empty(cls, n: int) -> Resolved:
        """Nothing is known of n events yet."""
        times = np.zeros(n, np.int64)
        no = np.zeros(n, np.bool_)
        return cls(no, np.zeros((n, 2), np.uint64), times, times.copy(), no.copy())

    def tick_rows(self) -> NDArray[np.int64]:
        """Rows before which a tick is due, ascending."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *self.ticks]))

    def linked(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Rows that showed links, ascending, and the other leads."""
        rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in self.links)])
        others = np.concatenate([np.empty((0, 2), np.uint64), *(other for _, other in self.links)])
        order = np.argsort(rows, kind="stable")
        return rows[order], others[order]


def resolve(rules: Rules, facts: Facts, state: State, out: Resolved) -> Observation:
    """Apply one workspace's events to its state in order, and put what it says into ``out``."""
    checked = facts.checked
    mine = np.flatnonzero(checked.valid & (checked.workspace == rules.number))
    new = dedup.first_seen(state, rules.name, facts.event_ids[mine], rules.dedup_window)
    rows = mine[new]
    duplicates, foreign = len(mine) - len(rows), int(checked.foreign_key[mine].sum())
    if not len(rows):
        return Observation(rules.name, len(mine), duplicates, foreign_keys=foreign)
    occurred, received = checked.occurred[rows], checked.received[rows]
    reading = advance(state.blobs, rules.name, rules.clock, occurred, received)
    _put_times(reading, rows, out)
    persons = facts.people[rows]
    leads, links = _put_leads(rules, facts, rows[persons], state, out)
    late_us = reading.late_us[persons]
    return Observation(
        rules.name,
        len(mine),
        duplicates,
        heartbeats=len(rows) - int(persons.sum()),
        late_s=late_us[late_us > 0] / 1e6,
        ticks=len(reading.ticks),
        leads=leads,
        links=links,
        foreign_keys=foreign,
    )


def _put_times(reading: Reading, rows: NDArray[np.int64], out: Resolved) -> None:
    out.watermark[rows], out.epoch[rows] = reading.watermark, reading.epoch
    out.late[rows] = reading.late_us > 0
    out.ticks.append(rows[reading.ticks])


def _put_leads(
    rules: Rules, facts: Facts, rows: NDArray[np.int64], state: State, out: Resolved
) -> tuple[int, int]:
    """Resolve the people of these rows; returns the number of new leads and of links."""
    if not len(rows):
        return 0, 0
    chosen = np.zeros(len(facts.people), np.bool_)
    chosen[rows] = True
    count, keys = facts.identified.of(chosen[facts.people])
    found = identifiers.resolve(
        state, rules.name, count, keys, facts.event_ids[rows], facts.checked.occurred[rows]
    )
    out.timeline[rows] = True
    out.lead[rows] = found.lead
    if len(found.link_event):
        out.links.append((rows[found.link_event], found.link_other))
    return found.new_leads, len(found.link_event)
