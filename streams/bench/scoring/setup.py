"""Topics of one run, and the weights that its scores come from."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Producer

from models.features.encoding import Encoding
from models.workspaces import WorkspaceConfig
from schemas.registry import header, schema_id, schema_json
from streams import topics
from streams.bench.scoring.traffic import WORKSPACE
from streams.bench.topics import create, delete
from streams.settings import Settings
from streams.topic_admin import TopicAdmin

_MEASURED = ("crm.events", "lead.timeline", "leads.scored")


@contextmanager
def run_topics(settings: Settings, partitions: int, config: WorkspaceConfig) -> Iterator[Settings]:
    """Settings with a prefix of their own; its topics exist, with weights, until the end.

    Measured topics carry the time of the append: latency is counted from it.
    """
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    own = settings.model_copy(update={"topic_prefix": prefix})
    for name in _MEASURED:
        kept = topics.config(topics.all_topics(partitions)[name])
        create(
            own.kafka_bootstrap,
            {prefix + name: partitions},
            {**kept, "message.timestamp.type": "LogAppendTime"},
        )
    TopicAdmin(own.kafka_bootstrap, prefix=prefix, partitions=partitions).create()
    publish_weights(own, config)
    try:
        yield own
    finally:
        delete(own.kafka_bootstrap, prefix)


def publish_weights(settings: Settings, config: WorkspaceConfig) -> None:
    """Put made-up weights on ``models.current``, so that every input contributes."""
    rng = np.random.default_rng(11)
    schema = fastavro.parse_schema(json.loads(schema_json("model_weights")))
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for target in config.targets:
        row: dict[str, Any] = {
            "workspace": config.name,
            "target": target.name,
            "slot": "online",
            "version": 1,
            "epoch": 0,
            "labels_learned": 10_000,
            "catalogue_version": config.catalogue.catalogue_version,
            "weights": rng.normal(0, 0.3, Encoding(config.catalogue).size).tolist(),
            "calibration_a": 1.0,
            "calibration_b": -1.5,
            "base_rate": 0.08,
            "quantiles": np.linspace(-5, 3, 101).tolist(),
            "published_at": 0,
        }
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, row)
        value = header(schema_id("model_weights")) + out.getvalue()
        key = f"{WORKSPACE}/{target.name}/online"
        producer.produce(f"{settings.topic_prefix}models.current", value, key)
    if producer.flush(30):
        raise RuntimeError("the weights were not delivered")
