"""Which version stands where in a champion slot; plain data, as it is snapshotted."""

from __future__ import annotations

from typing import Literal

import msgspec

from models.lifecycle.transitions import LEARNER, State


class SlotState(msgspec.Struct, forbid_unknown_fields=True):
    """The versions of one slot, and how far each has come.

    Attributes:
        champion: in use.
        challenger: on trial, in `stage`; `ready` when it passed every gate and a person promotes.
        refit: why a training is wanted, by `refit_actor`.
        watched: former champion that the new one is compared with, `looks` times so far.
        former: champions before, newest last.
        rejected: challengers that failed and champions rolled back, newest last.
        labels: that the slot has seen.
        transitions: that it has made.
    """

    champion: str | None = None
    challenger: str | None = None
    stage: Literal["shadow", "canary"] = "shadow"
    ready: bool = False
    refit: str | None = None
    refit_actor: str = LEARNER
    watched: str | None = None
    looks: int = 0
    former: list[str] = []
    rejected: list[str] = []
    labels: int = 0
    transitions: int = 0

    @property
    def judged(self) -> tuple[str, ...]:
        """Versions that are compared on labels."""
        wanted = (self.champion, self.challenger, self.watched)
        return tuple(dict.fromkeys(version for version in wanted if version is not None))

    @property
    def kept(self) -> tuple[str, ...]:
        """Versions that are in use or may come into use."""
        return tuple(dict.fromkeys((*self.judged, *self.former, *self.rejected)))

    def state_of(self, version: str) -> State | None:
        """A version's state; None when it is not kept."""
        if version == self.champion:
            return "champion"
        if version == self.challenger:
            return self.stage
        return "retired" if version in self.kept else None

    def take_over(self, version: str) -> None:
        """A version comes into use, wherever it stood before."""
        if version == self.challenger:
            self.challenger, self.ready = None, False
        self.forget(version)
        self.champion = version

    def keep_former(self, version: str, most: int) -> None:
        """Remember a champion that was in use, the newest `most` of them."""
        self.former.append(version)
        del self.former[:-most]

    def keep_rejected(self, version: str, most: int) -> None:
        """Remember a version that failed, the newest `most` of them."""
        self.rejected.append(version)
        del self.rejected[:-most]

    def forget(self, version: str) -> None:
        """Take a version off both lists."""
        for kept in (self.former, self.rejected):
            if version in kept:
                kept.remove(version)

    def refit_done(self) -> tuple[str, str]:
        """Why a training was wanted, and by whom; it is wanted no longer."""
        reason, actor = self.refit or "trained", self.refit_actor
        self.refit, self.refit_actor = None, LEARNER
        return reason, actor
