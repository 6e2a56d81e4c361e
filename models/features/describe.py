"""What each column of a feature row is, in words: for people, and for the catalogue's readers."""

from __future__ import annotations

from dataclasses import dataclass

from models.features.catalogue import Attribute, Column, FeatureCatalogue, Transform

_MISSING = {
    "numeric": "no event told it",
    "categorical": "no event told it",
    "recency": "there was no such event",
    "gap": "there was only one event",
}
_EVENTS = {
    "event_count": "all events",
    "days_since_first": "all events",
    "gap": "all events",
    "sessions": "all events",
}


@dataclass(frozen=True, slots=True)
class Described:
    """One column.

    source: field or events it comes from; transform: into a model's input; missing: what NaN
    means, None for a column that is always known.
    """

    name: str
    words: str
    unit: str | None
    kind: str
    source: str
    transform: str
    missing: str | None


def describe(catalogue: FeatureCatalogue) -> list[Described]:
    """Every column of the catalogue's feature rows, in order."""
    attributes = {a.name: a for a in catalogue.attributes}
    return [_described(column, attributes.get(column.name)) for column in catalogue.columns]


def _described(column: Column, attribute: Attribute | None) -> Described:
    if attribute is not None:
        source, transform = str(attribute.source), _encoded(attribute)
    else:
        source = _EVENTS.get(column.kind) or f"events of kind {column.name.rpartition('.')[0]}"
        transform = "log1p"
    return Described(
        column.name, column.words, column.unit, column.kind, source, transform,
        _MISSING.get(column.kind),
    )  # fmt: skip


def _encoded(attribute: Attribute) -> str:
    if attribute.type == "categorical":
        own = f"{len(attribute.values)} values of their own + " if attribute.values else ""
        return f"{own}{attribute.buckets} hashed"
    transform = attribute.transform or Transform()
    if transform.kind == "identity":
        return "identity"
    moved = f" - {transform.center:g}" if transform.center else ""
    return f"{transform.kind}: (x{moved}) / {transform.scale:g}"
