"""A report in a few sentences, for whoever works the leads."""

from __future__ import annotations

import numpy as np

from models.evaluation.drift import PREDICTIONS
from models.evaluation.evaluation import Evaluation, span
from models.evaluation.metrics import Figures, ece_limit
from models.evaluation.panels import gain_curve

FEW = 100  # labels below which nothing is concluded
SURPRISE = 4.0  # standard errors between said and came; the worst of many segments is to reach it


def sentences(e: Evaluation, own: Figures) -> list[str]:
    """What the evaluation means, most useful first; `own` are its figures."""
    if not 0 < own.positives < own.labels:
        which = "won" if own.positives else "lost"
        return [f"All {own.labels:,} labelled leads were {which}: nothing to tell apart yet."]
    if own.labels < FEW:
        return [f"Only {own.labels} outcomes are known: too few to conclude anything."]
    found = [_order(e, own), _trust(e, own), *_rivals(e, own)]
    found += [*_drift(e), *_segments(e)]
    if e.delays_s is not None and len(e.delays_s):
        half = span(float(np.median(e.delays_s)))
        found.append(
            f"Half of the outcomes are known within {half}: the model learns no sooner than that."
        )
    return found


def _order(e: Evaluation, own: Figures) -> str:
    taken, won = gain_curve(e.outcomes, e.probabilities)
    top = float(np.interp(0.1, [0.0, *taken], [0.0, *won]))
    half = float(np.interp(0.5, [0.0, *won], [0.0, *taken]))
    if (own.auc or 0.0) <= 0.52:
        return (
            f"The order of the list tells little: its best tenth holds {top:.0%} of all won leads "
            "where chance would give 10%."
        )
    return (
        f"Work the list from the top: its best tenth holds {top:.0%} of all won leads "
        f"({10 * top:.1f} times chance), and half of them are in its best {half:.0%}."
    )


def _trust(e: Evaluation, own: Figures) -> str:
    gap, limit = own.ece or 0.0, ece_limit(e.probabilities) or 0.0
    said, came = float(e.probabilities.mean()), own.positives / own.labels
    if gap <= limit:
        return (
            f"Probabilities can be taken at their word: {said:.1%} were said to be won on average, "
            f"{came:.1%} were."
        )
    way = "too high" if said > came else "too low"
    return (
        f"Probabilities are off by {gap * 100:.1f} points on average (said {said:.1%}, came "
        f"{came:.1%}, mostly {way}): trust the order more than the number."
    )


def _rivals(e: Evaluation, own: Figures) -> list[str]:
    known = [(name, f.auc) for name, f in e.baselines.items() if f.auc is not None]
    if not known or own.auc is None:
        return []
    name, best = max(known, key=lambda item: item[1])
    gap = own.auc - best
    way = "as well as" if abs(gap) < 0.002 else "better than" if gap > 0 else "worse than"
    others = "the best of the others, " if len(known) > 1 else ""
    return [f"It orders leads {way} {others}{name} (AUC {own.auc:.3f} against {best:.3f})."]


def _drift(e: Evaluation) -> list[str]:
    if not e.drifts:
        return []
    features = [drift for drift in e.drifts if drift.name != PREDICTIONS]
    drifted = sorted((d for d in features if d.drifted), key=lambda d: (-d.strength, d.name))
    if not drifted:
        return ["Leads look like those that the model was trained on."]
    names = ", ".join(e.said(drift.name) for drift in drifted[:3])
    more = f" and {len(drifted) - 3} more" if len(drifted) > 3 else ""
    return [
        f"{len(drifted)} of {len(features)} features have drifted from the training window: "
        f"{names}{more}."
    ]


def _segments(e: Evaluation) -> list[str]:
    found = []
    for column, segments in e.segments.items():
        enough = [segment for segment in segments if segment.labels >= FEW]
        worst = max(enough, key=lambda segment: abs(segment.surprise), default=None)
        if worst is not None and abs(worst.surprise) > SURPRISE:
            found.append(
                f"By {column}, mind {worst.name}: said {worst.said:.1%}, came {worst.came:.1%} of "
                f"{worst.labels:,} leads."
            )
    return found
