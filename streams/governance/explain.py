"""The newest score of one lead in words: why, why it moved, how sure, what would raise it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.explain.hints import hints
from models.explain.messages import messages
from models.explain.words import delta_in_words, term_in_words
from models.online.interface import Terms
from models.workspaces import WorkspaceConfig
from streams.engine.errors import ConfigurationError
from streams.evaluation.read import TopicReader
from streams.governance.log import model_in_use
from streams.governance.state import Leads, leads_of
from streams.scoring.model import Model
from streams.settings import Settings

_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Reason:
    """One term of the score: its name, what it adds (log-odds), and in words what is behind it."""

    feature: str
    contribution: float
    words: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One score in words.

    Attributes:
        score: the ``ScoredLead`` record, times as µs.
        reasons: strongest first; bias + reasons + other is the logit.
        moved: why it moved since the lead's last score, a line each; none at the first.
        hints: what would raise it, best first, as of now.
    """

    score: dict[str, Any]
    reasons: tuple[Reason, ...]
    moved: tuple[str, ...]
    hints: tuple[str, ...]


def newest_scores(
    settings: Settings, lead: str, workspace: str | None, target: str | None
) -> list[dict[str, Any]]:
    """Newest scores of the one lead whose id begins so, a record for each target.

    Raises:
        ConfigurationError: no lead begins so, or several do.
    """
    if len(lead) < _SHORTEST:
        raise ConfigurationError(
            f"{lead!r} is too short: give {_SHORTEST} or more digits of a lead's id"
        )
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    with TopicReader(settings, "leads.latest", to_end=True) as reader:
        while batches := reader.read(5.0):
            for batch in batches:
                for row in _of_lead(batch, lead.lower(), workspace, target):
                    found[row["workspace"], row["lead_id"], row["target"]] = row
    leads = sorted({(workspace, lead_id) for workspace, lead_id, _ in found})
    where = "".join(f" of {name}" for name in (workspace, target) if name)
    if not leads:
        raise ConfigurationError(
            f"no lead{where} begins with {lead!r}. Fix: see `leadstream read leads.latest`"
        )
    if len(leads) > 1:
        some = ", ".join("/".join(each) for each in leads[:5])
        raise ConfigurationError(
            f"{len(leads)} leads{where} begin with {lead!r}: {some}. Fix: give more digits, or "
            "--workspace"
        )
    return [found[key] for key in sorted(found)]


def _of_lead(
    batch: pa.RecordBatch, lead: str, workspace: str | None, target: str | None
) -> list[dict[str, Any]]:
    mine = pc.starts_with(batch.column("lead_id"), lead)
    for name, wanted in (("workspace", workspace), ("target", target)):
        if wanted is not None:
            mine = pc.and_(mine, pc.equal(batch.column(name), wanted))
    rows = batch.filter(mine)
    times = [f.name for f in rows.schema if pa.types.is_timestamp(f.type)]
    plain = pa.table(
        {
            n: rows.column(n).cast(pa.int64()) if n in times else rows.column(n)
            for n in rows.schema.names
        }
    )
    return plain.to_pylist()  # type: ignore[no-any-return]


def explain(
    settings: Settings,
    config: WorkspaceConfig,
    score: dict[str, Any],
    *,
    language: str = "en",
    most_hints: int = 2,
) -> Explanation:
    """Put a score into words, with the lead's feature row from scoring's state.

    Raises:
        ConfigurationError: there is no such language.
    """
    try:
        messages(language)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    leads = leads_of(settings, config)
    model = model_in_use(settings, config, score["target"])
    return in_words(config, score, leads, model, language, most_hints)


def in_words(
    config: WorkspaceConfig,
    score: dict[str, Any],
    leads: Leads,
    model: Model,
    language: str,
    most_hints: int,
) -> Explanation:
    """Reasons and deltas as they were published; hints by the models of now."""
    catalogue, at = config.catalogue, leads.find(score["lead_id"])
    row = np.full(len(catalogue.columns), np.nan, np.float32)
    if at is not None:
        row = model.fill_rates(leads.last_rows[at : at + 1])[0]
    for each in score["contributions"]:  # the published value, should the row be a later one
        if each["feature"] in catalogue.column_names and each["value"] is not None:
            row[catalogue.column_names.index(each["feature"])] = each["value"]
    reasons = tuple(
        Reason(
            each["feature"],
            each["contribution"],
            term_in_words(catalogue, row, each["feature"], language),
        )
        for each in score["contributions"]
    )
    moved: list[str] = []
    if score["previous_logit"] is not None:
        event, time, model_ = (
            float(score[f"delta_{name}"] or 0.0) for name in ("event", "time", "model")
        )
        moved = delta_in_words(score["previous_logit"], event, time, model_, language)
    suggested: tuple[str, ...] = ()
    if at is not None:
        found = hints(catalogue, leads.rows[at : at + 1], _scorer(model), most_hints, language)
        suggested = tuple(hint.words for hint in found[0])
    return Explanation(score, reasons, tuple(moved), suggested)


def _scorer(model: Model) -> Any:
    def terms(rows: NDArray[np.float32]) -> Terms:
        logits = model.mixture.logits(model.fill_rates(rows))  # a hint may change a category
        return Terms((), logits, np.empty((len(rows), 0)), logits)

    return terms
