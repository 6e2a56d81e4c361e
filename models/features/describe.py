"""What each column of a feature row is, in words: for people, and for the catalogue's readers."""

from __future__ import annotations

from dataclasses import dataclass

from models.features.catalogue import Attribute, Column, FeatureCatalogue
from models.features.rollups import ROLLUPS

_MISSING = {
    "numeric": "no event told it",
    "categorical": "no event told it",
    "recency": "there was no such event",
    "gap": "there was only one event",
    "sequence_kind": "there was no such event",
    "sequence_share": "there was no event",
    "indicator": "nothing was published yet",
}
_EVENTS = {
    "event_count": "all events",
    "days_since_first": "all events",
    "gap": "all events",
    "sessions": "all events",
    "sequence_kind": "all events but late ones",
    "sequence_share": "all events but late ones",
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
    sources = {a.name: _source(a) for a in catalogue.attributes}
    sources |= {f"{a.name}.rate": f"labels of {a.source}" for a in catalogue.attributes}
    sources |= {i.name: f"market series {i.series}" for i in catalogue.indicators}
    for field in catalogue.behaviour.distinct:
        sources[f"distinct.{field}"] = "url" if field == "url" else f"texts.{field}"
    for column in catalogue.columns:
        if column.name not in sources:
            kind = column.name.rpartition(".")[0]
            sources[column.name] = _EVENTS.get(column.kind) or f"events of kind {kind}"
    return [
        Described(
            c.name, c.words, c.unit, c.kind, sources[c.name], _input(c), _MISSING.get(c.kind)
        )
        for c in catalogue.columns
    ]  # fmt: skip


def _source(attribute: Attribute) -> str:
    source = str(attribute.source)
    return ROLLUPS.get(source.removeprefix("numbers."), source)


def _input(column: Column) -> str:
    if column.categories:
        hashed = column.categories - len(column.values)
        own = f"{len(column.values)} values of their own + " if column.values else ""
        return f"{own}{hashed} {'hashed' if column.kind == 'categorical' else 'for others'}"
    transform = column.transform
    if transform.kind == "identity":
        return "identity"
    if transform.kind == "robust":
        return "robust: (x - median) / (IQR / 1.349)"
    if (transform.center, transform.scale) == (0.0, 1.0):
        return transform.kind
    moved = f" - {transform.center:g}" if transform.center else ""
    return f"{transform.kind}: (x{moved}) / {transform.scale:g}"
