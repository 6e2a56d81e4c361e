"""What is learned for one target: online model, calibration, recent scores, live figures.

All of it is one snapshot, so that a restart goes on bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from numpy.typing import NDArray

from models.calibration.affine import AffineCalibration
from models.calibration.percentile import RecentScores
from models.evaluation.prequential import LiveMetrics
from models.features.encoding import Encoding
from models.online.registry import make_online_model
from models.targets import Target
from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import record

log = structlog.get_logger(__name__)

_PRIOR_LABELS = 2.0
"""Weight of the uninformed base rate of one half against what was counted."""


class _Snapshot(msgspec.Struct):
    online: bytes
    calibration: bytes
    recent: bytes
    window: bytes
    version: int
    epoch: int
    labels: int
    positives: int
    published_at_us: int
    learned_until: int


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels in the order in which they are learned; arrays are ``[n]``, features ``[n, C]``."""

    features: NDArray[np.float32]
    positive: NDArray[np.bool_]
    logit: NDArray[np.float64]
    row_time: NDArray[np.int64]
    resolved_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positive)


class Learner:
    """Learns one target's labels, each once.

    Args:
        config: The workspace.
        encoding: Its model inputs.
        target: The target.
    """

    def __init__(self, config: WorkspaceConfig, encoding: Encoding, target: Target) -> None:
        self.workspace, self.target = config.name, target.name
        self._catalogue_version = config.catalogue.catalogue_version
        self._columns = len(config.catalogue.columns)
        self.online = make_online_model(config.workspace.online, encoding)
        self._calibration = AffineCalibration()
        self._recent = RecentScores()
        self._window = LiveMetrics()
        self.version = 0
        self.epoch = int(np.iinfo(np.int64).min)
        self.labels = 0
        self._positives = 0
        self.published_at_us = 0
        self._learned_until = 0

    def fitting(self, rows: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which ``Label`` records can be learned ``[n]``: labels whose features mean the same."""
        is_label = pc.equal(rows.column("record_kind"), "label")
        same = pc.equal(rows.column("catalogue_version"), self._catalogue_version)
        foreign = pc.sum(pc.and_not(is_label, same)).as_py()
        if foreign:
            log.warning(
                "labels_of_another_catalogue",
                workspace=self.workspace,
                target=self.target,
                labels=foreign,
                action="not learned",
            )
        fits: NDArray[np.bool_] = pc.and_(is_label, same).to_numpy(zero_copy_only=False)
        return fits

    def learn(self, labels: Labels) -> None:
        """Judge the published logits, then learn.

        Figures use the logit that was published for each row, never a fresh prediction.
        """
        if not len(labels):
            return
        delays = (labels.resolved_at - labels.row_time) / 1e6
        self._window.add(labels.logit, labels.positive, delays)
        self._recent.add(labels.logit, labels.row_time)
        rows = np.ascontiguousarray(labels.features[:, : self._columns])
        self._calibration.learn(self.online.predict_logit(rows), labels.positive)
        self.online.learn(rows, labels.positive)
        self.labels += len(labels)
        self._positives += int(labels.positive.sum())
        self._learned_until = max(self._learned_until, int(labels.resolved_at.max()))

    def publish(
        self, now_us: int, epoch: int | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make the next version.

        Returns:
            A ``ModelWeights`` and a ``ModelMetrics`` record as plain dicts, times in µs.
        """
        self.version += 1
        if epoch is not None:
            self.epoch = epoch
        self.published_at_us = now_us
        common = {"workspace": self.workspace, "target": self.target, "version": self.version}
        weights = record(
            "model_weights",
            **common,
            slot="online",
            epoch=self.epoch,
            labels_learned=self.labels,
            learned_until=self._learned_until or None,
            catalogue_version=self._catalogue_version,
            weights=self.online.weights().tolist(),
            calibration_a=self._calibration.a,
            calibration_b=self._calibration.b,
            base_rate=(self._positives + _PRIOR_LABELS / 2) / (self.labels + _PRIOR_LABELS),
            quantiles=self._recent.quantiles().tolist(),
            published_at=now_us,
        )
        figures = self._window.figures()
        delay = self._window.delay_s() or (None, None)
        metrics = record(
            "model_metrics",
            **common,
            epoch=self.epoch,
            labels=self.labels,
            window_labels=figures.labels,
            positives=figures.positives,
            auc=figures.auc,
            average_precision=figures.average_precision,
            log_loss=figures.log_loss,
            brier=figures.brier,
            ece=figures.ece,
            lift_top_decile=figures.lift_top_decile,
            label_delay_s_p50=delay[0],
            label_delay_s_p95=delay[1],
            measured_at=now_us,
        )
        return weights, metrics

    def snapshot(self) -> bytes:
        """The whole state."""
        return msgspec.msgpack.encode(
            _Snapshot(
                self.online.snapshot(),
                self._calibration.snapshot(),
                self._recent.snapshot(),
                self._window.snapshot(),
                self.version,
                self.epoch,
                self.labels,
                self._positives,
                self.published_at_us,
                self._learned_until,
            )
        )

    def restore(self, data: bytes) -> None:
        """Go on from a snapshot; one of another catalogue or model gives only its version."""
        s = msgspec.msgpack.decode(data, type=_Snapshot)
        self.version, self.epoch = s.version, s.epoch
        try:
            self.online.restore(s.online)
        except ValueError as error:
            log.warning(
                "learning_begins_anew",
                workspace=self.workspace,
                target=self.target,
                version=s.version,
                reason=str(error),
            )
            return
        self._calibration.restore(s.calibration)
        self._recent.restore(s.recent)
        self._window.restore(s.window)
        self.labels, self._positives = s.labels, s.positives
        self.published_at_us, self._learned_until = s.published_at_us, s.learned_until
