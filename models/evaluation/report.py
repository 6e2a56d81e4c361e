"""An evaluation as one self-contained HTML page that a sales lead understands.

First what it means in sentences, then the figures, then the charts behind them. No scripts and
nothing fetched; readable in light, dark and on paper. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

from models.evaluation import panels, tables
from models.evaluation.evaluation import Evaluation
from models.evaluation.metrics import Figures, figures
from models.evaluation.summary import sentences

__all__ = ["Evaluation", "render_report"]

_ROWS = (
    ("auc", "AUC", "chance that a won lead stands above another; 0.5 is chance", "{:.4f}"),
    ("average_precision", "Average precision", "mean share of won leads down the list", "{:.4f}"),
    ("log_loss", "Log-loss", "nats a label; lower is better", "{:.4f}"),
    ("brier", "Brier score", "mean squared error; lower is better", "{:.4f}"),
    ("ece", "Calibration error", "mean gap between said and came, 10 bins", "{:.4f}"),
    ("lift_top_decile", "Lift of the top tenth", "won leads there against the average", "{:.2f}x"),
)


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
        "From": _moment(int(e.times.min())),
        "To": _moment(int(e.times.max())),
        **e.details,
    }
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in details.items()
    )
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(e, own))
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(e.title)}</title><style>{style}</style></head><body><main>"
        f"<header><p class=kicker>leadstream evaluation</p><h1>{escape(e.title)}</h1>"
        f"<dl>{facts}</dl></header>"
        f'<section class="summary"><h2>What it says</h2><ul>{said}</ul></section>'
        f"{_tiles(own)}{_table(own, e.baselines)}"
        f'<div class="panels">{_cards(panels.panels(e, own))}</div>'
        f'<div class="panels">{_cards(tables.panels(e))}</div>'
        "<footer>Prequential: each label is judged by the probability published for its row, "
        "before the label was known.</footer></main></body></html>\n"
    )


def _cards(shown: list[panels.Panel]) -> str:
    return "".join(
        f"<figure{' class=wide' if panel.wide else ''}><figcaption><h2>{panel.title}</h2>"
        f"<p>{escape(panel.words)}</p></figcaption>{panel.body}</figure>"
        for panel in shown
    )


def _moment(micros: int) -> str:
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
