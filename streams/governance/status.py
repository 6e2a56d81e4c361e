"""How each target's models stand, from the learner's state and what it published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.lifecycle.gate import losses
from models.workspaces import WorkspaceConfig
from streams.governance.log import history, lifecycle, newest_metrics
from streams.governance.state import learners
from streams.learning.learner import Learner
from streams.settings import Settings

QUALITY = ("labels", "auc", "log_loss", "ece", "label_delay_s_p50", "estimated_log_loss")


@dataclass(frozen=True, slots=True)
class Status:
    """One target.

    Attributes:
        since: µs, wall clock, since when the champion is in use; None without one.
        challenger_since: µs, wall clock, when the challenger was trained; None without one.
        state: of the challenger: shadow, canary, or ready (a person promotes); None without one.
        judged: labels on which the challenger was judged in its state.
        needed: labels that its state asks for.
        quality: live figures of what was published, those that are known.
        alarms: raised now.
    """

    workspace: str
    target: str
    champion: str | None
    since: int | None
    challenger: str | None
    challenger_since: int | None
    state: str | None
    judged: int
    needed: int
    quality: dict[str, float]
    alarms: tuple[str, ...]


def statuses(settings: Settings, workspaces: Mapping[str, WorkspaceConfig]) -> list[Status]:
    """The status of every configured target."""
    events, metrics = lifecycle(settings), newest_metrics(settings)
    return [
        status_of(learner, events.get(key, []), metrics.get(key, {}))
        for key, learner in learners(settings, workspaces).items()
    ]


def status_of(learner: Learner, events: list[dict[str, Any]], metrics: Mapping[str, Any]) -> Status:
    """The status of a target: its learner, its governance events, its newest live figures."""
    slot = learner.champion.slot
    told = history(events)
    periods = told.periods
    since = periods[-1].since if periods and periods[-1].version == slot.champion else None
    challenger = slot.challenger
    trained = [
        event.occurred_at
        for event in told.events
        if event.action == "trained" and event.version == challenger
    ]
    state = slot.state_of(challenger) if challenger is not None else None
    quality = {n: float(metrics[n]) for n in QUALITY if metrics.get(n) is not None}
    return Status(
        learner.workspace,
        learner.target,
        champion=slot.champion,
        since=since,
        challenger=challenger,
        challenger_since=trained[-1] if trained else None,
        state="ready" if slot.ready else state,
        judged=len(slot.trial) if challenger is not None else 0,
        needed=slot.trial_labels if challenger is not None else 0,
        quality=quality,
        alarms=tuple(metrics.get("alarms", ())),
    )


@dataclass(frozen=True, slots=True)
class SegmentLoss:
    """Log-loss of challenger and champion on one segment's labels."""

    segment: str
    labels: int
    challenger: float
    champion: float


def segment_losses(learner: Learner, names: Sequence[str]) -> list[SegmentLoss]:
    """The trial so far by segment, most labels first; empty without segments or a rival."""
    trial = learner.champion.slot.trial
    if not len(trial) or np.isnan(trial.column("theirs")).any():
        return []
    segments, outcomes = trial.column("segments"), trial.column("outcomes")
    ours, theirs = (losses(trial.column(name), outcomes) for name in ("ours", "theirs"))
    found = []
    for code in np.unique(segments[segments >= 0]).tolist():
        mine = segments == code
        name = names[code] if code < len(names) else f"segment {code}"
        found.append(
            SegmentLoss(name, int(mine.sum()), float(ours[mine].mean()), float(theirs[mine].mean()))
        )
    return sorted(found, key=lambda each: (-each.labels, each.segment))
