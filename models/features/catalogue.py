"""The feature catalogue: a workspace's `features.yaml` as a frozen description of a feature row.

A feature row is float32, one column per entry of `FeatureCatalogue.columns`, in this order:
attributes as declared, then per event kind `count`, one decayed count per half-life and
`recency_days`, then `event_count`, `days_since_first`, `gap_days` and `sessions`; then, where they
are declared, distinct values, the sequence, rates and market indicators.
NaN means missing (an attribute never told, a kind never seen, no earlier event).
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from models.config import Document
from models.features.columns import Column, ColumnKind, columns_of
from models.features.declared import Attribute, Behaviour, Indicator, Rate, Transform

__all__ = [
    "Attribute",
    "Behaviour",
    "Column",
    "ColumnKind",
    "FeatureCatalogue",
    "Indicator",
    "Rate",
    "Transform",
    "load_catalogue",
]

MAX_SEQUENCE_KINDS = 253
_HASH_FORMAT = 1


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    attributes: tuple[Attribute, ...] = ()
    behaviour: Behaviour = Behaviour()
    indicators: tuple[Indicator, ...] = ()


class FeatureCatalogue(msgspec.Struct, frozen=True, dict=True):
    """A validated catalogue; build it with `load_catalogue`. Immutable and hashable by `hash`."""

    version: int
    attributes: tuple[Attribute, ...]
    behaviour: Behaviour
    indicators: tuple[Indicator, ...] = ()

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a feature row, in order."""
        return columns_of(self.attributes, self.behaviour, self.indicators)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def hash(self) -> str:
        """Hex SHA-256 of what shapes the numbers; words, units and `monotone` do not enter."""
        content: dict[str, Any] = {
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
        # what came later stands there only where it is declared, so that others keep their hash
        if self.behaviour.distinct:
            content["distinct"] = list(self.behaviour.distinct)
        if self.behaviour.sequence:
            content["sequence"] = True
        if rates := {a.name: msgspec.to_builtins(a.rate) for a in self.attributes if a.rate}:
            content["rates"] = rates
        if self.indicators:
            content["indicators"] = [
                [i.name, i.series, msgspec.to_builtins(i.transform)] for i in self.indicators
            ]
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()

    @cached_property
    def catalogue_version(self) -> str:
        """`<version>-<first 12 digits of the hash>`, as published with each score."""
        return f"{self.version}-{self.hash[:12]}"


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
    catalogue = FeatureCatalogue(file.version, attributes, file.behaviour, file.indicators)
    _check_names(document, catalogue)
    return catalogue


def _check_names(document: Document, catalogue: FeatureCatalogue) -> None:
    names, count = catalogue.column_names, len(catalogue.attributes)
    for index, attribute in enumerate(catalogue.attributes):
        if attribute.name in names[count:]:
            raise document.error(
                ("attributes", index, "name"),
                f"{attribute.name!r} is the name of a built-in behaviour column",
                "choose another name and keep the field by `from:`",
            )
    first = len(names) - len(catalogue.indicators)
    for index, indicator in enumerate(catalogue.indicators):
        if indicator.name in names[: first + index]:
            raise document.error(
                ("indicators", index, "name"),
                f"{indicator.name!r} is the name of another column",
                "choose another name; `series:` says which series it is",
            )
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise document.error(
            ("behaviour",),
            f"two columns would be called {twice[0]!r}",
            "rename the event kind or the field",
        )


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
        for field in ("values", "buckets", "rate"):
            if getattr(attribute, field):
                raise document.error(
                    (*where, field),
                    f"{field} is for categorical attributes",
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
        ("distinct", list(behaviour.distinct)),
    ):
        for index, value in enumerate(values):
            if value in values[:index]:
                raise document.error(
                    ("behaviour", field, index), f"{value!r} is listed twice", "remove one of them"
                )
    for field, known in (
        ("words", (*behaviour.kinds, *behaviour.distinct)),
        ("actionable", behaviour.kinds),
    ):
        for kind in getattr(behaviour, field):
            if kind not in known:
                raise document.error(
                    ("behaviour", field, kind),
                    "words for a kind that is not counted",
                    "add the kind to `behaviour.kinds` or remove its words",
                )
    if behaviour.sequence and len(behaviour.kinds) > MAX_SEQUENCE_KINDS:
        raise document.error(
            ("behaviour", "sequence"),
            f"it tells {MAX_SEQUENCE_KINDS} kinds apart, {len(behaviour.kinds)} are counted",
            "count fewer kinds or leave the sequence out",
        )
