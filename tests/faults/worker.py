"""Runs the test job as a worker: ``python tests/faults/worker.py '{"kafka_bootstrap": …}'``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from schemas.errors import RegistryUnavailable, UnknownSchemaId
from streams.engine.broker import KafkaBroker
from streams.engine.codec import Codec
from streams.engine.opening import TaskWiring
from streams.engine.worker import EngineWorker
from streams.logs import configure
from streams.metrics import EngineMetrics
from streams.settings import Settings, load
from tests.faults.chain import EVENT, EVENT_ID, RESULT, RESULT_ID, Chain


def wiring(settings: Settings, partitions: int, registry: Path | None = None) -> TaskWiring:
    """The test job with all its parts; ``registry`` is a file that is there while it answers."""

    def unknown(schema_id: int) -> str:
        if registry is not None and not registry.exists():
            raise RegistryUnavailable("the registry does not answer")
        if registry is not None and schema_id == EVENT_ID + 100:
            return registry.read_text()
        raise UnknownSchemaId(schema_id, f"schema id {schema_id} is not known")

    codecs = {
        "in": lambda: Codec(EVENT, EVENT_ID, unknown),
        "out": lambda: Codec(RESULT, RESULT_ID),
    }
    return TaskWiring(
        settings=settings,
        processor=Chain(),
        broker=KafkaBroker(settings.kafka_bootstrap),
        metrics=EngineMetrics(),
        partitions={"in": partitions, "out": partitions},
        new_codec=lambda topic: codecs[topic](),
        group=f"{settings.topic_prefix}chain",
        changelog_topic=f"{settings.topic_prefix}chain-changelog",
    )


def main() -> None:
    """Run until SIGTERM."""
    options = json.loads(sys.argv[1])
    partitions, registry = options.pop("partitions"), options.pop("registry", None)
    configure("info")
    settings = load(**options)
    sys.exit(EngineWorker(wiring(settings, partitions, registry and Path(registry))).run())


if __name__ == "__main__":
    main()
