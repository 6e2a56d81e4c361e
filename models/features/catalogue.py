"""The feature catalogue: a workspace's `features.yaml` as a frozen description of a feature row.

A feature row is float32, one column per entry of `FeatureCatalogue.columns`, in this order:
attributes as declared, then per event kind `count`, one decayed count per half-life and
`recency_days`, then `event_count`, `days_since_first`, `gap_days` and `sessions`.
NaN means missing (an attribute never told, a kind never seen, no earlier event).
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from models.config import Document

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]{0,63}$")]
ColumnKind = Literal[
    "numeric",
    "categorical",
    "count",
    "decayed",
    "recency",
    "event_count",
    "days_since_first",
    "gap",
    "sessions",
]
_HASH_FORMAT = 1


class Transform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a number becomes a model input, before it is clipped to ±10.

    identity: x; standard: (x - center)/scale; log1p: (sign(x)·log(1+|x|) - center)/scale.
    """

    kind: Literal["identity", "log1p", "standard"] = "identity"
    center: float = 0.0
    scale: Annotated[float, msgspec.Meta(gt=0)] = 1.0


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

    @property
    def categories(self) -> int:
        """How many category ids a categorical attribute has; 0 for a numeric one."""
        return len(self.values) + (self.buckets or 0)


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is counted of a lead's events. Half-lives in days, session gap in minutes.

    `actionable`: what a seller does to cause an event of a kind, such as "invite to a demo".
    """

    kinds: tuple[Name, ...] = ()
    half_lives_days: tuple[Annotated[float, msgspec.Meta(gt=0)], ...] = (1.0, 7.0, 30.0)
    session_gap_minutes: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    words: dict[str, str] = {}
    actionable: dict[str, str] = {}


class Column(msgspec.Struct, frozen=True):
    """One column of the feature row. `subject` is the attribute's or event kind's words."""

    name: str
    words: str
    unit: str | None
    kind: ColumnKind
    subject: str
    half_life_days: float | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    attributes: tuple[Attribute, ...] = ()
    behaviour: Behaviour = Behaviour()


class FeatureCatalogue(msgspec.Struct, frozen=True, dict=True):
    """A validated catalogue; build it with `load_catalogue`. Immutable and hashable by `hash`."""

    version: int
    attributes: tuple[Attribute, ...]
    behaviour: Behaviour

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a feature row, in order."""
        columns = [
            Column(a.name, a.words or _spoken(a.name), a.unit, a.type, a.words or _spoken(a.name))
            for a in self.attributes
        ]
        for kind in self.behaviour.kinds:
            subject = self.behaviour.words.get(kind, _spoken(kind) + " events")
            columns.append(Column(f"{kind}.count", subject, "events", "count", subject))
            for days in self.behaviour.half_lives_days:
                columns.append(
                    Column(
                        f"{kind}.decayed_{days:g}d",
                        f"recent {subject} (half-life {days:g} d)",
                        "events",
                        "decayed",
                        subject,
                        days,
                    )
                )
            words = f"days since the last of the {subject}"
            columns.append(Column(f"{kind}.recency_days", words, "days", "recency", subject))
        columns += [
            Column("event_count", "events so far", "events", "event_count", "events"),
            Column(
                "days_since_first", "days since the first event", "days", "days_since_first", "lead"
            ),
            Column("gap_days", "days between the last two events", "days", "gap", "events"),
            Column("sessions", "sessions so far", "sessions", "sessions", "sessions"),
        ]
        return tuple(columns)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def hash(self) -> str:
        """Hex SHA-256 of what shapes the numbers; words, units and `monotone` do not enter."""
        content = {
            "format": _HASH_FORMAT,
            "attributes": [
                [
                    a.name,
                    a.type,
                    a.source,
                    msgspec.to_builtins(a.transform),
                    list(a.values),
                    a.buckets,
                ]
                for a in self.attributes
            ],
            "behaviour": [
                list(self.behaviour.kinds),
                list(self.behaviour.half_lives_days),
                self.behaviour.session_gap_minutes,
            ],
        }
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()

    @cached_property
    def catalogue_version(self) -> str:
        """`<version>-<first 12 digits of the hash>`, as published with each score."""
        return f"{self.version}-{self.hash[:12]}"


def _spoken(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")


def load_catalogue(path: Path | str) -> FeatureCatalogue:
    """Read and validate `features.yaml`; defaults are filled in.

    Raises:
        ConfigError: naming file, line and field, and what to change.
    """
    document = Document(Path(path))
    file = document.convert(_File)
    attributes = tuple(
        _completed(document, index, attribute) for index, attribute in enumerate(file.attributes)
    )
    _refuse_twice(document, "name", [a.name for a in attributes])
    _refuse_twice(document, "from", [str(a.source) for a in attributes])
    _check_behaviour(document, file.behaviour)
    catalogue = FeatureCatalogue(file.version, attributes, file.behaviour)
    names = catalogue.column_names
    for index, attribute in enumerate(attributes):
        if attribute.name in names[len(attributes) :]:
            raise document.error(
                ("attributes", index, "name"),
                f"{attribute.name!r} is the name of a built-in behaviour column",
                "choose another name and keep the field by `from:`",
            )
    return catalogue


def _completed(document: Document, index: int, attribute: Attribute) -> Attribute:
    """The attribute with defaults filled in, or an error for what does not fit its type."""
    where = ("attributes", index)
    column = "numbers" if attribute.type == "numeric" else "texts"
    source = attribute.source or f"{column}.{attribute.name}"
    if not source.startswith(f"{column}.") or len(source) == len(column) + 1:
        raise document.error(
            (*where, "from"),
            f"{source!r} does not fit a {attribute.type} attribute",
            f"write `from: {column}.<field>`; numeric reads numbers, categorical reads texts",
        )
    if attribute.type == "numeric":
        for field in ("values", "buckets"):
            if getattr(attribute, field):
                raise document.error(
                    (*where, field),
                    f"{field} are for categorical attributes",
                    "remove it, or set `type: categorical`",
                )
        return msgspec.structs.replace(
            attribute, source=source, transform=attribute.transform or Transform()
        )
    for field in ("transform", "monotone"):
        if getattr(attribute, field) is not None:
            raise document.error(
                (*where, field),
                f"{field} is for numeric attributes",
                "remove it, or set `type: numeric`",
            )
    if isinstance(attribute.actionable, str):
        raise document.error(
            (*where, "actionable"),
            f"a category cannot {attribute.actionable}",
            "write `actionable: true`",
        )
    for index, value in enumerate(attribute.values):
        if not value or value in attribute.values[:index]:
            raise document.error(
                (*where, "values", index), f"{value!r} is empty or listed twice", "remove it"
            )
    buckets = attribute.buckets or (4 if attribute.values else 16)
    return msgspec.structs.replace(attribute, source=source, buckets=buckets)


def _refuse_twice(document: Document, field: str, values: list[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise document.error(
                ("attributes", index, field),
                f"{value!r} is already used by attribute {values.index(value) + 1}",
                "give each attribute its own name and its own source field",
            )


def _check_behaviour(document: Document, behaviour: Behaviour) -> None:
    for field, values in (
        ("kinds", list(behaviour.kinds)),
        ("half_lives_days", list(behaviour.half_lives_days)),
    ):
        for index, value in enumerate(values):
            if value in values[:index]:
                raise document.error(
                    ("behaviour", field, index), f"{value!r} is listed twice", "remove one of them"
                )
    for field in ("words", "actionable"):
        for kind in getattr(behaviour, field):
            if kind not in behaviour.kinds:
                raise document.error(
                    ("behaviour", field, kind),
                    "words for a kind that is not counted",
                    "add the kind to `behaviour.kinds` or remove its words",
                )
