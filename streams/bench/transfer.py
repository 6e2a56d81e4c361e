"""``leadstream bench transfer``: labels a new workspace needs, with and without a pooled start.

Each of the larger regions of online_shoppers takes its turn as a new workspace; the others are the
workspaces that were there before. The new one's labels come 100 rows late, as in an evaluation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.files.mapping import load_mapping
from connectors.files.pipeline import source_batches
from models.evaluation.metrics import auc
from models.features.encoding import Encoding
from models.online.prior import Prior, pooled
from models.online.registry import make_online_model
from models.workspaces import WorkspaceConfig, load_workspaces
from streams.bench.accuracy import WORKSPACES
from streams.engine.errors import ConfigurationError
from streams.evaluation.local import run_local

FILE = "online_shoppers/online_shoppers_intention.csv"
SEGMENT, TARGET = "region", "conversion"
LEAST = 600
"""Labels that a region must have to be a workspace."""
DELAY = 100
STEPS = (0, 25, 50, 100, 200, 300, 400, 600)
ENOUGH = 0.95

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
B1 = NDArray[np.bool_]


def run(data: Path) -> dict[str, Any]:
    """AUC by labels learned so far, with and without a pooled start, over all new workspaces.

    Raises:
        ConfigurationError: the data set is not there.
    """
    if not (data / FILE).is_file():
        raise ConfigurationError(f"there is no file {data / FILE}. Fix: give --data")
    config = load_workspaces(WORKSPACES)["shop"]
    mapping = load_mapping("online_shoppers")
    rows = run_local(
        {config.name: config}, config.name, TARGET, source_batches(mapping, [data / FILE])
    ).rows
    features, outcomes = rows.features(), rows.column("positive").astype(np.bool_)
    region = features[:, config.catalogue.column_names.index(SEGMENT)].astype(int)
    parts = {int(r): np.flatnonzero(region == r) for r in np.unique(region)}
    parts = {r: at for r, at in parts.items() if len(at) >= LEAST}
    alone = {r: _learned(config, features[at], outcomes[at]) for r, at in parts.items()}
    said: dict[str, list[F8]] = {"from nothing": [], "from the pooled model": []}
    came: list[B1] = []
    for r, at in parts.items():
        prior = pooled([(str(o), w, len(parts[o])) for o, w in alone.items() if o != r])
        for name, start in (("from nothing", None), ("from the pooled model", prior)):
            said[name].append(_prequential(config, features[at], outcomes[at], start))
        came.append(outcomes[at])
    result: dict[str, Any] = {"bench": "transfer", "workspaces": len(parts), "after_labels": STEPS}
    curves = {n: [_auc_between(said[n], came, *span) for span in _spans()] for n in said}
    final = curves["from nothing"][-1]
    for name, curve in curves.items():
        result[name.replace(" ", "_")] = {
            "auc": [round(a, 4) for a in curve],
            "labels_to_95_percent": _enough(curve, final),
        }
    return result


def _learned(config: WorkspaceConfig, rows: F4, outcomes: B1) -> dict[str, float]:
    encoding = Encoding(config.catalogue)
    model = make_online_model(config.workspace.online, encoding)
    model.learn(rows, outcomes)
    return dict(zip(encoding.input_names, model.weights().tolist(), strict=True))


def _prequential(config: WorkspaceConfig, rows: F4, outcomes: B1, prior: Prior | None) -> F8:
    """Logits [n], each before its label and the labels of the 100 rows before were known."""
    model = make_online_model(config.workspace.online, Encoding(config.catalogue), prior)
    said = np.empty(len(rows))
    for row in range(len(rows)):
        if row >= DELAY:
            due = slice(row - DELAY, row - DELAY + 1)
            model.learn(rows[due], outcomes[due])
        said[row] = model.predict_logit(rows[row : row + 1])[0]
    return said


def _spans() -> list[tuple[int, int]]:
    """Rows scored after so many labels."""
    ends = [*STEPS[1:], 10**9]
    return [(DELAY + a if a else 0, DELAY + b) for a, b in zip(STEPS, ends, strict=True)]


def _auc_between(logits: list[F8], came: list[B1], start: int, stop: int) -> float:
    found = auc(
        np.concatenate([c[start:stop] for c in came]),
        np.concatenate([said[start:stop] for said in logits]),
    )
    return found or 0.5


def _enough(curve: list[float], final: float) -> int:
    """Labels after which the AUC is 95 % of the final one."""
    return next(n for n, a in zip(STEPS, curve, strict=True) if a >= ENOUGH * final)
