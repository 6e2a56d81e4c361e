"""Audits a workspace's features on files: runs the evaluation, then looks for leaks in its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from models.features.audit import Candidate, Finding, RowAudit
from models.features.catalogue import FeatureCatalogue
from models.features.collisions import Collisions, collisions
from models.features.rollups import rollups_of
from models.features.time_travel import DAY_US, Field, Histories
from models.workspaces import WorkspaceConfig
from streams.engine.errors import ConfigurationError
from streams.evaluation.fields import Events, FieldCollector, count_texts
from streams.evaluation.local import Run, run_local
from streams.evaluation.source import Batches

FILE_COLUMN = "file:"


@dataclass(frozen=True, slots=True)
class FeatureAudit:
    """What an audit found.

    Attributes:
        findings: Against columns of the catalogue.
        kept_out: Against fields that events carry or files hold and the catalogue does not read:
            nothing is wrong as long as that stays so.
        collisions: Of each categorical attribute.
    """

    run: Run
    columns: int
    findings: list[Finding]
    kept_out: list[Finding]
    collisions: list[Collisions]

    def as_json(self) -> dict[str, Any]:
        """Public names."""
        return {
            "columns": self.columns,
            "labels": len(self.run.rows),
            "positives": int(self.run.rows.column("positive").astype(np.int64).sum()),
            "findings": [asdict(finding) for finding in self.findings],
            "kept_out": [asdict(finding) for finding in self.kept_out],
            "collisions": [asdict(found) for found in self.collisions],
        }


def audit_features(
    config: WorkspaceConfig,
    target: str,
    batches: Batches,
    *,
    progress: Callable[[int], None] = lambda events: None,
) -> FeatureAudit:
    """Audit a workspace's catalogue on the labelled rows that source events give.

    Args:
        batches: ``(topic, source events)`` in the order of event time. Texts whose names begin
            with ``FILE_COLUMN`` are columns of files that the mapping leaves out.

    Raises:
        ConfigurationError: there are no labels.
    """
    events = FieldCollector(config.name)
    run = run_local(
        {config.name: config}, config.name, target, batches,
        progress=progress, on_timeline=events.add,
    )  # fmt: skip
    if not len(run.rows):
        raise ConfigurationError(
            f"no row of {config.name}/{target} has an outcome, so there is nothing to audit by. "
            "Fix: read files with outcomes, or check the target's event kinds and horizon"
        )
    return audit_run(run, events.events(), config, target)


def audit_run(run: Run, events: Events, config: WorkspaceConfig, target: str) -> FeatureAudit:
    """Audit what a run resolved and the events it saw."""
    catalogue = config.catalogue
    names = {str(a.source): a.name for a in catalogue.attributes}
    at = events.numbers_of(run.rows.table.column("event_id").combine_chunks())
    histories = events.histories(config.target(target))
    counted = {
        f"numbers.{name}" for name in rollups_of(catalogue)
    }  # told by identity, not a source
    fields = [field for field in events.fields() if field.name not in counted]
    whole = _columns(catalogue, run.rows.features())
    told = {f.name: _candidate(f, histories, at) for f in fields}
    audit = RowAudit(
        run.rows.column("positive").astype(np.bool_), events.lead[at], len(whole) + len(told)
    )
    findings, kept_out = audit.findings(whole, whole), list[Finding]()
    for field in fields:
        found = list(histories.findings(field))
        others = [c for c in whole if c.name != names.get(field.name)]
        found += audit.findings([told[field.name]], others)
        shown = names.get(field.name) or field.name.removeprefix(f"texts.{FILE_COLUMN}")
        mine = [replace(finding, column=shown) for finding in found]
        (findings if field.name in names else kept_out).extend(mine)
    return FeatureAudit(
        run, len(whole), _once(findings), _once(kept_out), _collided(catalogue, events.texts())
    )


def count_collisions(catalogue: FeatureCatalogue, batches: Batches) -> list[Collisions]:
    """Collisions of each categorical attribute among the texts of source events."""
    counts: dict[str, Counter[str]] = {}
    for _, values in batches:
        if "texts" in values.schema.names:
            for name, counted in count_texts(values.column("texts")).items():
                counts.setdefault(name, Counter()).update(counted)
    return _collided(catalogue, counts)


def _collided(catalogue: FeatureCatalogue, counts: Mapping[str, Counter[str]]) -> list[Collisions]:
    return [
        collisions(a, counts.get(str(a.source).removeprefix("texts."), {}))
        for a in catalogue.attributes
        if a.type == "categorical"
    ]


def _rollups(catalogue: FeatureCatalogue) -> set[str]:
    """Fields that no source told: identity counted them, as of before each event."""
    return {f"numbers.{name}" for name in rollups_of(catalogue)}


def _columns(catalogue: FeatureCatalogue, rows: np.ndarray[Any, Any]) -> list[Candidate]:
    rollups = _rollups(catalogue)
    told = {a.name for a in catalogue.attributes if a.source not in rollups}
    found = []
    for place, column in enumerate(catalogue.columns):
        buckets = range(column.categories - len(column.values))
        words = [*column.values, *(f"bucket {b}" for b in buckets)]
        found.append(
            Candidate(
                column.name, rows[:, place].astype(np.float64), column.categories > 0,
                column.name in told, words,
            )
        )  # fmt: skip
    return found


def _candidate(field: Field, histories: Histories, at: np.ndarray[Any, Any]) -> Candidate:
    """A field as of labelled rows; a time as days after the row."""
    place = histories.as_of(field, at)
    known = place >= 0
    values = np.full(len(at), np.nan)
    values[known] = field.values[place[known]]
    if field.moments is not None:
        ahead = field.moments[place[known]] - histories.occurred_at[at[known]]
        values[known] = ahead / DAY_US
    return Candidate(field.name, values, bool(field.words), True, field.words)


def _once(findings: list[Finding]) -> list[Finding]:
    """One finding a column and test, leaks first."""
    first: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        first.setdefault((finding.column, finding.test), finding)
    return sorted(first.values(), key=lambda f: (f.severity, f.column))
