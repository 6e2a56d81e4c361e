"""``leadstream bench accuracy``: scores against named rivals on public data, set by set.

Each set runs once as ``leadstream evaluate`` does it, with no broker, strictly in the order of
time; leadstream and its rivals are judged on the same rows after the median of row time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from connectors.files.mapping import load_mapping
from connectors.files.pipeline import source_batches
from models.evaluation.folds import CHAMPION, FOLDS, cross_validated
from models.evaluation.metrics import Figures, figures
from models.evaluation.rivals import WORDS
from models.workspaces import WorkspaceConfig, load_workspaces
from streams.engine.errors import ConfigurationError
from streams.evaluation.local import Run, run_local
from streams.evaluation.result import Result, judge, logits_of_rivals

WORKSPACES = Path(__file__).resolve().parents[2] / "infra" / "dev" / "workspaces"
BENCH_WORKSPACES = WORKSPACES.parent / "bench_workspaces"
TARGET = "conversion"
FROM_FRACTION = 0.5
OWN = "leadstream"
FOLD_AUC = 0.93
UNPREDICTABLE = (0.45, 0.55)


@dataclass(frozen=True, slots=True)
class DataSet:
    """One public data set.

    Attributes:
        mapping: Shipped mapping; its workspace must be configured.
        file: Below the data folder.
        after_events: Judge rows after so many events of a lead apart; empty: all rows together.
        rule: ``rivals`` (not worse than the best), ``chance`` (cannot be predicted) or ``folds``
            (no order in time: cross-validated).
    """

    mapping: str
    file: str
    after_events: tuple[int, ...] = ()
    rule: str = "rivals"


SETS = {
    "bank_marketing": DataSet("bank_marketing", "bank_marketing/bank-additional-first-half.csv.gz"),
    "bpic2012": DataSet("bpic2012", "bpic2012/events.parquet", (5, 10)),
    "olist": DataSet("olist", "olist_marketing_funnel/mql.csv"),
    "crm_sales_maven": DataSet(
        "crm_sales_maven", "crm_sales_maven/sales_pipeline.csv", rule="chance"
    ),
    "online_shoppers": DataSet(
        "online_shoppers", "online_shoppers/online_shoppers_intention.csv", rule="folds"
    ),
}


def run(
    data: Path, names: Sequence[str] = (), say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Judge sets, all of them by default.

    Returns:
        ``rows`` (one a set, model and slice), ``verdicts`` (one a set and slice) and ``ok``.

    Raises:
        ConfigurationError: an unknown set, or a file that is not there.
    """
    unknown = sorted(set(names) - set(SETS))
    if unknown:
        raise ConfigurationError(f"no set {', '.join(unknown)}; there are: {', '.join(SETS)}")
    chosen = {name: SETS[name] for name in names or SETS}
    for each in chosen.values():
        if not (data / each.file).is_file():
            raise ConfigurationError(
                f"there is no file {data / each.file}. Fix: give the folder of the data sets by "
                "--data or LEADSTREAM_DATA, or choose sets by --sets"
            )
    configs = load_workspaces(WORKSPACES) | load_workspaces(BENCH_WORKSPACES)
    rows: list[dict[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    for name, each in chosen.items():
        mapping = load_mapping(each.mapping)
        config = configs[mapping.workspace]
        batches = source_batches(mapping, [data / each.file])
        made = run_local({config.name: config}, config.name, TARGET, batches)
        say(f"{name}: {len(made.rows):,} labels of {made.events:,} events in {made.seconds:.0f} s")
        for slice_name, figures_of, verdict in _judged(name, each, made, config):
            rows += [{"set": slice_name, "model": m, **f} for m, f in figures_of.items()]
            verdicts.append({"set": slice_name, **verdict})
    better = sum(v.get("better", False) for v in verdicts)
    return {
        "bench": "accuracy",
        "sets": len(verdicts),
        "better_than_every_rival": better,
        "ok": all(v["ok"] for v in verdicts),
        "rows": rows,
        "verdicts": verdicts,
    }


def as_markdown(result: Mapping[str, Any]) -> str:
    """The tables of a result."""
    return "\n\n".join(
        ["# leadstream bench accuracy", _table(result["rows"]), _table(result["verdicts"])]
    )


_Judged = tuple[str, dict[str, dict[str, Any]], dict[str, Any]]


def _judged(name: str, each: DataSet, made: Run, config: WorkspaceConfig) -> list[_Judged]:
    if each.rule == "folds":
        return [_folds(f"{name}, {FOLDS} folds", made, config)]
    rivals = logits_of_rivals(made, config, FROM_FRACTION)
    slices: dict[str, dict[str, float]] = {
        f"{name} after {count} events": {"event_count": count} for count in each.after_events
    } or {name: {}}
    out = []
    for slice_name, where in slices.items():
        judged = judge(made, config, FROM_FRACTION, where, rivals)
        shown = {OWN: _shown(judged.figures)}
        shown |= {WORDS[n]: _shown(f) for n, f in judged.rivals.items()}
        verdict = _at_chance(judged) if each.rule == "chance" else _against_rivals(judged)
        out.append((slice_name, shown, verdict))
    return out


def _against_rivals(judged: Result) -> dict[str, Any]:
    own, limit = judged.figures, judged.ece_limit
    aucs = {WORDS[n]: f.auc or 0.0 for n, f in judged.rivals.items()}
    best = max(aucs, key=lambda n: aucs[n])
    margin = (own.auc or 0.0) - aucs[best]
    calibrated = own.ece is not None and limit is not None and own.ece <= limit
    return {
        "best_rival": best,
        "auc_margin": round(margin, 4),
        "better": margin > 0,
        "ece_limit": None if limit is None else round(limit, 4),
        "calibrated": calibrated,
        "ok": margin >= 0 and calibrated,
    }


def _at_chance(judged: Result) -> dict[str, Any]:
    low, high = UNPREDICTABLE
    auc = judged.figures.auc
    return {"rule": f"AUC {low} to {high}", "ok": auc is not None and low <= auc <= high}


def _folds(name: str, made: Run, config: WorkspaceConfig) -> _Judged:
    """The champion alone is judged: the online models are there for what changes with time."""
    rows = made.rows
    outcome = rows.column("positive").astype(np.bool_)
    said = cross_validated(config, rows.features(), outcome)
    found = {m: figures(outcome, p) for m, p in said.items()}
    auc = found[CHAMPION].auc
    verdict = {
        "rule": f"AUC of the champion {FOLD_AUC} or more",
        "ok": auc is not None and auc >= FOLD_AUC,
    }
    return name, {f"{OWN} {m}": _shown(f) for m, f in found.items()}, verdict


def _shown(found: Figures) -> dict[str, Any]:
    names = ("labels", "positives", "auc", "average_precision", "log_loss", "ece")
    values = {n: getattr(found, n) for n in names}
    return {n: round(v, 4) if isinstance(v, float) else v for n, v in values.items()}


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(c for row in rows for c in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = ("" if row.get(c) is None else str(row[c]) for c in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
