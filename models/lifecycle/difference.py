"""How two versions of a champion differ: parameters, figures and terms, largest changes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.lifecycle.lineage import Lineage
from models.online.interface import Terms


@dataclass(frozen=True, slots=True)
class Change:
    """One thing by name, before and after; None where it was not there."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one version to another; what is equal is left out."""

    before: str
    after: str
    origin: tuple[Change, ...]
    parameters: tuple[Change, ...]
    figures: tuple[Change, ...]
    terms: tuple[Change, ...]


def term_sizes(terms: Terms) -> dict[str, float]:
    """How much each term moves the logit: its mean absolute distance from its own mean."""
    centred = np.abs(terms.contributions - terms.contributions.mean(axis=0))
    return {name: float(size) for name, size in zip(terms.names, centred.mean(axis=0), strict=True)}


def difference(
    versions: tuple[str, str],
    before: Lineage,
    after: Lineage,
    terms_before: Mapping[str, float],
    terms_after: Mapping[str, float],
    most_terms: int = 20,
) -> Difference:
    """Compare two versions by their lineage and their terms' sizes (`term_sizes`)."""
    origin = ("catalogue", "labels", "positives", "first_row_time", "last_row_time", "digest",
              "code_version")  # fmt: skip
    return Difference(
        *versions,
        _changes({n: getattr(before, n) for n in origin}, {n: getattr(after, n) for n in origin}),
        _changes(before.parameters, after.parameters),
        _by_size(before.metrics, after.metrics),
        _by_size(terms_before, terms_after)[:most_terms],
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    names = dict.fromkeys((*before, *after))
    changes = [Change(name, before.get(name), after.get(name)) for name in names]
    return tuple(change for change in changes if change.before != change.after)


def _by_size(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[Change, ...]:
    changes = _changes(before, after)
    return tuple(
        sorted(changes, key=lambda c: (-abs((c.after or 0.0) - (c.before or 0.0)), c.name))
    )
