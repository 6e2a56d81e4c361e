"""What is predicted of whom: `targets.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from models.config import Document

Mark = Annotated[int, msgspec.Meta(ge=1, le=100)]
DAY_US = 86_400_000_000


class RowSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a lead's feature row is kept until its outcome is known (all in event time)."""

    first_score: bool = True
    after_events: tuple[Annotated[int, msgspec.Meta(ge=1)], ...] = ()
    stage_kinds: tuple[str, ...] = ()
    every_days: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=16)] = 4


class Grades(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="upper"):
    """Lowest score (1-100) of each grade; below C is D."""

    a: Mark = 80
    b: Mark = 60
    c: Mark = 40


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One outcome to predict: positive if a positive kind follows within the horizon.

    With `positive_by_deadline` it is positive as well that no outcome follows (churn: no order).
    With `repeats` an outcome is one of many (orders): rows are kept on after it.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    positive_kinds: tuple[str, ...]
    horizon_days: Annotated[float, msgspec.Meta(gt=0)]
    negative_kinds: tuple[str, ...] = ()
    retraction_kinds: tuple[str, ...] = ()
    corrections_days: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    positive_by_deadline: bool = False
    repeats: bool = False
    entity: Literal["lead", "account"] = "lead"
    words: str | None = None
    rows: RowSchedule = RowSchedule()
    grades: Grades = Grades()

    @property
    def horizon_us(self) -> int:
        """Microseconds of event time until a pending row matures."""
        return round(self.horizon_days * DAY_US)

    @property
    def corrections_us(self) -> int:
        """Microseconds of event time behind its deadline for which a label may be corrected."""
        return round(self.corrections_days * DAY_US)

    @property
    def every_us(self) -> int | None:
        """Microseconds of event time between scheduled rows, or None for no schedule."""
        return None if self.rows.every_days is None else round(self.rows.every_days * DAY_US)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    targets: Annotated[tuple[Target, ...], msgspec.Meta(min_length=1)]


def load_targets(path: Path | str) -> tuple[Target, ...]:
    """Read and validate `targets.yaml`.

    Raises:
        ConfigError: naming file, line and field, and what to change.
    """
    document = Document(Path(path))
    targets = document.convert(_File).targets
    for index, target in enumerate(targets):
        where = ("targets", index)
        if any(target.name == other.name for other in targets[:index]):
            raise document.error(
                (*where, "name"), f"{target.name!r} is used twice", "give each target its own name"
            )
        for name, taken in (
            ("negative_kinds", set(target.positive_kinds)),
            ("retraction_kinds", {*target.positive_kinds, *target.negative_kinds}),
        ):
            both = set(getattr(target, name)) & taken
            if both:
                raise document.error(
                    (*where, name),
                    f"{sorted(both)} would say two things at once",
                    "list each event kind in one place only",
                )
        if not target.positive_kinds and not target.positive_by_deadline:
            raise document.error(
                (*where, "positive_kinds"),
                "nothing would ever be positive",
                "list event kinds, or set positive_by_deadline: true",
            )
        if target.positive_by_deadline and not {*target.positive_kinds, *target.negative_kinds}:
            raise document.error(
                (*where, "negative_kinds"),
                "nothing would ever be negative",
                "list the event kinds after which it is not so, such as renewed",
            )
        if target.retraction_kinds and target.repeats:
            raise document.error(
                (*where, "retraction_kinds"),
                "which of many outcomes is taken back cannot be told",
                "leave out retraction_kinds or repeats",
            )
        if target.retraction_kinds and not target.corrections_days:
            raise document.error(
                (*where, "corrections_days"),
                "0 days leave nothing that a retraction could correct",
                "give it some days, or leave retraction_kinds out",
            )
        if not target.grades.a > target.grades.b > target.grades.c:
            raise document.error(
                (*where, "grades"), "grades do not fall from A to C", "e.g. {A: 80, B: 60, C: 40}"
            )
    return targets
