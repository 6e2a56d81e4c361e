"""The peer job disturbed: is every event scored exactly once, by an independent reference?"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.dev.kafka import DevKafka
from streams.bench.faults.disturb import ENVIRONMENT, Disturbed, counts, faults
from streams.bench.faults.sending import FaultProof
from streams.bench.faults.workers import Workers
from streams.bench.peer_job import schemas
from streams.bench.peer_job.generate import events as make_events
from streams.bench.peer_job.verify import verify
from streams.bench.topics import create
from streams.engine.broker import KafkaBroker
from streams.engine.codec import Codec

_WORKERS = ("worker-0", "worker-1")
_SOURCE, _SINK, _GROUP = "faults.events", "faults.scores", "faults"


def run(
    broker: DevKafka, folder: Path, kills: int, events: int, seed: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Let two workers of the peer job suffer and compare every record with the reference."""
    rng = random.Random(seed)
    job = _PeerJob(broker.bootstrap, events, seed)
    command = [sys.executable, "-m", "streams.bench.peer_job.app"]
    environment = {
        "KAFKA_BOOTSTRAP": broker.bootstrap,
        "PEER_INPUT": _SOURCE,
        "PEER_OUTPUT": _SINK,
        "PEER_APP_ID": _GROUP,
        **ENVIRONMENT,
    }
    workers = Workers(dict.fromkeys(_WORKERS, command), environment, folder, rng)
    wrong = faults(kills, rng)
    try:
        Disturbed(broker, workers, job, rng).go(wrong, say)
    finally:
        workers.end()
    say("comparing every record with the reference")
    verdict = verify(broker.bootstrap, _SOURCE, _SINK)
    return {
        "job": "peer-job",
        "partitions": schemas.PARTITIONS,
        **counts(wrong),
        "events": verdict.messages,
        "distinct": verdict.distinct,
        "outputs": verdict.outputs,
        "missing": verdict.missing,
        "duplicate": verdict.duplicate,
        "unknown": verdict.unknown,
        "wrong": verdict.wrong,
        "restarts": workers.started - len(_WORKERS),
        "failures": workers.failed,
        "ok": verdict.ok and not workers.failed,
    }


class _PeerJob:
    def __init__(self, bootstrap: str, events: int, seed: int) -> None:
        topics = {_SOURCE: schemas.PARTITIONS, _SINK: schemas.PARTITIONS}
        create(bootstrap, topics, {"message.timestamp.type": "LogAppendTime"})
        self._batch, _ = make_events(events, seed)
        self._codec = Codec(schemas.EVENT_SCHEMA, schemas.SCHEMA_ID)
        self._kafka, self._out = KafkaBroker(bootstrap), FaultProof(bootstrap)

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def append(self, start: int, stop: int) -> None:
        part = self._batch.slice(start, stop - start)
        keys = part.column("lead_id").to_pylist()
        for key, value in zip(keys, self._codec.encode(part), strict=True):
            self._out.send(_SOURCE, key, value)
        self._out.flush()

    def written(self) -> int:
        return sum(
            self._kafka.end_offset(_SINK, p, committed=False) for p in range(schemas.PARTITIONS)
        )

    def processed(self) -> bool:
        behind = 0
        for partition in range(schemas.PARTITIONS):
            done = self._kafka.group_offset(_GROUP, _SOURCE, partition) or 0
            behind += self._kafka.end_offset(_SOURCE, partition) - done
        return behind <= 0
