"""Which texts of a categorical attribute share a category, since their hashes fell together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.features.catalogue import Attribute
from models.features.extract import category

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Collisions:
    """What sharing categories costs one attribute.

    texts: distinct texts seen; listed: those with a category of their own by `values`; buckets:
    hashed categories; events: that told any text; shared_texts, shared_events: shares (0 to 1) of
    texts and events in categories of two texts or more; worst: most told texts of the category
    where most events are not its commonest text's.
    """

    column: str
    texts: int
    listed: int
    buckets: int
    events: int
    shared_texts: float
    shared_events: float
    worst: tuple[str, ...]


def collisions(attribute: Attribute, counts: Mapping[str, int]) -> Collisions:
    """Collisions of a categorical attribute. counts: events that told each text."""
    members: dict[int, list[str]] = {}
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        if text:
            members.setdefault(category(attribute, text), []).append(text)
    shared = [texts for texts in members.values() if len(texts) > 1]
    events = sum(counts[text] for texts in members.values() for text in texts)
    seen = sum(map(len, members.values()))
    mixed_up = {i: sum(counts[t] for t in texts[1:]) for i, texts in enumerate(shared)}
    worst = shared[max(mixed_up, key=lambda i: mixed_up[i])] if shared else []
    return Collisions(
        column=attribute.name,
        texts=seen,
        listed=sum(text in counts for text in attribute.values),
        buckets=attribute.buckets or 0,
        events=events,
        shared_texts=sum(map(len, shared)) / max(seen, 1),
        shared_events=sum(counts[t] for texts in shared for t in texts) / max(events, 1),
        worst=tuple(worst[:_SHOWN]),
    )
