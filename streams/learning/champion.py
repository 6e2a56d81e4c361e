"""Keeps the champion of one target: refits it, lets it be tried and judged, publishes it.

What becomes of a version is decided by `models/lifecycle/states.py`, purely by the labels and
commands in their order. Here are the models themselves: trained on the training window, exported,
signed, kept as blobs of the task, so that a restart goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import AffineCalibration
from models.calibration.stack import Stack
from models.champion.additive import AdditiveModel
from models.champion.artifact import artifact_sha256, artifact_version
from models.champion.boosted import MIN_LABELS, train_boosted
from models.champion.parity import export_champion
from models.champion.runtime import ArtifactError, ChampionModel
from models.champion.settings import ChampionSettings
from models.evaluation.monitor import Alarm
from models.evaluation.segments import segment_codes
from models.lifecycle.evidence import ALONE, Judged
from models.lifecycle.gate import GateResult, decide, split_in_time, surely_worse
from models.lifecycle.history import LifecycleEvent
from models.lifecycle.lineage import Lineage
from models.lifecycle.signing import Signer
from models.lifecycle.states import Slot
from models.lifecycle.transitions import Command, Transition
from models.targets import Target
from models.workspaces import WorkspaceConfig
from streams.arrow_schemas import record
from streams.engine.state import State
from streams.learning.lineage import lineage_of
from streams.learning.records import Published, artifact_record
from streams.learning.window import ONLINE, Labels, Learned, TrainingWindow

CHAMPION, CHALLENGER = "champion", "challenger"
_HOUR_US = 3_600_000_000
_SCHEDULE, _DRIFT = "schedule", "drift: "
_CALM_LABELS = 500
"""However many alarms there are, so many labels (or half of `refit_labels`) lie between refits."""

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]


class _Snapshot(msgspec.Struct):
    slot: bytes
    fitted_at: int
    fitted_until: int
    published: list[str]
    since_us: int = 0
    stack: bytes | None = None


class ChampionKeeper:
    """The champion of one target.

    Args:
        config: The workspace; without `champion:` in it nothing is ever trained.
        target: The target.
        state: Of the task; holds this keeper's blobs.
        signer: Signs what is published; None where nothing leaves the process.
    """

    def __init__(
        self, config: WorkspaceConfig, target: Target, state: State, signer: Signer | None
    ) -> None:
        self._config, self._target, self._state = config, target.name, state
        self._signer = signer
        self._settings = config.workspace.champion
        chosen = self._settings or ChampionSettings()
        self._share = chosen.share
        self._stack = Stack(2) if chosen.mixture == "stack" else None
        self._name = f"{config.name}/{target.name}"
        self._segment = config.workspace.segment
        self._slot = Slot(config.workspace.lifecycle, config.segment_names)
        self._models: dict[str, ChampionModel] = {}
        self._log: list[Transition] = []
        self._fitted_at = self._fitted_until = 0
        self._published: list[str] = []
        self._since_us = 0
        self._answering = ""
        stored = state.blobs.get(f"champion/{self._name}")
        if stored is not None:
            self._restore(stored)

    @property
    def version(self) -> str | None:
        """The champion in use."""
        return self._slot.champion

    @property
    def challenger(self) -> str | None:
        """The version on trial."""
        return self._slot.challenger

    @property
    def canary(self) -> tuple[str, float] | None:
        """The version that scores a share of the leads, and the share."""
        return self._slot.canary

    @property
    def slot(self) -> Slot:
        """The states of all versions, for those who read."""
        return self._slot

    def artifact(self, version: str) -> bytes | None:
        """The bytes of a version that is kept, None of others."""
        return self._state.blobs.get(f"artifact/{self._name}/{version}")

    def shares_with(self, version: str | None) -> list[float]:
        """Weights of the online model and of a version, or of none, in the mixture."""
        if version is None:
            return [1.0]
        return [*self._stack.shares] if self._stack else [1.0 - self._share, self._share]

    def beside(self, labels: Labels, online: F8) -> tuple[F8, F8, dict[str, F8]]:
        """What the versions say of labels' rows that are about to be learned.

        A stack learns from them on the way; all versions have the weights that it had before each.

        Args:
            online: What the online model says of them ``[n]``.

        Returns:
            The champion's logits ``[n]``, NaN without one, the weights of online model and champion
            ``[n, 2]``, and the mixture of the two with each version that is judged now ``[n]``.
        """
        said = {
            v: self._model(v).predict_logit(labels.features) for v in self._slot.judged_versions
        }
        champion = said.get(self.version or "", np.full(len(labels), np.nan))
        shares = self.learn_shares(online, champion, labels.positive)
        mixed = {ALONE: online}
        for version, logits in said.items():
            own, its = shares.T if self.version is not None else self.shares_with(version)
            mixed[version] = own * online + its * logits
        return champion, shares, mixed

    def learn_shares(self, online: F8, champion: F8, positive: NDArray[np.bool_]) -> F8:
        """Weights of online model and champion before each of n labels ``[n, 2]``.

        A stack learns the labels for which there is a champion's logit.
        """
        shares = np.tile([1.0, 0.0], (len(online), 1))
        known = ~np.isnan(champion)
        if self._stack is not None:
            logits = np.column_stack((online, champion))[known]
            shares[known] = self._stack.learn(logits, positive[known])
        else:
            shares[known] = 1.0 - self._share, self._share
        return shares

    def observe(
        self, labels: Labels, mixed: Mapping[str, F8], calibration: AffineCalibration
    ) -> None:
        """Judge the versions on labels, by what :meth:`beside` gave for their rows."""
        if not self._slot.judged_versions:
            return
        calibrated = {version: calibration.apply(logits) for version, logits in mixed.items()}
        segments = self._segments(labels.features)
        self._log += self._slot.observe(
            Judged(labels.positive, labels.row_time, calibrated, segments)
        )

    def command(self, text: str | None) -> None:
        """Do what a person wants; a command that cannot be done is refused in the log.

        What it caused says so by the command's `id`, for the person who waits for the answer.
        """
        self._answering = ""
        try:
            content = msgspec.json.decode(text or "", type=dict[str, Any])
            self._answering = str(content.pop("id", ""))
            if content.get("action") == "offer":
                self._offered(msgspec.convert(content, _Offer))
                return
            command = msgspec.convert(content, Command)
        except msgspec.DecodeError as error:  # of a ValidationError too
            self._add(self._slot.refused("", f"a command that cannot be read: {error}"))
            return
        if command.action == "refit" and self._settings is None:
            reason = "refit: workspace.yaml has no `champion:`. Fix: add it, or offer a champion"
            self._add(self._slot.refused("", reason, command.actor or "unknown"))
        else:
            self._add(self._slot.command(command))

    def _add(self, made: list[Transition]) -> None:
        """Log what happened, and by which command, if by one."""
        if self._answering:
            marked = {"command": self._answering}
            made = [msgspec.structs.replace(m, details={**m.details, **marked}) for m in made]
        self._log += made

    @property
    def _by_itself(self) -> bool:
        """Whether the refit that is wanted is one that nobody asked for."""
        reason = self._slot.refit_wanted or ""
        return reason == _SCHEDULE or reason.startswith(_DRIFT)

    def drifted(self, alarms: Sequence[Alarm]) -> None:
        """Alarms that were raised ask for a refit, where the workspace wants that."""
        raised = [alarm.words for alarm in alarms if alarm.raised]
        if raised and self._settings is not None and self._settings.refit_on_drift:
            self._slot.request_refit(f"{_DRIFT}{raised[0]}")

    def refit(
        self, window: TrainingWindow, labels: int, until: int, calibration: AffineCalibration
    ) -> Labels | None:
        """Train a new version, if it is time or was asked for; the labels that it was fitted on.

        Args:
            window: The labels learned so far.
            labels: How many there were ever.
            until: µs of event time at which the newest was resolved.
            calibration: Of the mixture.
        """
        settings = self._settings
        if settings is None:
            return None
        late = (
            settings.refit_hours and until - self._fitted_until >= settings.refit_hours * _HOUR_US
        )
        own = self._slot.refit_wanted is None or self._by_itself
        if own and self.challenger is not None:
            return None  # what is on trial is not disturbed; a person may do that
        if labels - self._fitted_at >= settings.refit_labels or (late and labels > self._fitted_at):
            self._slot.request_refit(_SCHEDULE)
        reason = self._slot.refit_wanted
        if reason is None or (
            self._by_itself
            and labels - self._fitted_at < min(settings.refit_labels // 2, _CALM_LABELS)
        ):
            return None
        learned = window.since(labels - settings.window)
        self._fitted_at, self._fitted_until = labels, until
        positives = int(learned.labels.positive.sum())
        if not settings.min_labels <= len(learned) or not 0 < positives < len(learned):
            self._add(
                self._slot.training_failed(
                    f"{len(learned)} labels, {positives} of them positive; at least "
                    f"{settings.min_labels} and both outcomes are needed"
                )
            )
            return None
        try:
            model = self._trained(learned.labels)
            artifact = export_champion(model, self._config.catalogue, learned.labels.features)
        except ArtifactError as error:  # no proof, no champion; the former one goes on
            self._add(self._slot.training_failed(str(error)))
            return None
        version = self._keep(artifact)
        straight = self._by_itself and self._config.workspace.lifecycle.straight_refits
        held_out = self._held_out(learned, calibration, straight)
        lineage = lineage_of(
            self._config, self._target, learned.labels, settings, held_out.figures, self.version
        )
        self._add(
            self._slot.trained(
                version, held_out.figures, _texts(lineage), held_out, straight=straight
            )
        )
        return learned.labels

    def count_from(self, labels: int) -> None:
        """Labels are counted anew: from here on, so many of them were there at the last refit."""
        self._fitted_at = min(self._fitted_at, labels)

    def publish(self, now_us: int, published: Published) -> None:
        """Hand over what happened, and artifacts that scorers need from now on."""
        wanted = {CHAMPION: self.version, CHALLENGER: self.canary[0] if self.canary else None}
        for slot, version in wanted.items():
            # a canary that is promoted moves to the other slot: the next one takes its place
            if version is not None and f"{slot}/{version}" not in self._published:
                published.models.append(self._artifact_record(slot, version, now_us))
        self._published = [f"{slot}/{v}" for slot, v in wanted.items() if v is not None]
        for each in self._log:
            published.lifecycle.append(self._lifecycle_record(each, now_us))
            if each.action in ("promoted", "rolled_back"):
                self._since_us = now_us
        self._log, self._answering = [], ""
        published.champions[self._config.name, self._target] = (
            self._since_us if self.version is not None else None
        )

    def keep(self) -> None:
        """Write the state to the task's blobs; forget artifacts that cannot come back."""
        snapshot = _Snapshot(
            self._slot.snapshot(),
            self._fitted_at,
            self._fitted_until,
            self._published,
            self._since_us,
            self.stack,
        )
        self._state.blobs.put(f"champion/{self._name}", msgspec.msgpack.encode(snapshot))
        kept = self._slot.kept_versions
        prefix = f"artifact/{self._name}/"
        for name in [b for b in self._state.blobs if b.startswith(prefix)]:
            if name.removeprefix(prefix) not in kept:
                self._state.blobs.delete(name)
        self._models = {v: m for v, m in self._models.items() if v in kept}

    def _restore(self, data: bytes) -> None:
        snapshot = msgspec.msgpack.decode(data, type=_Snapshot)
        self._slot.restore(snapshot.slot)
        self._fitted_at, self._fitted_until = snapshot.fitted_at, snapshot.fitted_until
        self._published, self._since_us = snapshot.published, snapshot.since_us
        self.set_stack(snapshot.stack)

    @property
    def stack(self) -> bytes | None:
        """The state of the mixture's weights, where they are learned."""
        return None if self._stack is None else self._stack.snapshot()

    def set_stack(self, state: bytes | None) -> None:
        """Go back to a state of the mixture's weights."""
        if self._stack is not None and state is not None:
            self._stack.restore(state)

    def _keep(self, artifact: bytes) -> str:
        version = artifact_version(artifact)
        self._state.blobs.put(f"artifact/{self._name}/{version}", artifact)
        return version

    def _artifact(self, version: str) -> bytes:
        stored = self.artifact(version)
        assert stored is not None, version
        return stored

    def _model(self, version: str) -> ChampionModel:
        found = self._models.get(version)
        if found is None:
            artifact = self._artifact(version)
            found = ChampionModel(artifact, artifact_sha256(artifact), self._config.catalogue)
            self._models[version] = found
        return found

    def _segments(self, features: F4) -> NDArray[np.int64] | None:
        if self._segment is None:
            return None
        return segment_codes(self._config.catalogue, self._segment, features).astype(np.int64)

    def _trained(self, labels: Labels) -> AdditiveModel:
        assert self._settings is not None
        return train_boosted(
            self._config.catalogue, labels.features, labels.positive, self._settings
        )

    def _held_out(
        self, learned: Learned, calibration: AffineCalibration, straight: bool
    ) -> GateResult:
        """The gate on the newest fifth, by a model fitted on the rest of the window.

        Both sides are mixtures with what the online model said before it learned each row; the
        incumbent's is the mixture that was in use then. The same recipe on newer labels needs no
        proof that it is as good, only that it is not surely worse: on a few hundred labels that
        proof fails by chance, and a champion that is not refitted harms the mixture.
        """
        labels = learned.labels
        older, newest = split_in_time(labels.row_time, labels.resolved_at)
        outcomes = labels.positive[older]
        if len(outcomes) < MIN_LABELS or not 0 < outcomes.sum() < len(outcomes):
            return GateResult(True, ("too few labels to hold some out",), (), {})
        reference = self._trained(labels.part(older))
        said = reference.predict_logit(labels.features[newest])
        shares = self.shares_with("")
        challenger = shares[0] * learned.said[newest, ONLINE] + shares[1] * said
        incumbent = learned.mixed[newest]
        ours, theirs = calibration.apply(challenger), calibration.apply(incumbent)
        settings = self._config.workspace.lifecycle
        if straight:
            worse, figures = surely_worse(
                settings.gate, ours, theirs, labels.positive[newest],
                settings.rollback_confidence, settings.rollback_margin,
            )  # fmt: skip
            words = "surely worse" if worse else "not surely worse"
            reason = f"{words} than the mixture that was in use over {len(ours)} held-out labels"
            return GateResult(not worse, (reason,), ("log_loss",) if worse else (), figures)
        return decide(
            settings.gate,
            ours,
            theirs,
            labels.positive[newest],
            labels.row_time[newest],
            self._segments(labels.features[newest]),
            self._config.segment_names,
        )

    def _offered(self, offer: _Offer) -> None:
        """Take a champion that was trained elsewhere; it begins in shadow like any other."""
        try:
            ChampionModel(offer.artifact, artifact_sha256(offer.artifact), self._config.catalogue)
        except ArtifactError as error:
            version = artifact_version(offer.artifact)
            self._add(self._slot.refused(version, f"offer: {error}", offer.actor))
            return
        version = self._keep(offer.artifact)
        self._slot.request_refit(offer.reason or "offered", offer.actor or "unknown")
        self._add(self._slot.trained(version, offer.figures, offer.details))

    def _artifact_record(self, slot: str, version: str, now_us: int) -> dict[str, Any]:
        artifact, catalogue = self._artifact(version), self._config.catalogue
        signature = None
        if self._signer is not None:
            where = (self._config.name, self._target)
            signature = self._signer.sign(artifact, *where, catalogue.hash)
        return artifact_record(
            artifact,
            signature,
            workspace=self._config.name,
            target=self._target,
            slot=slot,
            version=now_us,
            labels_learned=self._fitted_at,
            learned_until=self._fitted_until or None,
            catalogue_version=catalogue.catalogue_version,
            artifact_version=version,
            published_at=now_us,
        )

    def _lifecycle_record(self, each: Transition, now_us: int) -> dict[str, Any]:
        event = LifecycleEvent.of(each, self._config.name, self._target, now_us)
        return record("model_lifecycle", **event.record())


class _Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A champion that somebody trained elsewhere; its bytes are base64 in JSON."""

    action: Literal["offer"]
    artifact: bytes
    actor: str = ""
    reason: str | None = None
    figures: dict[str, float] = {}
    details: dict[str, str] = {}


def _texts(lineage: Lineage) -> dict[str, str]:
    plain = msgspec.to_builtins(lineage)
    return {"lineage": msgspec.json.encode(plain).decode()}
