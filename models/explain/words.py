"""A contribution in words, with its value: `2.6 recent contacts (half-life 7 d): +0.84`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.features.catalogue import Column, FeatureCatalogue


def explain_in_words(
    catalogue: FeatureCatalogue,
    row: NDArray[np.float32],
    names: Sequence[str],
    index: Sequence[int],
    value: Sequence[float],
) -> list[str]:
    """One line for each of a row's top contributions.

    Args:
        catalogue: of the row.
        row: the feature row [C].
        names: of the mixture's terms.
        index: positions in `names`, -1 for none.
        value: the contributions.
    """
    known = {name: place for place, name in enumerate(catalogue.column_names)}
    lines = []
    for position, contribution in zip(index, value, strict=True):
        if position < 0:
            continue
        place = known.get(names[position])
        if place is None:
            said = f"model {names[position]}"
        else:
            said = value_in_words(catalogue, place, float(row[place]))
        lines.append(f"{said}: {contribution:+.2f}")
    return lines


def value_in_words(catalogue: FeatureCatalogue, place: int, value: float) -> str:
    """What column number `place` of a feature row says with this value."""
    column = catalogue.columns[place]
    missing = math.isnan(value)
    match column.kind:
        case "categorical":
            return f"{column.words}: {_category(catalogue, place, value)}"
        case "numeric":
            return f"{column.words}: {'not known' if missing else _amount(value, column.unit)}"
        case "count":
            return f"{_counted(value, column.subject)} so far"
        case "decayed":
            return f"{_decayed(value, column)} (half-life {column.half_life_days:g} d)"
        case "recency":
            age = "none yet" if missing else f"latest {_days(value)} ago"
            return f"{column.subject}: {age}"
        case "event_count" | "sessions":
            return f"{_counted(value, column.subject)} so far"
        case "days_since_first":
            return f"known for {_days(value)}"
        case "gap":
            return "only one event so far" if missing else f"{_days(value)} between last two events"


def _category(catalogue: FeatureCatalogue, place: int, value: float) -> str:
    if math.isnan(value):
        return "not known"
    values = catalogue.attributes[place].values
    return values[int(value)] if int(value) < len(values) else "another value"


def _amount(value: float, unit: str | None) -> str:
    return f"{value:.6g} {unit}" if unit else f"{value:.6g}"


def _counted(value: float, subject: str) -> str:
    if value == 0:
        return f"no {subject}"
    return f"{value:.0f} {subject.removesuffix('s') if value == 1 else subject}"


def _decayed(value: float, column: Column) -> str:
    return (
        f"{value:.1f} recent {column.subject}" if value >= 0.05 else f"no recent {column.subject}"
    )


def _days(value: float) -> str:
    if value < 1 / 24:
        return f"{value * 1440:.0f} min"
    return f"{value * 24:.1f} h" if value < 1 else f"{value:.1f} d"
