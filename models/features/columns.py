"""The columns of a feature row, from what a catalogue declares; their order is the row's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from models.features.declared import Attribute, Behaviour, Indicator, Transform

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
    "distinct",
    "sequence_kind",
    "sequence_share",
    "rate",
    "indicator",
]
_LOG = Transform("log1p")


class Column(msgspec.Struct, frozen=True):
    """One column of the feature row.

    subject: the attribute's, field's or event kind's words; transform: into a model's input, of a
    number; values: words of the first categories; categories: how many there are, of a category.
    """

    name: str
    words: str
    unit: str | None
    kind: ColumnKind
    subject: str
    half_life_days: float | None = None
    transform: Transform = _LOG
    values: tuple[str, ...] = ()
    categories: int = 0


def columns_of(
    attributes: Sequence[Attribute], behaviour: Behaviour, indicators: Sequence[Indicator]
) -> tuple[Column, ...]:
    """All columns, in order."""
    return (
        *map(_attribute, attributes),
        *_behaviour(behaviour),
        *_distinct(behaviour),
        *_sequence(behaviour),
        *_rates(attributes),
        *map(_indicator, indicators),
    )


def spoken(name: str) -> str:
    """A name as words."""
    return name.replace("_", " ").replace(".", " ")


def _attribute(a: Attribute) -> Column:
    words = a.words or spoken(a.name)
    return Column(
        a.name,
        words,
        a.unit,
        a.type,
        words,
        transform=a.transform or Transform(),
        values=a.values,
        categories=a.categories,
    )


def _behaviour(behaviour: Behaviour) -> Iterator[Column]:
    for kind in behaviour.kinds:
        subject = behaviour.words.get(kind, spoken(kind) + " events")
        yield Column(f"{kind}.count", subject, "events", "count", subject)
        for days in behaviour.half_lives_days:
            yield Column(
                f"{kind}.decayed_{days:g}d",
                f"recent {subject} (half-life {days:g} d)",
                "events",
                "decayed",
                subject,
                days,
            )
        words = f"days since the last of the {subject}"
        yield Column(f"{kind}.recency_days", words, "days", "recency", subject)
    yield Column("event_count", "events so far", "events", "event_count", "events")
    yield Column(
        "days_since_first", "days since the first event", "days", "days_since_first", "lead"
    )
    yield Column("gap_days", "days between the last two events", "days", "gap", "events")
    yield Column("sessions", "sessions so far", "sessions", "sessions", "sessions")


def _distinct(behaviour: Behaviour) -> Iterator[Column]:
    for field in behaviour.distinct:
        default = "pages" if field == "url" else f"{spoken(field)} values"
        subject = behaviour.words.get(field, default)
        yield Column(f"distinct.{field}", f"different {subject} so far", None, "distinct", subject)


def _sequence(behaviour: Behaviour) -> Iterator[Column]:
    if not behaviour.sequence:
        return
    subjects = tuple(behaviour.words.get(k, spoken(k) + " events") for k in behaviour.kinds)
    for name, words in (("last", "kind of the last event"), ("before", "kind of the event before")):
        yield Column(
            f"sequence.{name}",
            words,
            None,
            "sequence_kind",
            words,
            values=subjects,
            categories=len(subjects) + 1,
        )
    words = "share of the last 8 events that were of the last one's kind"
    yield Column("sequence.same", words, None, "sequence_share", words, transform=Transform())


def _rates(attributes: Sequence[Attribute]) -> Iterator[Column]:
    for a in attributes:
        if a.rate is not None:
            words = a.words or spoken(a.name)
            said = f"how leads of the same {words} ended lately"
            yield Column(f"{a.name}.rate", said, "log-odds", "rate", words, transform=Transform())


def _indicator(indicator: Indicator) -> Column:
    words = indicator.words or spoken(indicator.name)
    return Column(
        indicator.name, words, indicator.unit, "indicator", words, transform=indicator.transform
    )
