"""Resolved labels to figures, a baseline, predictions and a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.calibration.affine import sigmoid
from models.champion.train_static import train_static
from models.evaluation.metrics import Figures, figures
from models.evaluation.report import Evaluation, render_report
from models.features.encoding import Encoding
from models.workspaces import WorkspaceConfig
from streams.evaluation.collect import ResolvedRows
from streams.evaluation.local import Run

BASELINE = "Static logistic regression"


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of one evaluation.

    Attributes:
        figures: Of the published probabilities, over the rows that count.
        static: Of a logistic regression fitted on the rows before them; None if there are none.
    """

    run: Run
    judged: ResolvedRows
    figures: Figures
    static: Figures | None

    def as_json(self) -> dict[str, Any]:
        """Public names, snake case with units."""
        out = {k: _rounded(v) for k, v in asdict(self.figures).items()}
        out |= {
            "events": self.run.events,
            "events_per_s": round(self.run.events / max(self.run.seconds, 1e-9)),
            "seconds": round(self.run.seconds, 2),
            "pending": self.run.pending,
            "rejected": self.run.rejected,
        }
        if self.static is not None:
            out |= {f"static_{k}": _rounded(v) for k, v in asdict(self.static).items()}
        return out


def judge(run: Run, config: WorkspaceConfig, from_fraction: float) -> Result:
    """Figures over the rows after ``from_fraction``, next to a baseline fitted on those before."""
    judged = run.rows.since(from_fraction)
    outcome = judged.column("positive").astype(np.bool_)
    own = figures(outcome, judged.column("probability").astype(np.float64))
    static = None
    if 0 < from_fraction < 1 and len(judged):
        before = run.rows.until(from_fraction)
        labels = before.column("positive").astype(np.bool_)
        if labels.any() and not labels.all():
            encoding = Encoding(config.catalogue)
            weights = train_static(encoding, before.features(), labels)
            _, _, logits = encoding.logits_and_contributions(judged.features(), weights)
            static = figures(outcome, sigmoid(logits))
    return Result(run, judged, own, static)


def write_predictions(result: Result, path: Path) -> None:
    """Write ``lead_id, event_id, row_time, probability, outcome`` as Parquet."""
    table = result.judged.table
    columns = {n: table.column(n) for n in ("lead_id", "event_id", "row_time", "probability")}
    columns["outcome"] = table.column("positive").cast(pa.int8())
    pq.write_table(pa.table(columns), path)


def write_report(result: Result, path: Path, title: str, details: dict[str, str]) -> None:
    """Write the HTML report."""
    judged = result.judged
    page = render_report(
        Evaluation(
            title=title,
            times=judged.column("row_time").astype(np.int64),
            outcomes=judged.column("positive").astype(np.bool_),
            probabilities=judged.column("probability").astype(np.float64),
            baselines={BASELINE: result.static} if result.static else {},
            details=details,
        )
    )
    path.write_text(page, encoding="utf-8")


def _rounded(value: float | int | None) -> float | int | None:
    return round(value, 6) if isinstance(value, float) else value
