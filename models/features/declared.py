"""What `features.yaml` can say, key by key; `catalogue.py` checks and completes it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]{0,63}$")]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Transform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a number becomes a model input, before it is clipped to ±10.

    identity: x; standard: (x - center)/scale; log1p: (sign(x)·log(1+|x|) - center)/scale;
    robust: as standard, where center and scale are learned (`scaling.py`) and start as given.
    """

    kind: Literal["identity", "log1p", "standard", "robust"] = "identity"
    center: float = 0.0
    scale: Positive = 1.0


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column more for a categorical attribute: how leads of its category ended lately.

    For each target it is that target's outcomes. half_life_days: of a label's weight;
    prior_labels: labels of the base rate that each category starts with.
    """

    half_life_days: Positive = 90.0
    prior_labels: Positive = 20.0


class Attribute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """One thing known about a lead: the newest value told by any event.

    A categorical attribute's `values` have a category of their own each, in order; any other text
    shares one of `buckets` more, chosen by hash (default 4 beside `values`, 16 without).
    `monotone` numeric attributes: a champion's contribution never falls (rises) as the value rises.
    `actionable`: whether a seller can change it, and in which direction (for hints).
    """

    name: Name
    type: Literal["numeric", "categorical"]
    source: str | None = None
    words: str | None = None
    unit: str | None = None
    transform: Transform | None = None
    values: tuple[str, ...] = ()
    buckets: Annotated[int, msgspec.Meta(ge=1, le=65536)] | None = None
    monotone: Literal["increasing", "decreasing"] | None = None
    actionable: Literal["increase", "decrease"] | bool = False
    rate: Rate | None = None

    @property
    def categories(self) -> int:
        """How many category ids a categorical attribute has; 0 for a numeric one."""
        return len(self.values) + (self.buckets or 0)


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is counted of a lead's events. Half-lives in days, session gap in minutes.

    distinct: fields of texts, and `url`, whose different values are counted; sequence: whether the
    last 32 events are remembered in order; words: of kinds and distinct fields; actionable: what a
    seller does to cause an event of a kind, such as "invite to a demo".
    """

    kinds: tuple[Name, ...] = ()
    half_lives_days: tuple[Positive, ...] = (1.0, 7.0, 30.0)
    session_gap_minutes: Positive = 30.0
    words: dict[str, str] = {}
    actionable: dict[str, str] = {}
    distinct: tuple[Name, ...] = ()
    sequence: bool = False


class Indicator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A market series as it was published by the time of the row."""

    name: Name
    series: Annotated[str, msgspec.Meta(min_length=1)]
    words: str | None = None
    unit: str | None = None
    transform: Transform = Transform()
