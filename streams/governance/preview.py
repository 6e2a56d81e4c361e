"""What a promotion would change for those who act on scores: every lead scored by both mixtures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.champion.artifact import artifact_sha256
from models.champion.runtime import ChampionModel
from models.lifecycle.preview import Preview, Scores, preview
from models.workspaces import WorkspaceConfig
from streams.engine.errors import ConfigurationError
from streams.governance.log import model_in_use
from streams.governance.state import Leads, leads_of
from streams.learning.learner import Learner
from streams.scoring.model import Model
from streams.scoring.scorer import Scores as RowScores
from streams.scoring.scorer import score
from streams.settings import Settings


def promotion_preview(
    settings: Settings, config: WorkspaceConfig, target: str, version: str, learner: Learner
) -> Preview:
    """Score all leads, aged to now, with the mixture in use and with the proposed champion.

    Args:
        version: A version that the learner keeps.
        learner: Its state.

    Raises:
        ConfigurationError: the learner does not keep that version.
    """
    leads = leads_of(settings, config)
    current = model_in_use(settings, config, target)
    return compare(config, target, leads, current, proposed(config, learner, current, version))


def proposed(config: WorkspaceConfig, learner: Learner, current: Model, version: str) -> Model:
    """The mixture that would score if a version were the champion: nothing else changes."""
    artifact = learner.champion.artifact(version)
    if artifact is None:
        known = ", ".join(learner.champion.slot.kept_versions) or "none"
        raise ConfigurationError(
            f"{config.name}/{learner.target} keeps no version {version}. Fix: name one of {known}"
        )
    champion = ChampionModel(artifact, artifact_sha256(artifact), config.catalogue)
    weights = replace(
        current.weights,
        champion=version,
        challenger=None,
        canary_share=0.0,
        shares=tuple(learner.shares_with(version)),
    )
    return Model.of(config.workspace.online, current.mixture.encoding, weights, champion)


def compare(
    config: WorkspaceConfig, target: str, leads: Leads, current: Model, then: Model
) -> Preview:
    """The preview for n leads."""
    before, after = (_scores(config, target, leads, model) for model in (current, then))
    return preview(before, after, target, config.workspace.subscribers)


def _scores(config: WorkspaceConfig, target: str, leads: Leads, model: Model) -> Scores:
    groups = model.groups(leads.keys)
    out = RowScores.empty(len(leads.keys), [each for _, each in groups], 0)
    for rows, each in groups:
        at = np.arange(len(leads.keys))[rows]
        score(each.fill_rates(leads.rows[at]), each, config.target(target), out, at, None)
    return Scores(out.probability, out.score, out.grade)
