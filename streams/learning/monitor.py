"""Watches one target live: drift of features and scores, rising loss, figures before labels come.

Counts of what was scored come with the ends of epochs; labels come as they are learned. Alarms go
to ``models.lifecycle``, figures to ``models.metrics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from models.evaluation.estimate import EstimateLedger, mean_error
from models.evaluation.histograms import BINS, Counts, FeatureBins, counts_of, no_counts
from models.evaluation.monitor import Alarm, DriftMonitor, LossMonitor
from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import record
from streams.engine.state import State
from streams.learning.records import Published
from streams.learning.window import Labels

REFERENCE_LABELS = 1_000
"""Without a champion's training window, the first labels are what drift is measured against."""
_COMPARED = 20
"""Newest epochs whose estimates are held against what came."""
_TOLD = 5  # features of the largest drift in a record


class _Snapshot(msgspec.Struct):
    loss: bytes
    estimate: bytes
    has_reference: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures for ``models.metrics``."""

    feature_psi: dict[str, float]
    prediction_psi: float | None
    estimated_auc: float | None
    estimated_log_loss: float | None
    estimate_error: float | None
    alarms: list[str]


class QualityMonitor:
    """Drift and estimated quality of one target; the state is in the task's blobs.

    Args:
        config: The workspace.
        target: Name of the target.
        state: Of the task.
    """

    def __init__(self, config: WorkspaceConfig, target: str, state: State) -> None:
        self._workspace, self._target, self._state = config.name, target, state
        self._name = f"{config.name}/{target}"
        self._epoch_us = config.workspace.epoch_us
        self._bins = FeatureBins(config.catalogue)
        self._drift = DriftMonitor(self._bins, no_counts(self._bins))
        self._loss, self._estimate = LossMonitor(), EstimateLedger()
        self._has_reference = False
        self._alarms: list[Alarm] = []
        stored = state.blobs.get(f"quality/{self._name}")
        if stored is not None:
            self._restore(msgspec.msgpack.decode(stored, type=_Snapshot))

    def came(self, epoch: int, scores: list[int], features: list[int]) -> None:
        """Take one partition's counts of an epoch, before the others have ended it."""
        if not scores:
            return
        counts = self._waiting(epoch) + Counts(
            np.array(features, np.int64).reshape(-1, BINS), np.array(scores, np.int64)
        )
        self._state.blobs.put(self._blob(epoch), counts.pack(self._bins.catalogue))

    def ended(self, epoch: int) -> list[Alarm]:
        """Compare with the training window once all partitions ended an epoch; new alarms."""
        counts = self._waiting(epoch)
        self._state.blobs.delete(self._blob(epoch))
        if not counts.rows:
            return []
        self._estimate.add_scored(epoch, counts.logits)
        self._drift.add(epoch, counts)
        alarms = self._drift.check() if self._has_reference else []
        self._alarms += alarms
        return alarms

    def learned(self, labels: Labels) -> list[Alarm]:
        """Take labels in the order in which they are learned; new alarms."""
        self._estimate.add_labels(labels.row_time // self._epoch_us, labels.logit, labels.positive)
        alarms = self._loss.learn(labels.logit, labels.positive)
        self._alarms += alarms
        return alarms

    def refer_to(self, labels: Labels) -> None:
        """Measure drift against these labels' rows from now on."""
        self._drift.replace_reference(counts_of(self._bins, labels.features, labels.logit))
        self._has_reference = True

    @property
    def has_reference(self) -> bool:
        """Whether there is anything to measure drift against."""
        return self._has_reference

    def quality(self) -> Quality:
        """Figures as of now."""
        *features, said = self._drift.drifts()
        strongest = sorted(features, key=lambda each: -each.psi)[:_TOLD]
        estimate = self._estimate.estimate()
        known = self._has_reference and bool(self._drift.recent().rows)
        raised = [f"{kind}:{name}" for kind, name in self._drift.raised]
        return Quality(
            {each.name: each.psi for each in strongest} if known else {},
            said.psi if known else None,
            estimate.auc,
            estimate.log_loss,
            mean_error(self._estimate.comparisons(newest=_COMPARED), "log_loss"),
            raised + (["loss_drift"] if self._loss.raised else []),
        )

    def publish(self, now_us: int, version: int, published: Published) -> None:
        """Hand over the alarms since the last time."""
        for alarm in self._alarms:
            published.lifecycle.append(self._record(alarm, now_us, version))
        self._alarms = []

    def keep(self) -> None:
        """Write the state to the task's blobs."""
        snapshot = _Snapshot(self._loss.snapshot(), self._estimate.snapshot(), self._has_reference)
        self._state.blobs.put(f"quality/{self._name}", msgspec.msgpack.encode(snapshot))
        # large, and changes at the ends of epochs only
        self._state.blobs.put(f"drift/{self._name}", self._drift.snapshot())

    def _restore(self, snapshot: _Snapshot) -> None:
        self._loss.restore(snapshot.loss)
        self._estimate.restore(snapshot.estimate)
        self._has_reference = snapshot.has_reference
        stored = self._state.blobs.get(f"drift/{self._name}")
        assert stored is not None
        self._drift.restore(stored)

    def _blob(self, epoch: int) -> str:
        return f"scored/{self._name}/{epoch}"

    def _waiting(self, epoch: int) -> Counts:
        stored = self._state.blobs.get(self._blob(epoch))
        if stored is None:
            return no_counts(self._bins)
        return Counts.unpack(stored, self._bins.catalogue)

    def _record(self, alarm: Alarm, now_us: int, version: int) -> dict[str, Any]:
        return record(
            "model_lifecycle",
            workspace=self._workspace,
            target=self._target,
            slot="online",
            action="alarm" if alarm.raised else "alarm_ended",
            version=str(version),
            reason=alarm.words,
            actor="learning",
            figures={"value": alarm.value, "limit": alarm.limit},
            details={"kind": alarm.kind, **({"feature": alarm.feature} if alarm.feature else {})},
            occurred_at=now_us,
        )
