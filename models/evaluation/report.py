"""An evaluation as one self-contained HTML page: figures, calibration, gain, quality over time.

No scripts and nothing fetched; readable in light, dark and on paper. The same input gives the
same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from models.evaluation.charts import Chart
from models.evaluation.metrics import Figures, auc, calibration_bins, figures, log_loss

SEGMENTS = 16
_ROWS = (
    ("auc", "AUC", "chance that a won lead stands above another; 0.5 is chance", "{:.4f}"),
    ("average_precision", "Average precision", "mean share of won leads down the list", "{:.4f}"),
    ("log_loss", "Log-loss", "nats a label; lower is better", "{:.4f}"),
    ("brier", "Brier score", "mean squared error; lower is better", "{:.4f}"),
    ("ece", "Calibration error", "mean gap between said and came, 10 bins", "{:.4f}"),
    ("lift_top_decile", "Lift of the top tenth", "won leads there against the average", "{:.2f}x"),
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a report is about. Rows in any order.

    outcomes [n]; probabilities [n] as published; times [n] of the rows, µs UTC.
    details: lines for the head, e.g. workspace, target, label delay.
    baselines: figures of other models on the same rows, by name.
    """

    title: str
    outcomes: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    times: NDArray[np.int64]
    details: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, Figures] = field(default_factory=dict)


def render_report(evaluation: Evaluation) -> str:
    """The whole page.

    Raises:
        ValueError: there are no rows to report on.
    """
    e = evaluation
    if not len(e.outcomes):
        raise ValueError("no labelled rows to report on: widen the range or wait for labels")
    own = figures(e.outcomes, e.probabilities)
    details = {
        "Labels": f"{own.labels:,} ({own.positives:,} won, {own.positives / own.labels:.2%})",
        "From": _day(int(e.times.min())),
        "To": _day(int(e.times.max())),
        **e.details,
    }
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in details.items()
    )
    segments = _segments(e)
    panels = [
        _panel("Calibration", "Does what was said come true? Dots on the diagonal are right; "
               "their whiskers are 95% ranges.", _calibration(e)),
        _panel("Gain", "Share of all won leads found by working down the list from the top.",
               _gain(e)),
        _panel("AUC over time", f"{len(segments)} stretches of equal size, oldest first; dashed: "
               "the whole.", _over_time(segments, "auc", own.auc)),
        _panel("Log-loss over time", "The same stretches; lower is better.",
               _over_time(segments, "log_loss", own.log_loss)),
        _panel("Predictions", "How many leads got which probability; the filled part was won.",
               _histogram(e)),
    ]  # fmt: skip
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(e.title)}</title><style>{style}</style></head><body><main>"
        f"<header><p class=kicker>leadstream evaluation</p><h1>{escape(e.title)}</h1>"
        f"<dl>{facts}</dl></header>{_tiles(own)}{_table(own, e.baselines)}"
        f'<div class="panels">{"".join(panels)}</div>'
        "<footer>Prequential: each label is judged by the probability published for its row, "
        "before the label was known.</footer></main></body></html>\n"
    )


def _day(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _said(value: float | None, form: str) -> str:
    return "n/a" if value is None else form.format(value)


def _tiles(own: Figures) -> str:
    tiles = [
        f"<div><strong>{_said(getattr(own, name), form)}</strong><span>{words}</span></div>"
        for name, words, _, form in _ROWS
        if name in ("auc", "log_loss", "ece", "lift_top_decile")
    ]
    return f'<section class="tiles">{"".join(tiles)}</section>'


def _table(own: Figures, baselines: Mapping[str, Figures]) -> str:
    heads = "".join(f"<th scope=col>{escape(name)}</th>" for name in ("This model", *baselines))
    rows = "".join(
        f"<tr><th scope=row>{words}<small>{meaning}</small></th>"
        + "".join(
            f"<td>{_said(getattr(column, name), form)}</td>"
            for column in (own, *baselines.values())
        )
        + "</tr>"
        for name, words, meaning, form in _ROWS
    )
    return (
        '<section class="figures"><table><caption>All figures</caption>'
        f"<thead><tr><th scope=col>Figure</th>{heads}</tr></thead><tbody>{rows}</tbody>"
        "</table></section>"
    )


def _panel(title: str, words: str, chart: str) -> str:
    return f"<figure><figcaption><h2>{title}</h2><p>{words}</p></figcaption>{chart}</figure>"


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


def _gain(e: Evaluation) -> str:
    chart = Chart(
        "Gain curve", (0, 1), (0, 1), "share of leads worked, best first", "share of won found",
        percent=(True, True),
    )  # fmt: skip
    chart.line([(0, 0), (1, 1)], "reference")
    thresholds, group = np.unique(-e.probabilities, return_inverse=True)
    positives = max(1, int(np.count_nonzero(e.outcomes)))
    taken = np.cumsum(np.bincount(group)) / len(e.outcomes)
    found = np.cumsum(np.bincount(group, weights=e.outcomes)) / positives
    kept = np.unique(np.linspace(0, len(thresholds) - 1, 200).round().astype(int))
    points = [(0.0, 0.0), *((float(taken[i]), float(found[i])) for i in kept)]
    chart.area(points, "own")
    chart.line(points, "own")
    return chart.svg()


@dataclass(frozen=True, slots=True)
class _Segment:
    start: int
    labels: int
    auc: float | None
    log_loss: float | None


def _segments(e: Evaluation) -> list[_Segment]:
    order = np.argsort(e.times, kind="stable")
    parts = np.array_split(order, min(SEGMENTS, len(order)))
    return [
        _Segment(
            int(e.times[part[0]]),
            len(part),
            auc(e.outcomes[part], e.probabilities[part]),
            log_loss(e.outcomes[part], e.probabilities[part]),
        )
        for part in parts
    ]


def _over_time(segments: list[_Segment], name: str, whole: float | None) -> str:
    points = [
        (place, value, segment)
        for place, segment in enumerate(segments)
        if (value := getattr(segment, name)) is not None
    ]
    values = [value for _, value, _ in points] + ([] if whole is None else [whole])
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.12 or 0.02
    every = max(1, len(segments) // 4)
    labels = [
        (float(place), _day(segment.start)[:10])
        for place, segment in enumerate(segments)
        if place % every == every // 2
    ]
    words = {"auc": "AUC", "log_loss": "log-loss"}[name]
    chart = Chart(
        f"{words} over time", (-0.4, len(segments) - 0.6), (low - room, high + room),
        "row time", words, labels,
    )  # fmt: skip
    if whole is not None:
        chart.line([(-0.4, whole), (len(segments) - 0.6, whole)], "reference")
    chart.line([(place, value) for place, value, _ in points], "own")
    for place, value, segment in points:
        tip = f"from {_day(segment.start)}: {value:.4f} over {segment.labels:,} labels"
        chart.dot(place, value, 3.5, tip, "own")
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
