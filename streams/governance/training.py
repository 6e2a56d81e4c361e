"""A champion trained by hand from all labels that hold, judged on the newest fifth of them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from models.calibration.affine import sigmoid
from models.champion.artifact import artifact_sha256, artifact_version
from models.champion.boosted import MIN_LABELS, train_boosted
from models.champion.parity import export_champion
from models.champion.runtime import ChampionModel
from models.champion.settings import ChampionSettings
from models.evaluation.metrics import Figures, figures
from models.evaluation.segments import segment_codes
from models.lifecycle.gate import GateResult, decide, latency_refusal, split_in_time
from models.lifecycle.lineage import Lineage
from models.workspaces import WorkspaceConfig
from streams.engine.errors import ConfigurationError
from streams.learning.lineage import lineage_of
from streams.learning.window import Labels


@dataclass(frozen=True, slots=True)
class Trained:
    """A champion with its proof.

    Attributes:
        artifact: ONNX graph; parity with the model is proven.
        version: Of the artifact.
        lineage: What it was fitted on.
        gate: The decision on the newest fifth, by a champion fitted on the rest, mixed with what
            was published for each row then; None where too few labels would be left.
        alone: Figures of that champion by itself on the same labels.
        published: Figures of what was published for them.
    """

    artifact: bytes
    version: str
    lineage: Lineage
    gate: GateResult | None
    alone: Figures | None
    published: Figures | None


def train(
    config: WorkspaceConfig,
    target: str,
    labels: Labels,
    parent: str | None = None,
) -> Trained:
    """Fit the newest labels of the training window, in the order in which they were resolved.

    Args:
        labels: All that hold, oldest first.
        parent: The champion in use.

    Raises:
        ConfigurationError: too few labels, only one outcome, or it takes longer a row than
            `lifecycle.gate.latency_us` allows.
        ArtifactError: the graph does not say what the model says.
    """
    settings = config.workspace.champion or ChampionSettings()
    newest = slice(max(0, len(labels) - settings.window), None)
    labels = labels.part(newest)
    positives = int(labels.positive.sum())
    needed = max(MIN_LABELS, settings.min_labels)
    if len(labels) < needed or not 0 < positives < len(labels):
        raise ConfigurationError(
            f"{config.name}/{target} has {len(labels)} labels, {positives} of them positive; a "
            f"champion needs {needed} and both outcomes. Fix: wait for more labels"
        )
    gate, alone, published = _held_out(config, labels, settings)
    model = train_boosted(config.catalogue, labels.features, labels.positive, settings)
    artifact = export_champion(model, config.catalogue, labels.features)
    slow = latency_refusal(config.workspace.lifecycle.gate, _us_a_row(config, artifact, labels))
    if slow is not None:
        raise ConfigurationError(f"{config.name}/{target}: {slow}")
    metrics = gate.figures if gate is not None else {}
    lineage = lineage_of(config, target, labels, settings, metrics, parent)
    return Trained(artifact, artifact_version(artifact), lineage, gate, alone, published)


def _us_a_row(config: WorkspaceConfig, artifact: bytes, labels: Labels) -> float:
    """CPU time of the graph on the labels' rows, after a first run; µs a row."""
    model = ChampionModel(artifact, artifact_sha256(artifact), config.catalogue)
    model.predict_logit(labels.features)
    started = time.process_time()
    model.predict_logit(labels.features)
    return (time.process_time() - started) / len(labels) * 1e6


def _held_out(
    config: WorkspaceConfig, labels: Labels, settings: ChampionSettings
) -> tuple[GateResult | None, Figures | None, Figures | None]:
    older, newest = split_in_time(labels.row_time, labels.resolved_at)
    outcomes, judged = labels.positive[older], labels.positive[newest]
    if len(outcomes) < MIN_LABELS or not 0 < outcomes.sum() < len(outcomes):
        return None, None, None
    model = train_boosted(config.catalogue, labels.features[older], outcomes, settings)
    said, published = model.predict_logit(labels.features[newest]), labels.logit[newest]
    codes = None
    if config.workspace.segment is not None:
        rows = labels.features[newest]
        codes = segment_codes(config.catalogue, config.workspace.segment, rows).astype(np.int64)
    gate = decide(
        config.workspace.lifecycle.gate,
        (1.0 - settings.share) * published + settings.share * said,
        published,
        judged,
        labels.row_time[newest],
        codes,
        config.segment_names,
    )
    return gate, figures(judged, sigmoid(said)), figures(judged, sigmoid(published))
