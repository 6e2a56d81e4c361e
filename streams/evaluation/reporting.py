"""The HTML report of an evaluation: what the judged rows and the last models say, put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.drift import Drift, feature_drifts, prediction_drift
from models.evaluation.estimate import Comparison, EstimateLedger
from models.evaluation.histograms import FeatureBins, count_logits, counts_of
from models.evaluation.report import Evaluation, render_report
from models.evaluation.segments import Segment, segment_codes, segment_figures, segment_names
from models.mixture import Mixture
from models.workspaces import WorkspaceConfig
from streams.evaluation.collect import ResolvedRows
from streams.evaluation.result import Result, baselines

_SPANS = 12
"""Stretches of time in which estimates are compared with what came."""
_SEGMENTS = 3
"""Without a segment of the workspace, its first categorical attributes with named values."""


def write_report(
    result: Result,
    config: WorkspaceConfig,
    from_fraction: float,
    path: Path,
    title: str,
    details: dict[str, str],
) -> None:
    """Write one self-contained page."""
    rows = result.judged
    times = rows.column("row_time").astype(np.int64)
    page = render_report(
        Evaluation(
            title=title,
            times=times,
            outcomes=rows.column("positive").astype(np.bool_),
            probabilities=rows.column("probability").astype(np.float64),
            baselines=baselines(result),
            details=details,
            delays_s=(rows.column("resolved_at").astype(np.int64) - times) / 1e6,
            drifts=_drifts(result.run.rows.until(from_fraction), rows, config),
            segments=_segments(rows, config),
            contributions=_contributions(rows, result.run.mixture),
            words={column.name: column.words for column in config.catalogue.columns},
            estimates=_estimates(rows),
        )
    )
    path.write_text(page, encoding="utf-8")


def _logits(rows: ResolvedRows) -> NDArray[np.float64]:
    return rows.column("logit").astype(np.float64)


def _drifts(before: ResolvedRows, judged: ResolvedRows, config: WorkspaceConfig) -> list[Drift]:
    """Each feature and the predictions of the judged rows against those before them."""
    if not len(before) or not len(judged):
        return []
    bins = FeatureBins(config.catalogue)
    reference, recent = (counts_of(bins, r.features(), _logits(r)) for r in (before, judged))
    features = feature_drifts(bins, reference, recent)
    return [*features, prediction_drift(reference, recent, len(features))]


def _segments(rows: ResolvedRows, config: WorkspaceConfig) -> dict[str, tuple[Segment, ...]]:
    catalogue = config.catalogue
    named = [a.name for a in catalogue.attributes if a.type == "categorical" and a.values]
    chosen = [config.workspace.segment] if config.workspace.segment else named[:_SEGMENTS]
    words = {column.name: column.words for column in catalogue.columns}
    outcomes = rows.column("positive").astype(np.bool_)
    probabilities = rows.column("probability").astype(np.float64)
    if not len(rows):
        return {}
    return {
        words[name]: segment_figures(
            outcomes,
            probabilities,
            segment_codes(catalogue, name, rows.features()),
            segment_names(catalogue, name),
        )
        for name in chosen
    }


def _contributions(rows: ResolvedRows, mixture: Mixture | None) -> dict[str, float]:
    """Mean absolute contribution of each term by the models that were in use at the end."""
    if mixture is None or not len(rows):
        return {}
    scored = mixture.score(rows.features(), len(mixture.names))
    total = np.zeros(len(mixture.names))
    np.add.at(total, scored.index[scored.index >= 0], np.abs(scored.value[scored.index >= 0]))
    return dict(zip(mixture.names, (total / len(rows)).tolist(), strict=True))


def _estimates(rows: ResolvedRows) -> list[Comparison]:
    """What was to be expected in each stretch of time, and what came."""
    if not len(rows):
        return []
    times, logits = rows.column("row_time").astype(np.int64), _logits(rows)
    edges = np.quantile(times, np.linspace(0, 1, _SPANS + 1)[1:-1])
    span = np.searchsorted(edges, times, side="right")
    ledger = EstimateLedger()
    for each in np.unique(span):
        counts = np.zeros(64, np.int64)
        count_logits(logits[span == each], counts)
        ledger.add_scored(int(each), counts)
    ledger.add_labels(span.astype(np.int64), logits, rows.column("positive").astype(np.bool_))
    return ledger.comparisons()
