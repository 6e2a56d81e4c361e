"""What a champion was fitted on, said alike by the learning role and by a training by hand."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version as installed

from models.champion.settings import ChampionSettings
from models.lifecycle.lineage import LabelDigest, Lineage
from models.workspaces import WorkspaceConfig
from streams.engine.hashing import keys_to_hex
from streams.learning.window import Labels


def lineage_of(
    config: WorkspaceConfig,
    target: str,
    labels: Labels,
    settings: ChampionSettings,
    metrics: Mapping[str, float],
    parent: str | None,
) -> Lineage:
    """The lineage of a champion fitted on labels, at least one.

    In the digest a label goes by the hash of its id, which the training window has, so the same
    labels have the same digest whoever trained.
    """
    digest = LabelDigest()
    digest.add(
        keys_to_hex(labels.keys), labels.row_time, labels.resolved_at, labels.positive,
        labels.features,
    )  # fmt: skip
    return Lineage(
        workspace=config.name,
        target=target,
        catalogue=config.catalogue.hash,
        labels=len(labels),
        positives=int(labels.positive.sum()),
        first_row_time=int(labels.row_time.min()),
        last_row_time=int(labels.row_time.max()),
        learned_until=int(labels.resolved_at.max()),
        digest=digest.digest(),
        code_version=installed("leadstream"),
        parameters=settings.parameters,
        metrics=dict(metrics),
        parent=parent,
    )
