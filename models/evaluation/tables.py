"""The tables of a report: what moves scores, what has drifted, and how segments fare."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from models.evaluation.drift import PREDICTIONS, Drift
from models.evaluation.evaluation import Evaluation
from models.evaluation.panels import Panel
from models.evaluation.segments import Segment

ROWS = 15  # of a table; the rest is summed up or left out, the strongest first


def panels(e: Evaluation) -> list[Panel]:
    """The tables of an evaluation, as far as there is something to tell."""
    found = []
    if e.contributions:
        words = "How much each feature moves scores: its share of all mean contributions."
        found.append(Panel("What moves scores", words, _contributions(e)))
    if e.drifts:
        words = (
            "How far recent leads differ from those the model was trained on. A bar beyond the "
            "mark is more than chance and large enough to matter."
        )
        found.append(Panel("Drift", words, _drifts(e)))
    for column, segments in e.segments.items():
        words = (
            "Probability said and share that came, by segment; off: they differ by more than "
            "chance explains."
        )
        found.append(Panel(f"By {escape(column)}", words, _segments(segments), wide=True))
    return found


def _bar(share: float, style: str, mark: float | None = None) -> str:
    """A bar of a share of its track, and a mark on it."""
    width = 100 * min(max(share, 0.0), 1.0)
    at = "" if mark is None else f'<i style="left:{100 * mark:.1f}%"></i>'
    return f'<span class="track"><b class="{style}" style="width:{width:.1f}%"></b>{at}</span>'


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th scope=col>{name}</th>" for name in heads)
    return (
        f'<div class="scroll"><table class="bars"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _contributions(e: Evaluation) -> str:
    total = sum(e.contributions.values()) or 1.0
    ordered = sorted(e.contributions.items(), key=lambda item: (-item[1], item[0]))
    shown = [(e.said(name), value) for name, value in ordered[:ROWS]]
    if len(ordered) > ROWS:
        rest = sum(value for _, value in ordered[ROWS:])
        shown.append((f"{len(ordered) - ROWS} others", rest))
    top = max(value for _, value in shown) or 1.0
    return _table(
        ("Feature", "", "Share"),
        [
            f"<tr><th scope=row>{escape(said)}</th><td class=bar>{_bar(value / top, 'own')}</td>"
            f"<td>{value / total:.1%}</td></tr>"
            for said, value in shown
        ],
    )


def _drifts(e: Evaluation) -> str:
    ordered = sorted(e.drifts, key=lambda drift: (-drift.strength, drift.name))
    return _table(("Feature", "", "", "PSI", "KS"), [_drift(e, drift) for drift in ordered[:ROWS]])


def _drift(e: Evaluation, drift: Drift) -> str:
    name = "predictions" if drift.name == PREDICTIONS else e.said(drift.name)
    ks = "" if drift.ks is None else f"{drift.ks:.3f}"
    bar = _bar(drift.strength / 2, "warn" if drift.drifted else "own", 0.5)
    verdict = '<em class="off">drifted</em>' if drift.drifted else "steady"
    return (
        f"<tr><th scope=row>{escape(name)}</th><td class=bar>{bar}</td><td>{verdict}</td>"
        f"<td>{drift.psi:.3f}</td><td>{ks}</td></tr>"
    )


def _segments(segments: Sequence[Segment]) -> str:
    top = max((max(s.said, s.came) for s in segments), default=0.0) or 1.0
    rows = []
    for s in segments[:ROWS]:
        bars = _bar(s.said / top, "pale") + _bar(s.came / top, "own")
        order = "" if s.auc is None else f"{s.auc:.3f}"
        verdict = "fine" if s.calibrated else '<em class="off">off</em>'
        rows.append(
            f"<tr><th scope=row>{escape(s.name)}</th><td class=bar>{bars}</td>"
            f"<td>{s.said:.1%}</td><td>{s.came:.1%}</td><td>{verdict}</td><td>{s.labels:,}</td>"
            f"<td>{order}</td><td>{s.log_loss:.4f}</td></tr>"
        )
    heads = ("Segment", "", "Said", "Came", "Calibration", "Leads", "AUC", "Log-loss")
    return _table(heads, rows)
