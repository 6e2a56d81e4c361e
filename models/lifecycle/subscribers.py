"""Who acts on scores and from which one on: `subscribers:` of `workspace.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from models.targets import Mark

Grade = Literal["A", "B", "C", "D"]


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which leads a subscriber takes; exactly one of the three is given.

    Attributes:
        score: lowest 1-100 score.
        probability: lowest calibrated probability.
        grades: letters.
    """

    score: Mark | None = None
    probability: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    grades: Annotated[tuple[Grade, ...], msgspec.Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        """ValueError unless exactly one is given."""
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a threshold is one of score, probability, grades; given: {given or 'none'}"
            )

    @property
    def words(self) -> str:
        """Such as `score >= 80`."""
        if self.score is not None:
            return f"score >= {self.score}"
        if self.probability is not None:
            return f"probability >= {self.probability:g}"
        return f"grade {', '.join(self.grades or ())}"


class Subscriber(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A team or system that acts on a target's scores above a threshold."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_\-]{0,63}$")]
    target: str
    threshold: Threshold
