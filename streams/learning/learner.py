"""What is learned for one target: online model, calibration, recent scores, live figures.

All of it is one snapshot, so that a restart goes on bit for bit. Every so many labels the models'
snapshot is kept as a checkpoint: a label that is taken back later is un-learned exactly, by going
back to the checkpoint before it and learning the window's labels since then anew without it. That
includes target rates, the scales of robust columns, a river model and the weights of a stack. What
stays as it was: the champion until its next refit, the intervals, and the rows of other labels,
whose rates are those that they were scored with.
"""

from __future__ import annotations

from functools import partial

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from numpy.typing import NDArray

from models.calibration.affine import AffineCalibration
from models.calibration.cohort import YoungHistory
from models.calibration.interval import IntervalTable, VennAbers
from models.calibration.percentile import RecentScores
from models.evaluation.prequential import WINDOW, LiveMetrics
from models.features.encoding import Encoding
from models.lifecycle.signing import Signer
from models.online.interface import OnlineModel, pack_arrays, unpack_arrays
from models.targets import Target
from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import record
from streams.engine.state import State
from streams.engine.table import Table
from streams.learning.champion import ChampionKeeper
from streams.learning.members import OnlineMembers
from streams.learning.monitor import REFERENCE_LABELS, QualityMonitor
from streams.learning.records import Published
from streams.learning.window import (
    CHAMPION,
    RIVER,
    Labels,
    Learned,
    TrainingWindow,
    mixed,
    window_dtype,
)

F8 = NDArray[np.float64]

log = structlog.get_logger(__name__)

_PRIOR_LABELS = 2.0
"""Weight of the uninformed base rate of one half against what was counted."""
_RECENT = 500
"""Labels whose rows stand for all while a history is young."""
INTERVAL_LABELS = 200
"""The intervals are made anew every so many labels; that takes some ms."""
NO_INTERVAL = IntervalTable(np.empty(0), np.empty(0), np.empty(0))


def _delays(labels: Labels) -> NDArray[np.float64]:
    """Seconds from each row to its outcome ``[n]``."""
    delays: NDArray[np.float64] = (labels.resolved_at - labels.row_time) / 1e6
    return delays


class _Snapshot(msgspec.Struct):
    members: bytes
    recent: bytes
    window: bytes
    version: int
    epoch: int
    labels: int
    positives: int
    published_at_us: int
    learned_until: int
    taken_back: int
    checkpoints: list[int]
    interval: bytes
    young: bytes
    table_at: int
    table: bytes


class _Head(msgspec.Struct):
    """What a learner that begins anew goes on from, whatever else its snapshot has."""

    version: int
    epoch: int
    labels: int
    checkpoints: list[int] = []


class _Checkpoint(msgspec.Struct):
    members: bytes
    stack: bytes | None


class Learner:
    """Learns one target's labels, each once.

    Args:
        config: The workspace.
        encoding: Its model inputs.
        target: The target.
        state: Of the task; holds the table of :meth:`table` and this learner's blobs.
        signer: Of champions; None where nothing leaves the process.
    """

    def __init__(
        self,
        config: WorkspaceConfig,
        encoding: Encoding,
        target: Target,
        state: State,
        signer: Signer | None = None,
    ) -> None:
        self.workspace, self.target = config.name, target.name
        self._config, self._encoding = config, encoding
        self._state, self._name = state, f"{config.name}/{target.name}"
        self._catalogue_version = config.catalogue.catalogue_version
        self._columns = len(config.catalogue.columns)
        self._epoch_us = config.workspace.epoch_us
        self._fresh = partial(OnlineMembers, config, encoding)
        self._members = self._fresh()
        self._recent = RecentScores()
        self._window = LiveMetrics()
        self.version = 0
        self.epoch = int(np.iinfo(np.int64).min)
        self.labels = 0
        self._positives = 0
        self.published_at_us = 0
        self._learned_until = 0
        size = config.workspace.training_window
        self.window = TrainingWindow(state.table(f"window/{self._name}"), self._columns)
        self._checkpoint_every = max(size // 2, 1)
        self._checkpoints: list[int] = []
        self._taken_back = 0
        self._young = YoungHistory(target.horizon_us, early=not target.positive_by_deadline)
        self._interval, self._table = VennAbers(), NO_INTERVAL
        self._table_at = 0
        self.champion = ChampionKeeper(config, target, state, signer)
        self.monitor = QualityMonitor(config, target.name, state)
        stored = state.blobs.get(f"learner/{self._name}")
        if stored is not None:
            self._restore(stored)

    @property
    def online(self) -> OnlineModel:
        """The linear model."""
        return self._members.online

    @property
    def _calibration(self) -> AffineCalibration:
        return self._members.calibration

    @staticmethod
    def table(config: WorkspaceConfig, target: Target) -> Table:
        """The empty table of a target's training window."""
        columns = len(config.catalogue.columns)
        name = f"window/{config.name}/{target.name}"
        return Table(name, window_dtype(columns), meaning=config.catalogue.hash)

    def fitting(self, rows: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which records can be learned or taken back ``[n]``: their features mean the same."""
        kind = rows.column("record_kind")
        is_label = pc.or_(pc.equal(kind, "label"), pc.equal(kind, "retraction"))
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
        while len(labels):  # up to the next checkpoint, or to where robust columns are scaled anew
            room = self._checkpoint_every - self.labels % self._checkpoint_every
            if room == self._checkpoint_every:
                self._keep_checkpoint()
            room = min(room, self._members.features.until_change)
            self._learn(labels.part(slice(0, room)))
            labels = labels.part(slice(room, None))
        if not self.monitor.has_reference and self.labels >= REFERENCE_LABELS:
            self.monitor.refer_to(self.window.since(self.labels - REFERENCE_LABELS).labels)

    def epoch_ended(self, epoch: int) -> None:
        """All partitions ended an epoch: see whether what is scored has drifted."""
        self.champion.drifted(self.monitor.ended(epoch))
        self._young.reach((epoch + 1) * self._epoch_us)

    def _learn(self, labels: Labels) -> None:
        self._window.add(labels.logit, labels.positive, _delays(labels))
        self._recent.add(labels.logit, labels.row_time)
        self.champion.drifted(self.monitor.learned(labels))
        self._young.learn(labels.row_time, labels.resolved_at, labels.positive)
        online, river = self._members.learn(labels)
        champion, shares, with_version = self.champion.beside(labels, online)
        said, shares = self._mixture(online, champion, river, shares)
        if self._members.river is not None:
            rest, part = 1.0 - self._river_share, self._river_share * river
            with_version = {version: rest * z + part for version, z in with_version.items()}
        self.champion.observe(labels, with_version, self._calibration)
        self.window.add(labels, self.labels, said, shares)
        raw = mixed(said, shares)
        self._interval.learn(raw, labels.positive)
        self._calibration.learn(raw, labels.positive)
        self.labels += len(labels)
        self._positives += int(labels.positive.sum())
        self._learned_until = max(self._learned_until, int(labels.resolved_at.max()))

    def _mixture(self, online: F8, champion: F8, river: F8, shares: F8) -> tuple[F8, F8]:
        """Logits and weights of all members ``[n, 3]``, from the weights of the first two."""
        share = self._river_share if self._members.river is not None else 0.0
        said = np.column_stack((online, champion, river))
        return said, np.column_stack(((1.0 - share) * shares, np.full(len(online), share)))

    def _keep_checkpoint(self) -> None:
        if self.labels in self._checkpoints:  # nothing was learned since a restart
            return
        self._checkpoints.append(self.labels)
        models = _Checkpoint(self._members.snapshot(), self.champion.stack)
        self._state.blobs.put(self._checkpoint(self.labels), msgspec.msgpack.encode(models))
        while len(self._checkpoints) > 3:
            self._state.blobs.delete(self._checkpoint(self._checkpoints.pop(0)))
        self.window.forget(self._checkpoints[0])

    def _checkpoint(self, labels: int) -> str:
        return f"checkpoint/{self._name}/{labels}"

    def take_back(self, keys: NDArray[np.uint64], now_us: int, published: Published) -> None:
        """Un-learn labels ``[n, 2]``: all models become as if they had never been learned.

        Labels that left the window are learned for good; the record on ``models.lifecycle`` says
        how many.
        """
        keys = np.unique(keys, axis=0)
        known = self.window.has(keys)
        change = self._unlearned(keys[known]) if known.any() else {}
        figures = {"taken_back": float(known.sum()), "too_old": float((~known).sum()), **change}
        published.lifecycle.append(
            record(
                "model_lifecycle",
                workspace=self.workspace,
                target=self.target,
                slot="online",
                action="relearned",
                version=str(self.version + 1),
                reason="labels were taken back",
                actor="learning",
                figures=figures,
                occurred_at=now_us,
            )
        )

    def _unlearned(self, keys: NDArray[np.uint64]) -> dict[str, float]:
        """Learn anew without labels that are in the window; says what that changed."""
        before = self.online.weights()
        taken = self.window.take_back(keys)
        said = self.online.predict_logit(taken.labels.features)
        since = [n for n in self._checkpoints if n <= int(taken.number[0])]
        start = since[-1]
        for later in [n for n in self._checkpoints if n > start]:
            self._state.blobs.delete(self._checkpoint(later))
        self._checkpoints = since
        stored = self._state.blobs.get(self._checkpoint(start))
        assert stored is not None
        models = msgspec.msgpack.decode(stored, type=_Checkpoint)
        self._members.restore(models.members)
        self.champion.set_stack(models.stack)
        again = self.window.since(start)
        self._learn_again(again)
        self._positives -= int(taken.labels.positive.sum())
        self._taken_back += len(taken)
        self._window = self._live_metrics()
        now = self.online.predict_logit(taken.labels.features)
        return {
            "labels_learned_again": float(len(again)),
            "largest_weight_change": float(np.abs(self.online.weights() - before).max()),
            "mean_logit_change_of_their_rows": float((now - said).mean()),
        }

    def _learn_again(self, learned: Learned) -> None:
        """Learn labels of the window, whose champions said what they said."""
        labels, champion, done = learned.labels, learned.said[:, CHAMPION], 0
        while done < len(labels):
            at = slice(done, done + min(len(labels) - done, self._members.features.until_change))
            part = labels.part(at)
            online, river = self._members.learn(part)
            shares = self.champion.learn_shares(online, champion[at], part.positive)
            rest = 1.0 - learned.shares[at, RIVER:]
            said = np.column_stack((online, champion[at], river))
            shares = np.column_stack((rest * shares, learned.shares[at, RIVER]))
            self._calibration.learn(mixed(said, shares), part.positive)
            self.window.set_said(part.keys, said, shares)
            done = at.stop

    def _live_metrics(self) -> LiveMetrics:
        """Live figures of the labels that are still in the window."""
        metrics, labels = LiveMetrics(), self.window.since(self.labels - WINDOW).labels
        metrics.add(labels.logit, labels.positive, _delays(labels))
        return metrics

    def publish(self, now_us: int, published: Published, epoch: int | None = None) -> None:
        """Make the next version, with its live figures."""
        fitted = self.champion.refit(
            self.window, self.labels, self._learned_until, self._calibration
        )
        if fitted is not None:
            self.monitor.refer_to(fitted)
        self.monitor.publish(now_us, self.version + 1, published)
        self.champion.publish(now_us, published)
        self._make_table()
        canary, river = self.champion.canary or (None, 0.0), self._members.river
        shift = self._shift()
        # winners alone say nothing of how sure a probability is
        table = self._table if self._young.over else NO_INTERVAL
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
            labels_learned=self.labels - self._taken_back,
            learned_until=self._learned_until or None,
            catalogue_version=self._catalogue_version,
            weights=self.online.weights().tolist(),
            calibration_a=self._calibration.a,
            calibration_b=self._calibration.b + shift,
            base_rate=self._young.base_rate() or self._base_rate,
            quantiles=self._recent.quantiles().tolist(),
            champion_version=self.champion.version,
            challenger_version=canary[0],
            canary_share=canary[1],
            mixture=self.shares_with(self.champion.version),
            interval_logits=(self._calibration.a * table.grid + self._calibration.b).tolist(),
            interval_low=table.p0.tolist(),
            interval_high=table.p1.tolist(),
            centers=self._members.features.centers,
            scales=self._members.features.scales,
            rates=self._members.features.rates,
            river_model=river.snapshot() if river is not None else None,
            published_at=now_us,
        )
        figures = self._window.figures()
        delay = self._window.delay_s() or (None, None)
        quality = self.monitor.quality()
        metrics = record(
            "model_metrics",
            **common,
            epoch=self.epoch,
            labels=self.labels - self._taken_back,
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
            champion_version=self.champion.version,
            challenger_version=self.champion.challenger,
            feature_psi=quality.feature_psi,
            prediction_psi=quality.prediction_psi,
            estimated_auc=quality.estimated_auc,
            estimated_log_loss=quality.estimated_log_loss,
            estimate_error=quality.estimate_error,
            alarms=quality.alarms,
            measured_at=now_us,
        )
        published.models.append(weights)
        published.metrics.append(metrics)

    def came(self, epoch: int, scores: list[int], features: list[int]) -> None:
        """Take one partition's counts of the rows that it kept until the end of an epoch."""
        self.monitor.came(epoch, scores, features)
        self._young.kept(sum(scores))

    @property
    def _base_rate(self) -> float:
        labels = self.labels - self._taken_back
        return (self._positives + _PRIOR_LABELS / 2) / (labels + _PRIOR_LABELS)

    def _shift(self) -> float:
        """What a young history adds to every logit; 0 once labels speak for themselves."""
        if self._young.base_rate() is None:
            return 0.0
        recent = self.window.since(self.labels - _RECENT)
        return self._young.shift(self._calibration.apply(recent.mixed))

    @property
    def _river_share(self) -> float:
        """Weight of the river model: that of one member among all."""
        return self._river_share_with(self.champion.version)

    def _river_share_with(self, version: str | None) -> float:
        return 1.0 / (1 + len(self.champion.shares_with(version)))

    def shares_with(self, version: str | None) -> list[float]:
        """Weights of online model, a champion and river model, those that there are."""
        shares = self.champion.shares_with(version)
        if self._members.river is None:
            return shares
        river = self._river_share_with(version)
        return [*((1.0 - river) * share for share in shares), river]

    def _make_table(self) -> None:
        """Bring the intervals up to date, every so many labels."""
        if self.labels - self._table_at >= INTERVAL_LABELS:
            self._table, self._table_at = self._interval.table(), self.labels

    def keep(self) -> None:
        """Write the whole state to the task's blobs."""
        snapshot = _Snapshot(
            self._members.snapshot(),
            self._recent.snapshot(),
            self._window.snapshot(),
            self.version,
            self.epoch,
            self.labels,
            self._positives,
            self.published_at_us,
            self._learned_until,
            self._taken_back,
            self._checkpoints,
            self._interval.snapshot(),
            self._young.snapshot(),
            self._table_at,
            pack_arrays({}, {"grid": self._table.grid, "p0": self._table.p0, "p1": self._table.p1}),
        )
        self._state.blobs.put(f"learner/{self._name}", msgspec.msgpack.encode(snapshot))
        self.champion.keep()
        self.monitor.keep()

    def _restore(self, data: bytes) -> None:
        """Go on from a snapshot; one of other models or of an older program gives its version."""
        head = msgspec.msgpack.decode(data, type=_Head)
        self.version, self.epoch = head.version, head.epoch
        try:
            s = msgspec.msgpack.decode(data, type=_Snapshot)
            self._members.restore(s.members)
        except (ValueError, msgspec.DecodeError) as error:
            self._begin_anew(head, str(error))
            return
        self._recent.restore(s.recent)
        self._window.restore(s.window)
        self.labels, self._positives = s.labels, s.positives
        self.published_at_us, self._learned_until = s.published_at_us, s.learned_until
        self._taken_back, self._checkpoints = s.taken_back, s.checkpoints
        self._interval.restore(s.interval)
        self._young.restore(s.young)
        table = unpack_arrays(s.table)[1]
        self._table = IntervalTable(table["grid"], table["p0"], table["p1"])
        self._table_at = s.table_at

    def _begin_anew(self, before: _Head, reason: str) -> None:
        """Other models than before: they learn the labels of the window.

        Kept at once, since the window's labels have other numbers from now on.
        """
        self._members = self._fresh()
        for number in before.checkpoints:
            self._state.blobs.delete(self._checkpoint(number))
        known = self.window.since(0).labels
        self.window.forget(before.labels)
        log.warning(
            "learning_begins_anew",
            workspace=self.workspace,
            target=self.target,
            version=self.version,
            reason=reason,
            labels_learned_again=len(known),
        )
        self.champion.count_from(len(known))
        self.learn(known)
        self.keep()
