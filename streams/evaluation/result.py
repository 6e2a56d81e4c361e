"""Resolved labels to figures, baselines and predictions; ``reporting.py`` makes a page of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.champion.train_static import train_static
from models.evaluation.metrics import Figures, ece_limit, figures
from models.evaluation.rivals import WORDS, LabelledRows, rival_logits
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
        ece_limit: Up to which their ECE counts as calibrated; None without rows.
        static: Of a logistic regression fitted on the rows before them; None if there are none.
        rivals: Of every rival by name, over the same rows; empty unless asked for.
    """

    run: Run
    judged: ResolvedRows
    figures: Figures
    ece_limit: float | None
    static: Figures | None
    rivals: dict[str, Figures]

    def as_json(self) -> dict[str, Any]:
        """Public names, snake case with units."""
        out: dict[str, Any] = {k: _rounded(v) for k, v in asdict(self.figures).items()}
        out |= {
            "ece_limit": _rounded(self.ece_limit),
            "events": self.run.events,
            "events_per_s": round(self.run.events / max(self.run.seconds, 1e-9)),
            "seconds": round(self.run.seconds, 2),
            "pending": self.run.pending,
            "retracted": self.run.retracted,
            "rejected": self.run.rejected,
        }
        if self.static is not None:
            out |= {f"static_{k}": _rounded(v) for k, v in asdict(self.static).items()}
        if self.rivals:
            out["rivals"] = {
                name: {k: _rounded(v) for k, v in asdict(rival).items()}
                for name, rival in self.rivals.items()
            }
        return out


def judge(
    run: Run,
    config: WorkspaceConfig,
    from_fraction: float,
    where: Mapping[str, float] | None = None,
    rivals: Mapping[str, NDArray[np.float64]] | None = None,
) -> Result:
    """Figures over the rows after ``from_fraction``, next to a baseline fitted on those before.

    Args:
        where: Only rows whose feature columns have these values are judged.
        rivals: Logits of others for all rows of the run, by name: see :func:`logits_of_rivals`.

    Raises:
        ValueError: ``where`` names no column of the catalogue.
    """
    kept = _matching(run.rows, config, where or {})
    counts = run.rows.is_since(from_fraction) & kept
    judged = run.rows.where(counts)
    outcome = judged.column("positive").astype(np.bool_)
    said = judged.column("probability").astype(np.float64)
    own = figures(outcome, said)
    static = None
    if 0 < from_fraction < 1 and len(judged):
        before = run.rows.until(from_fraction)
        labels = before.column("positive").astype(np.bool_)
        if labels.any() and not labels.all():
            encoding = Encoding(config.catalogue)
            weights = train_static(encoding, before.features(), labels)
            _, _, logits = encoding.logits_and_contributions(judged.features(), weights)
            static = figures(outcome, sigmoid(logits))
    others = {n: figures(outcome, sigmoid(z[counts])) for n, z in (rivals or {}).items()}
    return Result(run, judged, own, ece_limit(said), static, others)


def logits_of_rivals(
    run: Run, config: WorkspaceConfig, from_fraction: float
) -> dict[str, NDArray[np.float64]]:
    """What the rivals say of every row of a run ``[n]``, by name."""
    rows = run.rows
    if not len(rows):
        return {}
    labelled = LabelledRows(
        rows.features(),
        rows.column("positive").astype(np.bool_),
        rows.column("row_time").astype(np.int64),
        rows.column("resolved_at").astype(np.int64),
    )
    return rival_logits(config.catalogue, labelled, rows.is_since(from_fraction))


def _matching(
    rows: ResolvedRows, config: WorkspaceConfig, where: Mapping[str, float]
) -> NDArray[np.bool_]:
    kept = np.ones(len(rows), np.bool_)
    names = config.catalogue.column_names
    for name, value in where.items():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            raise ValueError(
                f"the catalogue of {config.name} has no column {name!r}"
                + (f"; did you mean {close[0]!r}?" if close else f"; it has: {', '.join(names)}")
            )
        if len(rows):
            kept &= rows.features()[:, names.index(name)] == np.float32(value)
    return kept


def write_predictions(result: Result, path: Path) -> None:
    """Write ``lead_id, event_id, row_time, probability, outcome`` as Parquet."""
    table = result.judged.table
    columns = {n: table.column(n) for n in ("lead_id", "event_id", "row_time", "probability")}
    columns["outcome"] = table.column("positive").cast(pa.int8())
    pq.write_table(pa.table(columns), path)


def baselines(result: Result) -> dict[str, Figures]:
    """Figures of others on the judged rows, by their names in words."""
    if result.rivals:
        return {WORDS[name]: rival for name, rival in result.rivals.items()}
    return {BASELINE: result.static} if result.static else {}


def _rounded(value: float | int | None) -> float | int | None:
    return round(value, 6) if isinstance(value, float) else value
