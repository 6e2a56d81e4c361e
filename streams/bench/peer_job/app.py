"""Runs the peer job as a worker; configured by the environment that the peers share.

``KAFKA_BOOTSTRAP``, ``PEER_INPUT``, ``PEER_OUTPUT``, ``PEER_APP_ID``, ``PEER_MODEL`` (a file;
without it the model is made here).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from streams.bench.peer_job import model, schemas
from streams.bench.peer_job.processor import PeerJob
from streams.bench.topics import create_changelog
from streams.engine.broker import KafkaBroker
from streams.engine.codec import Codec
from streams.engine.opening import TaskWiring
from streams.engine.worker import EngineWorker
from streams.logs import configure
from streams.metrics import EngineMetrics
from streams.settings import load


def build() -> EngineWorker:
    """Compose the worker."""
    env = os.environ
    bootstrap, group = env["KAFKA_BOOTSTRAP"], env["PEER_APP_ID"]
    source, sink = env["PEER_INPUT"], env["PEER_OUTPUT"]
    settings = load(kafka_bootstrap=bootstrap, compression="none", topic_prefix="")
    path = env.get("PEER_MODEL")
    processor = PeerJob(Path(path).read_bytes() if path else model.graph(), source, sink)
    changelog = f"{group}-changelog"
    create_changelog(bootstrap, changelog, schemas.PARTITIONS)
    wiring = TaskWiring(
        settings=settings,
        processor=processor,
        broker=KafkaBroker(bootstrap),
        metrics=EngineMetrics(),
        partitions={source: schemas.PARTITIONS, sink: schemas.PARTITIONS},
        new_codec=lambda topic: Codec(
            schemas.EVENT_SCHEMA if topic == source else schemas.SCORE_SCHEMA, schemas.SCHEMA_ID
        ),
        group=group,
        changelog_topic=changelog,
    )
    return EngineWorker(wiring)


def main() -> None:
    """Run until SIGTERM."""
    configure(os.environ.get("LEADSTREAM_LOG_LEVEL", "warning"))
    sys.exit(build().run())


if __name__ == "__main__":
    main()
