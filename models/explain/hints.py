"""What would raise a score: the one change in a seller's reach that raises it most.

Tried are single changes of what the catalogue declares `actionable`: one more event of a kind now,
another declared value of a category, one step of a number (a `scale` for transforms with one, a
quarter and at least 1 for log1p, else 1; a number that is not negative stays so). Nothing else of
the row changes but what the change itself causes: an event also counts in sums over all events,
makes its kind the latest, and may start a session. A hint is about the model, not about causes:
leads like this one with that change are scored so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.explain.messages import DEFAULT, Messages, messages
from models.explain.words import plain_value
from models.features.catalogue import FeatureCatalogue, Transform
from models.online.interface import Terms

F4 = NDArray[np.float32]

LEAST = 0.001  # a smaller gain in probability is no hint


@dataclass(frozen=True, slots=True)
class Hint:
    """One change of one row: `name` of an attribute or event kind, probability before and after.

    value: what the attribute becomes, a category by its number; None for an event.
    """

    name: str
    change: Literal["event", "value", "increase", "decrease"]
    value: float | None
    before: float
    after: float
    words: str


@dataclass(frozen=True, slots=True)
class _Try:
    """A change tried on all rows: the rows with it [n, C], the same where it is impossible."""

    name: str
    change: Literal["event", "value", "increase", "decrease"]
    place: int  # column of the attribute, -1 for an event
    rows: F4


def hints(
    catalogue: FeatureCatalogue,
    rows: F4,
    score: Callable[[F4], Terms],
    k: int = 1,
    language: str = DEFAULT,
    least: float = LEAST,
) -> list[tuple[Hint, ...]]:
    """The k changes that raise the probability most, for each row.

    Args:
        catalogue: of the rows.
        rows: feature rows [n, C] as of now (aged).
        score: calibrated terms of feature rows; called once for each change.
        k: how many hints a row, at most; only the best change of an attribute is told.
        language: of the words.
        least: smallest gain in probability that is told.

    Returns:
        For each of the n rows its hints, best first; none where nothing in reach raises it.
    """
    before = sigmoid(score(rows).logits)
    best: list[dict[str, tuple[float, _Try]]] = [{} for _ in range(len(rows))]
    for tried in _changes(catalogue, rows):
        after = sigmoid(score(tried.rows).logits)
        gain = after - before
        for row in np.flatnonzero((gain > 0) & (gain >= least)).tolist():
            known = best[row].get(tried.name)
            if known is None or after[row] > known[0]:
                best[row][tried.name] = (float(after[row]), tried)
    words = messages(language)
    return [
        tuple(
            _hint(catalogue, rows[row], row, tried, float(before[row]), after, words)
            for after, tried in sorted(found.values(), key=lambda f: (-f[0], f[1].name))[:k]
        )
        for row, found in enumerate(best)
    ]


def _changes(catalogue: FeatureCatalogue, rows: F4) -> Iterator[_Try]:
    for kind in catalogue.behaviour.kinds:
        if kind in catalogue.behaviour.actionable:
            yield _Try(kind, "event", -1, one_more_event(catalogue, rows, kind))
    for place, attribute in enumerate(catalogue.attributes):
        if not attribute.actionable:
            continue
        if attribute.type == "categorical":
            for category in range(len(attribute.values)):
                changed = rows.copy()
                changed[:, place] = category
                yield _Try(attribute.name, "value", place, changed)
            continue
        for change, sign in (("increase", 1.0), ("decrease", -1.0)):
            if attribute.actionable in (True, change):
                yield _stepped(attribute.name, place, rows, sign, attribute.transform)


def _stepped(name: str, place: int, rows: F4, sign: float, transform: Transform | None) -> _Try:
    transform = transform or Transform()
    value = rows[:, place]
    step: NDArray[np.float32] = np.full(len(rows), transform.scale, np.float32)
    if transform.kind == "log1p":
        step = np.maximum(1.0, np.abs(value) / 4).astype(np.float32)
    moved = value + np.float32(sign) * step
    moved = np.where(value >= 0, np.maximum(moved, 0), moved)
    changed = rows.copy()
    changed[:, place] = moved
    return _Try(name, "increase" if sign > 0 else "decrease", place, changed)


def one_more_event(catalogue: FeatureCatalogue, rows: F4, kind: str) -> F4:
    """Feature rows [n, C] as they would be with one more event of a counted kind right now.

    What the row does not tell stays: the gap and the sessions move only if all newest events are
    of counted kinds some time ago, distinct values and shares of kinds not at all.
    """
    names, changed = catalogue.column_names, rows.copy()

    def column(name: str) -> int:
        return names.index(name)

    latest = [column(f"{each}.recency_days") for each in catalogue.behaviour.kinds]
    with np.errstate(invalid="ignore"):
        since = np.fmin.reduce(rows[:, latest], axis=1)
    first = changed[:, column("event_count")] == 0
    known = since > 0  # not for NaN
    session_gap = catalogue.behaviour.session_gap_minutes / 1440
    gap, sessions = column("gap_days"), column("sessions")
    changed[:, gap] = np.where(known, since, changed[:, gap])
    changed[:, sessions] += first | (known & (since > session_gap))
    changed[:, column("event_count")] += 1
    changed[:, column(f"{kind}.count")] += 1
    changed[:, column(f"{kind}.recency_days")] = 0
    for days in catalogue.behaviour.half_lives_days:
        changed[:, column(f"{kind}.decayed_{days:g}d")] += 1
    if catalogue.behaviour.sequence:
        changed[:, column("sequence.before")] = changed[:, column("sequence.last")]
        changed[:, column("sequence.last")] = catalogue.behaviour.kinds.index(kind)
    return changed


def _hint(
    catalogue: FeatureCatalogue,
    row: F4,
    number: int,
    tried: _Try,
    before: float,
    after: float,
    words: Messages,
) -> Hint:
    said = {"before": words.percent(before), "after": words.percent(after)}
    if tried.change == "event":
        action = catalogue.behaviour.actionable[tried.name]
        line = words.say("hint_event", action=action, **said)
        return Hint(tried.name, tried.change, None, before, after, line)
    place, value = tried.place, float(tried.rows[number, tried.place])
    line = words.say(
        f"hint_{tried.change}",
        subject=catalogue.columns[place].words,
        was=plain_value(catalogue, place, float(row[place]), words.language),
        now=plain_value(catalogue, place, value, words.language),
        **said,
    )
    return Hint(tried.name, tried.change, value, before, after, line)
