"""The champion slot of a target: train a first champion from labels, publish it, empty the slot.

A champion is published in one transaction to ``models.current`` (scorers take it at their next
batch), ``models.history`` (replay) and ``models.lifecycle`` (who did what and why).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from models.champion.artifact import artifact_sha256
from models.champion.graph import build_linear_champion
from models.champion.runtime import ChampionModel
from models.champion.train_static import train_static
from models.evaluation.metrics import Figures, figures
from models.features.encoding import Encoding
from models.workspaces import WorkspaceConfig
from streams.app import new_codec
from streams.arrow_schemas import arrow_schema
from streams.engine.errors import ConfigurationError
from streams.engine.packed import Packed
from streams.engine.producer import TransactionalProducer
from streams.evaluation.collect import LabelCollector
from streams.evaluation.read import TopicReader
from streams.scoring.model_store import CHAMPION
from streams.settings import Settings

MIN_LABELS = 100
_HELD_OUT = 0.8


@dataclass(frozen=True, slots=True)
class Trained:
    """A champion that may be published, with figures on the newest fifth of the labels."""

    artifact: bytes
    labels: int
    held_out: Figures


def train(settings: Settings, config: WorkspaceConfig, target: str) -> Trained:
    """Fit a logistic regression on all labels of ``lead.labels`` in the order of time.

    Figures come from a fit on the first four fifths; what is published is fitted on all.

    Raises:
        ConfigurationError: there are too few labels.
    """
    collector = LabelCollector(config.name, target)
    with TopicReader(settings, "lead.labels", to_end=True) as reader:
        while batches := reader.read(5.0):
            for batch in batches:
                collector.add(batch)
    rows = collector.rows()
    if len(rows) < MIN_LABELS:
        raise ConfigurationError(
            f"{config.name}/{target} has {len(rows)} labels; a champion needs {MIN_LABELS}"
        )
    encoding = Encoding(config.catalogue)
    before, after = rows.until(_HELD_OUT), rows.since(_HELD_OUT)
    weights = train_static(encoding, before.features(), before.column("positive").astype(np.bool_))
    champion = ChampionModel(*_built(encoding, weights), config.catalogue)
    probability = 1.0 / (1.0 + np.exp(-champion.predict_logit(after.features())))
    judged = figures(after.column("positive").astype(np.bool_), probability)
    whole = train_static(encoding, rows.features(), rows.column("positive").astype(np.bool_))
    return Trained(_built(encoding, whole)[0], len(rows), judged)


def _built(encoding: Encoding, weights: np.ndarray[Any, Any]) -> tuple[bytes, str]:
    artifact = build_linear_champion(encoding, weights)
    return artifact, artifact_sha256(artifact)


def publish(
    settings: Settings,
    config: WorkspaceConfig,
    target: str,
    artifact: bytes | None,
    *,
    reason: str,
    actor: str,
    figures_: dict[str, float] | None = None,
) -> str:
    """Fill the slot with an ONNX graph, or empty it with ``None``; returns the version.

    Raises:
        ArtifactError: the graph is no champion of this workspace's catalogue.
    """
    now_us = time.time_ns() // 1000
    version = ""
    if artifact is not None:
        version = ChampionModel(artifact, artifact_sha256(artifact), config.catalogue).version
    key = f"{config.name}/{target}/{CHAMPION}".encode()
    weights = {
        "workspace": config.name,
        "target": target,
        "slot": CHAMPION,
        "version": now_us,
        "epoch": 0,
        "labels_learned": 0,
        "learned_until": None,
        "catalogue_version": config.catalogue.catalogue_version,
        "weights": [],
        "calibration_a": 1.0,
        "calibration_b": 0.0,
        "base_rate": 0.0,
        "quantiles": [],
        "artifact": artifact,
        "artifact_sha256": artifact_sha256(artifact) if artifact is not None else None,
        "artifact_version": version or None,
        "published_at": now_us,
    }
    event = {
        "workspace": config.name,
        "target": target,
        "slot": CHAMPION,
        "action": "promoted" if artifact is not None else "rolled_back",
        "version": version,
        "reason": reason,
        "actor": actor,
        "figures": list((figures_ or {}).items()),
        "occurred_at": now_us,
    }
    make = new_codec(settings)
    producer = TransactionalProducer(
        f"{settings.topic_prefix}champion-{config.name}-{target}", settings.producer_config()
    )
    try:
        producer.open(lambda: False)
        producer.begin()
        for topic, row, schema in (
            ("models.current", weights, "model_weights"),
            ("models.history", weights, "model_weights"),
            ("models.lifecycle", event, "model_lifecycle"),
        ):
            batch = pa.RecordBatch.from_pylist([row], schema=arrow_schema(schema))
            producer.send(settings.topic_prefix + topic, Packed.of([key]), make(topic).pack(batch))
        producer.commit(lambda: False)
    finally:
        producer.close()
    return version
