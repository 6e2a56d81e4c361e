"""The states of one target's champion slot: training, shadow, canary, champion, retired.

A `Slot` is a pure function of what it is given, in order: labels, finished trainings, commands. It
answers with transitions, plain data for the log; the same whatever batches the labels came in.

A challenger is judged on labels that came after it was trained, first in shadow, then as a canary
that scores a share of the leads; each state ends with the gate. A new champion is watched against
the former one, and rolled back if it is surely worse. Whenever the incumbent changes, the evidence
for a challenger begins anew.
"""

from __future__ import annotations

import msgspec
import numpy as np

from models.lifecycle.evidence import ALONE, Evidence, Judged
from models.lifecycle.gate import GateResult, decide, surely_worse
from models.lifecycle.settings import LifecycleSettings
from models.lifecycle.slot_state import SlotState
from models.lifecycle.transitions import LEARNER, Action, Command, State, Transition
from models.online.interface import pack_arrays, unpack_arrays

_LOOKS = 4  # at the figures of a new champion while it is watched


class Slot:
    """The champion slot of one target.

    Args:
        settings: Declared by the workspace.
        segment_names: Words for the codes of `Judged.segments`.
    """

    def __init__(self, settings: LifecycleSettings, segment_names: tuple[str, ...] = ()) -> None:
        self._settings, self._segment_names = settings, segment_names
        self._state = SlotState()
        self._trial, self._watch = Evidence(), Evidence()

    @property
    def champion(self) -> str | None:
        """The version in use."""
        return self._state.champion

    @property
    def challenger(self) -> str | None:
        """The version on trial."""
        return self._state.challenger

    @property
    def canary(self) -> tuple[str, float] | None:
        """The version that scores a share of the leads, and the share."""
        if self._state.challenger is None or self._state.stage != "canary":
            return None
        return self._state.challenger, self._settings.canary_share

    @property
    def refit_wanted(self) -> str | None:
        """Why a training is wanted, until `trained` or `training_failed` answers it."""
        return self._state.refit

    @property
    def ready(self) -> bool:
        """Whether the challenger passed every gate and waits for a person."""
        return self._state.ready

    @property
    def judged_versions(self) -> tuple[str, ...]:
        """Whose logits `observe` needs now."""
        return self._state.judged

    @property
    def kept_versions(self) -> tuple[str, ...]:
        """Whose artifacts must be kept, since they may come into use."""
        return self._state.kept

    @property
    def trial(self) -> Evidence:
        """The labels on which the challenger was judged in its state so far."""
        return self._trial

    @property
    def trial_labels(self) -> int:
        """How many labels its state asks for."""
        return self._goal()

    def state_of(self, version: str) -> State | None:
        """A version's state; None when it is not kept."""
        return self._state.state_of(version)

    def request_refit(self, reason: str, actor: str = LEARNER) -> None:
        """Ask for a training (schedule, drift alarm, person); one that is wanted already stays."""
        if self._state.refit is None:
            self._state.refit, self._state.refit_actor = reason, actor

    def training_failed(self, reason: str) -> list[Transition]:
        """The training that was wanted gave no model."""
        actor = self._state.refit_done()[1]
        return [self._made("refused", "", f"no model could be trained: {reason}", actor)]

    def refused(self, version: str, reason: str, actor: str = LEARNER) -> list[Transition]:
        """Something that came for the slot was not taken; the log says why."""
        return [self._made("refused", version, reason, actor)]

    def trained(
        self,
        version: str,
        figures: dict[str, float] | None = None,
        details: dict[str, str] | None = None,
        held_out: GateResult | None = None,
        *,
        straight: bool = False,
    ) -> list[Transition]:
        """A challenger was trained; it takes the place of the one on trial, if there is one.

        Args:
            version: Of its artifact.
            figures: Of the training.
            details: Of the training, such as the digest of its labels.
            held_out: The gate's decision on the newest labels of the training window, where the
                caller asked for it; one that failed ends here.
            straight: Into use without a trial, where `held_out` passed and versions are promoted
                by themselves.
        """
        state = self._state
        reason, actor = state.refit_done()
        if version in (state.champion, state.challenger):
            where = "in use" if version == state.champion else "on trial"
            problem = f"the training gave the model that is {where}"
            return [self._made("refused", version, problem, actor)]
        made = [self._made("trained", version, reason, actor, figures, details)]
        if state.challenger is not None:
            made += self._retire_challenger(f"superseded by {version}")
        if version in state.rejected:
            state.rejected.remove(version)
        state.challenger, state.stage, state.ready = version, "shadow", False
        self._trial.clear()
        if held_out is not None:
            made.append(self._gated(held_out, "held-out labels"))
            if not held_out.passed:
                return made + self._retire_challenger("it did not pass the gate")
        if straight and self._settings.auto_promote:
            return made + self._promote(version, "it passed the gate", LEARNER)
        if self._settings.shadow_labels:
            why = f"judged on the next {self._settings.shadow_labels} labels, unseen by subscribers"
            return [*made, self._made("shadow", version, why)]
        return made + self._after_shadow()

    def observe(self, judged: Judged) -> list[Transition]:
        """Judge versions on labels that come next; the cuts between calls change nothing.

        Raises:
            KeyError: logits of one of `judged_versions` are not given.
        """
        made, start, count = self._checks(), 0, len(judged)
        while start < count:
            stop = min(count, start + self._until_check(count - start))
            state = self._state
            if state.challenger is not None and not state.ready:
                theirs = state.champion or (ALONE if ALONE in judged.logits else None)
                self._trial.add(judged, state.challenger, theirs, start, stop)
            if state.watched is not None and state.champion is not None:
                self._watch.add(judged, state.champion, state.watched, start, stop)
            state.labels += stop - start
            made += self._checks()
            start = stop
        return made

    def refusal(self, command: Command) -> str | None:
        """Why a command would be refused now, with what to do; None when it would be done."""
        state, version = self._state, command.version
        if command.champion is not None and command.champion != (state.champion or ""):
            return (
                f"{state.champion or 'no champion'} is in use by now, not "
                f"{command.champion or 'none'}. "
                "Fix: look at the preview again"
            )
        if command.action == "refit":
            return f"a refit is under way already: {state.refit}" if state.refit else None
        if command.action == "rollback":
            if not state.former:
                return (
                    "there is no former champion to roll back to. Fix: retire the champion to go "
                    "on without one"
                )
            return None
        if not version:
            return f"{command.action} needs a version. Fix: name one of {self._known()}"
        if self.state_of(version) is None:
            return f"version {version} is not kept here. Fix: name one of {self._known()}"
        if command.action == "promote" and version == state.champion:
            return f"version {version} is the champion already"
        return None

    def command(self, command: Command) -> list[Transition]:
        """Do what a person wants, or log the refusal; never raises.

        A refit only asks for a training: the log has it when it is `trained`.
        """
        version, actor = command.version or "", command.actor or "unknown"
        refusal = self.refusal(command)
        if refusal is not None:
            return [self._made("refused", version, f"{command.action}: {refusal}", actor)]
        reason = command.reason or f"{command.action} by {actor}"
        if command.action == "refit":
            self.request_refit(reason, actor)
            return []
        if command.action == "rollback":
            return self._roll_back(reason, actor)
        if command.action == "promote":
            return self._promote(version, reason, actor)
        return self._retire(version, reason, actor)

    def report(self) -> GateResult | None:
        """What the gate would say of the challenger now; None without labels of a trial."""
        if self._state.challenger is None or not len(self._trial):
            return None
        segments, theirs = self._trial.column("segments"), self._trial.column("theirs")
        return decide(
            self._settings.gate,
            self._trial.column("ours"),
            None if np.isnan(theirs).any() else theirs,
            self._trial.column("outcomes"),
            self._trial.column("row_times"),
            segments if (segments >= 0).any() else None,
            self._segment_names,
        )

    def snapshot(self) -> bytes:
        """The whole state; `restore` continues bit for bit."""
        meta = {"kind": "champion_slot", "state": msgspec.to_builtins(self._state)}
        return pack_arrays(meta, self._trial.arrays("trial") | self._watch.arrays("watch"))

    def restore(self, data: bytes) -> None:
        """Take a snapshot's state; ValueError if it is something else."""
        meta, arrays = unpack_arrays(data)
        if meta.get("kind") != "champion_slot":
            raise ValueError(f"a snapshot of {meta.get('kind')!r}, expected 'champion_slot'")
        try:
            self._state = msgspec.convert(meta["state"], SlotState)
            self._trial.restore(arrays, "trial")
            self._watch.restore(arrays, "watch")
        except (msgspec.ValidationError, KeyError) as error:
            raise ValueError(f"the snapshot of the champion slot is damaged: {error}") from error

    def _until_check(self, most: int) -> int:
        """Labels until something is decided, at least 1 and at most `most`."""
        until = [most]
        if self._state.challenger is not None and not self._state.ready:
            until.append(self._goal() - len(self._trial))
        if self._state.watched is not None:
            until.append(self._next_look() - len(self._watch))
        return max(1, min(until))

    def _goal(self) -> int:
        shadow = self._state.stage == "shadow"
        return self._settings.shadow_labels if shadow else self._settings.canary_labels

    def _next_look(self) -> int:
        return max(1, self._settings.watch_labels * (self._state.looks + 1) // _LOOKS)

    def _checks(self) -> list[Transition]:
        """What the labels so far decide."""
        made: list[Transition] = []
        if self._state.watched is not None and len(self._watch) >= self._next_look():
            made += self._look()
        on_trial = self._state.challenger is not None and not self._state.ready
        if on_trial and len(self._trial) and len(self._trial) >= self._goal():
            made += self._end_of_state()
        return made

    def _end_of_state(self) -> list[Transition]:
        result, stage = self.report(), self._state.stage
        assert result is not None
        made = [self._gated(result, f"{len(self._trial)} labels in {stage}")]
        if not result.passed:
            return made + self._retire_challenger(f"it did not pass the gate after the {stage}")
        if stage == "shadow":
            return made + self._after_shadow()
        return made + self._after_canary(result.figures)

    def _after_shadow(self) -> list[Transition]:
        state, settings = self._state, self._settings
        if not settings.canary_labels:
            return self._after_canary({})
        assert state.challenger is not None
        state.stage = "canary"
        self._trial.clear()
        share, labels = settings.canary_share, settings.canary_labels
        reason = f"scores {share:.4g} of the leads while {labels} labels are judged"
        return [self._made("canary", state.challenger, reason, figures={"share": share})]

    def _after_canary(self, figures: dict[str, float]) -> list[Transition]:
        state = self._state
        assert state.challenger is not None
        if self._settings.auto_promote:
            return self._promote(state.challenger, "it passed the gate", LEARNER, figures)
        state.ready = True
        return []

    def _gated(self, result: GateResult, on: str) -> Transition:
        details = {"gate": "passed" if result.passed else "failed", "on": on}
        if result.failed:
            details["failed"] = ", ".join(result.failed)
        version = self._state.challenger or ""
        reason = "; ".join(result.reasons)
        return self._made("gated", version, reason, figures=result.figures, details=details)

    def _look(self) -> list[Transition]:
        """Compare the new champion with the former one; the last look ends the watch."""
        state, settings = self._state, self._settings
        assert state.champion is not None
        state.looks += 1
        last = state.looks >= _LOOKS
        worse, figures = surely_worse(
            settings.gate,
            self._watch.column("ours"),
            self._watch.column("theirs"),
            self._watch.column("outcomes"),
            1.0 - (1.0 - settings.rollback_confidence) / _LOOKS,  # Bonferroni over the looks
            settings.rollback_margin,
        )
        former = state.watched
        if last or worse:
            state.watched = None
        if not worse:
            return []
        reason = (
            f"log-loss {figures['log_loss']:.4f} against {figures['log_loss_former']:.4f} of the "
            f"former champion {former} over {len(self._watch)} labels"
        )
        if settings.rollback_on_regression and state.former and state.former[-1] == former:
            return self._roll_back(reason, LEARNER, figures)
        return [self._made("alarm", state.champion, reason, figures=figures)]

    def _promote(
        self, version: str, reason: str, actor: str, figures: dict[str, float] | None = None
    ) -> list[Transition]:
        state = self._state
        before, came_from = state.champion, self.state_of(version) or "retired"
        details = {"from": came_from} | ({"former": before} if before else {})
        if version == state.challenger and not state.ready and actor != LEARNER:
            details["gate"] = "not passed: promoted by hand"
        state.take_over(version)
        made = [self._made("promoted", version, reason, actor, figures, details)]
        if before is not None:
            state.keep_former(before, self._settings.keep_former)
            made.append(self._made("retired", before, f"replaced by {version}", actor))
        self._incumbent_changed(before if self._settings.watch_labels else None)
        return made

    def _roll_back(
        self, reason: str, actor: str, figures: dict[str, float] | None = None
    ) -> list[Transition]:
        state = self._state
        left, version = state.champion, state.former[-1]
        state.take_over(version)
        details = {"former": left} if left else {}
        made = [self._made("rolled_back", version, reason, actor, figures, details)]
        if left is not None:
            state.keep_rejected(left, self._settings.keep_former)
            made.append(self._made("retired", left, f"rolled back to {version}", actor))
        self._incumbent_changed(None)
        return made

    def _retire(self, version: str, reason: str, actor: str) -> list[Transition]:
        state = self._state
        if version == state.challenger:
            return self._retire_challenger(reason, actor)
        state.forget(version)
        if version == state.champion:
            state.champion = None
            state.keep_former(version, self._settings.keep_former)
            self._incumbent_changed(None)
        elif version == state.watched:
            state.watched = None
        return [self._made("retired", version, reason, actor)]

    def _retire_challenger(self, reason: str, actor: str = LEARNER) -> list[Transition]:
        state = self._state
        version = state.challenger
        assert version is not None
        state.challenger, state.stage, state.ready = None, "shadow", False
        state.keep_rejected(version, self._settings.keep_former)
        self._trial.clear()
        return [self._made("retired", version, reason, actor)]

    def _incumbent_changed(self, watched: str | None) -> None:
        """The trial begins anew, in its state; the new champion is watched against `watched`."""
        self._trial.clear()
        self._watch.clear()
        self._state.watched, self._state.looks = watched, 0
        if self._goal():
            self._state.ready = False

    def _known(self) -> str:
        return ", ".join(self.kept_versions) or "none yet (train one first)"

    def _made(
        self,
        action: Action,
        version: str,
        reason: str,
        actor: str = LEARNER,
        figures: dict[str, float] | None = None,
        details: dict[str, str] | None = None,
    ) -> Transition:
        self._state.transitions += 1
        number, labels = self._state.transitions, self._state.labels
        return Transition(
            number, action, version, reason, actor, dict(figures or {}), dict(details or {}), labels
        )
