"""A score in words: its reasons with the values behind them, and why it moved.

`2.6 recent contacts (half-life 7 d): +0.84`; sentences in any language of `sentences/`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.explain.messages import DEFAULT, Messages, messages
from models.features.catalogue import FeatureCatalogue

PAIR = "*"  # stands between the two columns of a champion's pair term


def explain_in_words(
    catalogue: FeatureCatalogue,
    row: NDArray[np.float32],
    names: Sequence[str],
    index: Sequence[int],
    value: Sequence[float],
    language: str = DEFAULT,
) -> list[str]:
    """One line for each of a row's top contributions.

    Args:
        catalogue: of the row.
        row: the feature row [C].
        names: of the mixture's terms.
        index: positions in `names`, -1 for none.
        value: the contributions.
        language: of the sentences.
    """
    words = messages(language)
    lines = []
    for position, contribution in zip(index, value, strict=True):
        if position >= 0:
            said = term_in_words(catalogue, row, names[position], language)
            lines.append(words.say("reason", said=said, amount=_amount(words, contribution)))
    return lines


def term_in_words(
    catalogue: FeatureCatalogue, row: NDArray[np.float32], name: str, language: str = DEFAULT
) -> str:
    """What a mixture's term says of a feature row [C].

    `name` is a column, a pair `left*right` of columns (both are told), or a model that cannot add.
    """
    columns = catalogue.column_names
    words = messages(language)
    parts = name.split(PAIR)
    if len(parts) > 2 or not set(parts) <= set(columns):
        return words.say("model", name=name)
    said = [
        value_in_words(catalogue, place, float(row[place]), language)
        for place in (columns.index(part) for part in parts)
    ]
    return said[0] if len(said) == 1 else words.say("both", left=said[0], right=said[1])


def value_in_words(
    catalogue: FeatureCatalogue, place: int, value: float, language: str = DEFAULT
) -> str:
    """What column number `place` of a feature row says with this value."""
    column, words = catalogue.columns[place], messages(language)
    missing = math.isnan(value)
    match column.kind:
        case "categorical" | "numeric" | "sequence_kind" | "sequence_share" | "indicator":
            said = plain_value(catalogue, place, value, language)
            return words.say("known", subject=column.words, value=said)
        case "distinct":
            return words.counted("distinct", value, column.subject)
        case "rate":
            return _rate(words, column.subject, value)
        case "count":
            return words.counted("count", value, column.subject)
        case "event_count" | "sessions":
            return words.counted(column.kind, value)
        case "decayed":
            days = words.number(column.half_life_days or 0.0, "g")
            if value < 0.05:
                return words.say("decayed_none", subject=column.subject, days=days)
            count = words.number(value, ".1f")
            return words.say("decayed", subject=column.subject, days=days, count=count)
        case "recency":
            if missing:
                return words.say("recency_none", subject=column.subject)
            return words.say("recency", subject=column.subject, age=words.age(value))
        case "days_since_first":
            return words.say("days_since_first", age=words.age(value))
        case "gap":
            return words.say("gap_none") if missing else words.say("gap", age=words.age(value))


def plain_value(
    catalogue: FeatureCatalogue, place: int, value: float, language: str = DEFAULT
) -> str:
    """An attribute's value alone: its category, or the number with its unit."""
    column, words = catalogue.columns[place], messages(language)
    if math.isnan(value):
        return words.say("not_known")
    if column.categories:
        values = column.values
        return values[int(value)] if int(value) < len(values) else words.say("another_value")
    if column.kind == "sequence_share":
        return words.percent(value)
    amount = words.number(value, ".6g")
    return f"{amount} {column.unit}" if column.unit else amount


def _rate(words: Messages, subject: str, log_odds: float) -> str:
    if math.isnan(log_odds) or abs(log_odds) < 0.005:
        return words.say("rate_average", subject=subject)
    key = "rate_better" if log_odds > 0 else "rate_worse"
    return words.say(key, subject=subject, amount=_amount(words, log_odds))


def delta_in_words(
    previous_logit: float, event: float, time: float, model: float, language: str = DEFAULT
) -> list[str]:
    """Why a score moved: the probability before and after, then the parts, largest first.

    Args:
        previous_logit: of the lead's score before.
        event: part of the change that this event caused; log-odds, as are the next two.
        time: part that passing time caused.
        model: part that a newer model caused; parts of exactly 0 are not told.
        language: of the sentences.
    """
    words = messages(language)
    parts = [("delta_event", event), ("delta_time", time), ("delta_model", model)]
    before, after = (
        words.percent(1 / (1 + math.exp(-min(max(logit, -700), 700))))
        for logit in (previous_logit, previous_logit + event + time + model)
    )
    return [
        words.say("moved", before=before, after=after),
        *(
            words.say(key, amount=_amount(words, value))
            for key, value in sorted(parts, key=lambda part: -abs(part[1]))
            if value != 0
        ),
    ]


def _amount(words: Messages, log_odds: float) -> str:
    return words.number(log_odds, "+.2f")
