"""The charts of a report: how well probabilities and order held, over time and in sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.evaluation.charts import Chart
from models.evaluation.evaluation import Evaluation, span
from models.evaluation.metrics import Figures, auc, calibration_bins, log_loss

STRETCHES = 16
TENTHS = 10


@dataclass(frozen=True, slots=True)
class Panel:
    """A card of the report: title, what to see in it, and its chart or table as HTML."""

    title: str
    words: str
    body: str
    wide: bool = False


def panels(e: Evaluation, own: Figures) -> list[Panel]:
    """The charts of an evaluation, `own` being its figures."""
    stretches = _stretches(e)
    found = [
        Panel("Calibration", "Does what was said come true? Dots on the diagonal are right; their "
              "whiskers are 95% ranges.", _calibration(e)),
        Panel("Gain", "Share of all won leads found by working down the list from the top; the "
              "diagonal is a list in no order.", _gain(e)),
        Panel("Won leads by tenth", "The list in ten equal parts, best first: share that was won; "
              "dashed: the whole.", _lift(e, own)),
        Panel("Predictions", "How many leads got which probability; the filled part was won.",
              _histogram(e)),
        Panel("Said and came over time", f"{len(stretches)} stretches of equal size, oldest first. "
              "Line: share that was won; dashed: what was said.", _rates(stretches)),
        Panel("AUC over time", "Chance that a won lead stands above another, in the same "
              "stretches; dashed: the whole.", _over_time(stretches, "auc", own.auc)),
        Panel("Log-loss over time", "Price of being wrong, in the same stretches; lower is better.",
              _over_time(stretches, "log_loss", own.log_loss)),
    ]  # fmt: skip
    if e.delays_s is not None and len(e.delays_s):
        half, most = np.quantile(e.delays_s, [0.5, 0.95]).tolist()
        words = f"Half of the outcomes were known after {span(half)}, 95% after {span(most)}."
        found.append(Panel("Label delay", words, _delay(e.delays_s)))
    if e.estimates:
        found.append(
            Panel("Log-loss, expected and come", "Whiskers: what was expected before labels came, "
                  "95% ranges; dots: what came.", _estimates(e))
        )  # fmt: skip
    return found


def _calibration(e: Evaluation) -> str:
    size, said, came = calibration_bins(e.outcomes, e.probabilities)
    spread = 1.96 * np.sqrt(np.maximum(came * (1 - came), said * (1 - said)) / size)
    top = min(1.0, float(max(said.max(), (came + spread).max())) * 1.08)
    chart = Chart(
        "Calibration curve", (0, top), (0, top), "probability said", "share that came",
        percent=(True, True),
    )  # fmt: skip
    chart.line([(0, 0), (top, top)], "reference")
    for n, x, y, s in zip(size, said, came, spread, strict=True):
        chart.whisker(float(x), max(0.0, float(y - s)), min(top, float(y + s)), "soft")
        chart.dot(float(x), float(y), 5, f"said {x:.2%}, came {y:.2%} of {n:,} leads", "own")
    return chart.svg()


def gain_curve(
    outcomes: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of leads worked, best first, and share of won leads found [thresholds]."""
    thresholds, group = np.unique(-probabilities, return_inverse=True)
    positives = max(1, int(np.count_nonzero(outcomes)))
    taken = np.cumsum(np.bincount(group, minlength=len(thresholds))) / len(outcomes)
    return taken, np.cumsum(np.bincount(group, weights=outcomes)) / positives


def _gain(e: Evaluation) -> str:
    chart = Chart(
        "Gain curve", (0, 1), (0, 1), "share of leads worked, best first", "share of won found",
        percent=(True, True),
    )  # fmt: skip
    chart.line([(0, 0), (1, 1)], "reference")
    taken, found = gain_curve(e.outcomes, e.probabilities)
    kept = np.unique(np.linspace(0, len(taken) - 1, 200).round().astype(int))
    points = [(0.0, 0.0), *((float(taken[i]), float(found[i])) for i in kept)]
    chart.area(points, "own")
    chart.line(points, "own")
    for share in (0.1, 0.3, 0.5):
        at = float(np.interp(share, [0.0, *taken], [0.0, *found]))
        chart.dot(share, at, 4, f"the best {share:.0%} hold {at:.1%} of won leads", "own")
    return chart.svg()


def _lift(e: Evaluation, own: Figures) -> str:
    taken, found = gain_curve(e.outcomes, e.probabilities)
    edges = np.linspace(0, 1, TENTHS + 1)
    held = np.diff(np.interp(edges, [0.0, *taken], [0.0, *found]))
    whole = own.positives / own.labels
    rates = held * TENTHS * whole
    chart = Chart(
        "Share won by tenth of the list", (0.5, TENTHS + 0.5),
        (0, float(rates.max()) * 1.08 or 1.0), "tenth of the list, best first", "share won",
        [(place, str(place)) for place in range(1, TENTHS + 1)], percent=(False, True),
    )  # fmt: skip
    for place, (rate, share) in enumerate(zip(rates.tolist(), held.tolist(), strict=True), 1):
        tip = f"tenth {place}: {rate:.2%} won, {share:.1%} of all won leads"
        chart.bar(place - 0.42, place + 0.42, 0, rate, tip, "own")
    chart.line([(0.5, whole), (TENTHS + 0.5, whole)], "reference")
    return chart.svg()


@dataclass(frozen=True, slots=True)
class _Stretch:
    start: int
    labels: int
    said: float
    came: float
    auc: float | None
    log_loss: float | None


def _stretches(e: Evaluation) -> list[_Stretch]:
    order = np.argsort(e.times, kind="stable")
    parts = np.array_split(order, min(STRETCHES, len(order)))
    return [
        _Stretch(
            int(e.times[part[0]]),
            len(part),
            float(e.probabilities[part].mean()),
            float(e.outcomes[part].mean()),
            auc(e.outcomes[part], e.probabilities[part]),
            log_loss(e.outcomes[part], e.probabilities[part]),
        )
        for part in parts
    ]


def _day(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%d")


def _days(stretches: Sequence[_Stretch]) -> list[tuple[float, str]]:
    every = max(1, len(stretches) // 4)
    return [
        (float(place), _day(stretch.start))
        for place, stretch in enumerate(stretches)
        if place % every == every // 2
    ]


def _over_time(stretches: list[_Stretch], name: str, whole: float | None) -> str:
    points = [
        (place, value, stretch)
        for place, stretch in enumerate(stretches)
        if (value := getattr(stretch, name)) is not None
    ]
    values = [value for _, value, _ in points] + ([] if whole is None else [whole])
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.12 or 0.02
    words = {"auc": "AUC", "log_loss": "log-loss"}[name]
    chart = Chart(
        f"{words} over time", (-0.4, len(stretches) - 0.6), (low - room, high + room),
        "row time", words, _days(stretches),
    )  # fmt: skip
    if whole is not None:
        chart.line([(-0.4, whole), (len(stretches) - 0.6, whole)], "reference")
    chart.line([(place, value) for place, value, _ in points], "own")
    for place, value, stretch in points:
        tip = f"from {_day(stretch.start)}: {value:.4f} over {stretch.labels:,} labels"
        chart.dot(place, value, 3.5, tip, "own")
    return chart.svg()


def _rates(stretches: list[_Stretch]) -> str:
    top = max(max(stretch.said, stretch.came) for stretch in stretches) * 1.1 or 1.0
    chart = Chart(
        "Said and came over time", (-0.4, len(stretches) - 0.6), (0, top),
        "row time", "share won", _days(stretches), percent=(False, True),
    )  # fmt: skip
    chart.line([(place, stretch.said) for place, stretch in enumerate(stretches)], "reference")
    chart.line([(place, stretch.came) for place, stretch in enumerate(stretches)], "own")
    for place, stretch in enumerate(stretches):
        tip = f"from {_day(stretch.start)}: said {stretch.said:.2%}, came {stretch.came:.2%}"
        chart.dot(place, stretch.came, 3.5, tip, "own")
    return chart.svg()


def _histogram(e: Evaluation) -> str:
    top = float(np.quantile(e.probabilities, 0.995)) * 1.05 or 1.0
    edges = np.linspace(0, min(1.0, top), 31)
    shown = np.minimum(e.probabilities, edges[-1])
    every = np.histogram(shown, edges)[0]
    won = np.histogram(shown[e.outcomes], edges)[0]
    chart = Chart(
        "Histogram of predictions", (0, float(edges[-1])), (0, float(every.max()) * 1.05),
        "probability said", "leads", percent=(True, False),
    )  # fmt: skip
    for place, (all_, hit) in enumerate(zip(every.tolist(), won.tolist(), strict=True)):
        left, right = float(edges[place]), float(edges[place + 1])
        tip = f"{left:.1%} to {right:.1%}: {all_:,} leads, {hit:,} won"
        chart.bar(left, right, 0, all_, tip, "pale")
        chart.bar(left, right, 0, hit, tip, "own")
    return chart.svg()


def _delay(delays_s: NDArray[np.float64]) -> str:
    top = float(np.quantile(delays_s, 0.99)) or 1.0
    size, unit = next(
        (size, unit)
        for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))
        if top >= 2 * size or size == 1
    )
    shares = np.linspace(0, 1, 101)
    points = np.quantile(delays_s, shares) / size
    chart = Chart(
        "Label delay", (0, top / size * 1.02), (0, 1), f"{unit} until the outcome is known",
        "share of outcomes known", percent=(False, True),
    )  # fmt: skip
    line = [(0.0, 0.0)]
    line += [(float(x), float(y)) for x, y in zip(points, shares, strict=True) if x <= top / size]
    chart.area(line, "own")
    chart.line(line, "own")
    for share in (0.5, 0.95):
        at = float(np.quantile(delays_s, share))
        chart.dot(at / size, share, 4, f"{share:.0%} known after {span(at)}", "own")
    return chart.svg()


def _estimates(e: Evaluation) -> str:
    shown = [c for c in e.estimates if c.expected.log_loss_range and c.came.log_loss is not None]
    values = [v for c in shown for v in (*(c.expected.log_loss_range or ()), c.came.log_loss or 0)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.12 or 0.02
    every = max(1, len(shown) // 4)
    labels = [
        (float(place), f"epoch {c.epoch}")
        for place, c in enumerate(shown)
        if place % every == every // 2
    ]
    chart = Chart(
        "Log-loss expected and come", (-0.5, len(shown) - 0.5), (max(0.0, low - room), high + room),
        "epoch of scoring", "log-loss", labels,
    )  # fmt: skip
    for place, c in enumerate(shown):
        first, last = c.expected.log_loss_range or (0.0, 0.0)
        came = c.came.log_loss or 0.0
        chart.whisker(place, first, last, "soft")
        tip = f"epoch {c.epoch}: expected {c.expected.log_loss:.4f}, came {came:.4f}"
        chart.dot(place, came, 4, f"{tip} over {c.labels:,} labels", "own")
    return chart.svg()
