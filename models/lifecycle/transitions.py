"""The log of a champion slot: commands that go in, transitions that come out; plain data both."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["training", "shadow", "canary", "champion", "retired"]
Action = Literal[
    "trained", "gated", "shadow", "canary", "promoted", "rolled_back", "retired", "alarm", "refused"
]  # fmt: skip
LEARNER = "learning"
"""Who acts when nobody gave a command."""


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person wants; it travels as a record, in order with the labels.

    `champion` is the version that the person saw in use, empty for none; when another one is by
    then, the command is refused.
    """

    action: Literal["promote", "rollback", "refit", "retire"]
    version: str | None = None
    actor: str = ""
    reason: str | None = None
    champion: str | None = None


class Transition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the log.

    Attributes:
        number: counts the slot's transitions from 1; the order of the log.
        action: what happened; `gated` says in `details["gate"]` passed or failed, `alarm` is the
            alarm that a champion is worse than the former one.
        version: that it happened to; of `rolled_back` the one now in use; empty for none.
        reason: in words.
        actor: a person, or `learning`.
        figures: behind the decision.
        details: further texts by name.
        labels: that the slot had seen.
    """

    number: int
    action: Action
    version: str
    reason: str
    actor: str
    figures: dict[str, float]
    details: dict[str, str]
    labels: int
