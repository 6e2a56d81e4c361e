"""``leadstream bench faults``: is every event scored exactly once, whatever happens?

The input is appended in pieces, and in the middle of each something goes wrong: a worker is killed
with kill -9, frozen until its partitions have moved and woken again, stopped and replaced, or the
broker is restarted or killed. At the end an independent reference checks every record.
"""

from __future__ import annotations

import json as json_
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import Producer

from infra.dev.kafka import DevKafka
from streams.bench.faults.workers import Workers
from streams.bench.peer_job import schemas
from streams.bench.peer_job.generate import events as make_events
from streams.bench.peer_job.verify import verify
from streams.bench.topics import create
from streams.engine.broker import KafkaBroker
from streams.engine.codec import Codec

WORKERS = 2
SOURCE, SINK, GROUP = "faults.events", "faults.scores", "faults"
_SESSION_S = 3.0
_MID_S = 20.0
_FINISH_S = 300.0
_SETTINGS = {
    "LEADSTREAM_SESSION_TIMEOUT_S": str(_SESSION_S),
    "LEADSTREAM_RESTART_BACKOFF_S": "0.2",
    "LEADSTREAM_BATCH_ROWS": "2000",  # many commits, so that many faults hit one
}


def run(
    kills: int = 25,
    events: int = 1_000_000,
    seed: int = 1,
    json: bool = False,
    *,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the test on a broker of its own.

    Args:
        kills: How often a worker is killed; a fifth as many freezes, a tenth as many broker
            restarts and crashes each, and replacements, come on top.
        events: Input messages, 2 % of them duplicates.
        seed: Decides what goes wrong when, and the input.
        json: Print the result as one JSON object in the last line.
        say: Gets a line of progress now and then.

    Returns:
        ``ok`` and the counts behind it: ``missing``, ``duplicate``, ``wrong``, ``unknown`` of
        ``distinct`` events, faults by kind, ``restarts``, ``seconds``.
    """
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="leadstream-faults-"))
    rng = random.Random(seed)
    faults = _faults(kills, rng)
    with DevKafka(folder / "kafka") as broker:
        test = _Test(broker, folder, rng, seed)
        try:
            test.go(events, faults, say)
        finally:
            test.workers.end()
        say("comparing every record with the reference")
        verdict = verify(broker.bootstrap, SOURCE, SINK)
    counts = Counter(faults)
    result: dict[str, Any] = {
        "kills": counts["kill"],
        "freezes": counts["freeze"],
        "replacements": counts["replace"],
        "broker_restarts": counts["broker_restart"],
        "broker_crashes": counts["broker_crash"],
        "events": verdict.messages,
        "distinct": verdict.distinct,
        "outputs": verdict.outputs,
        "missing": verdict.missing,
        "duplicate": verdict.duplicate,
        "unknown": verdict.unknown,
        "wrong": verdict.wrong,
        "restarts": test.workers.started - WORKERS,
        "worker_failures": len(test.workers.failed),
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "ok": verdict.ok and not test.workers.failed,
    }
    if result["ok"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say("\n".join([*test.workers.failed, f"logs: {folder}"]))
    if json:
        print(json_.dumps(result))
    return result


def _faults(kills: int, rng: random.Random) -> list[str]:
    faults = ["kill"] * kills + ["freeze"] * max(1, kills // 5) + ["replace"] * max(1, kills // 5)
    faults += ["broker_restart"] * max(1, kills // 10) + ["broker_crash"] * max(1, kills // 10)
    rng.shuffle(faults)
    return faults


class _Test:
    """One run: broker, workers, and the input as it is appended."""

    def __init__(self, broker: DevKafka, folder: Path, rng: random.Random, seed: int) -> None:
        self.broker, self.rng, self.seed = broker, rng, seed
        self.kafka = KafkaBroker(broker.bootstrap)
        topics = {SOURCE: schemas.PARTITIONS, SINK: schemas.PARTITIONS}
        create(broker.bootstrap, topics, {"message.timestamp.type": "LogAppendTime"})
        environment = {
            "KAFKA_BOOTSTRAP": broker.bootstrap,
            "PEER_INPUT": SOURCE,
            "PEER_OUTPUT": SINK,
            "PEER_APP_ID": GROUP,
            **_SETTINGS,
        }
        command = ["-m", "streams.bench.peer_job.app"]
        self.workers = Workers(command, environment, folder, rng)
        self.codec = Codec(schemas.EVENT_SCHEMA, schemas.SCHEMA_ID)
        self.producer = Producer(
            {
                "bootstrap.servers": broker.bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "message.timeout.ms": 120_000,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,
            }
        )

    def go(self, events: int, faults: list[str], say: Callable[[str], None]) -> None:
        """Append all input, let everything go wrong, and wait until all of it is processed."""
        batch, _ = make_events(events, self.seed)
        piece = -(-batch.num_rows // (len(faults) + 1))
        self.workers.revive(WORKERS)
        for number, fault in enumerate(faults):
            self._append(batch.slice(number * piece, piece))
            self._wait_for(self._written() + self.rng.randrange(1, piece), _MID_S)
            say(f"{number + 1}/{len(faults)} {fault} ({self._written():,} records written)")
            getattr(self, f"_{fault}")()
            self.workers.revive(WORKERS)
        self._append(batch.slice(len(faults) * piece))
        if self.producer.flush(120):
            raise RuntimeError("the input could not be written")
        if not self._wait_until_processed(_FINISH_S):
            say("not all input was processed in time")
        self.workers.stop()

    def _append(self, part: pa.RecordBatch) -> None:
        keys = part.column("lead_id").to_pylist()
        for key, value in zip(keys, self.codec.encode(part), strict=True):
            self.producer.produce(SOURCE, value, key)
        self.producer.flush(30)

    # -- what goes wrong

    def _kill(self) -> None:
        self.workers.kill()

    def _replace(self) -> None:
        self.workers.stop_one()

    def _freeze(self) -> None:
        process = self.workers.freeze()
        time.sleep(_SESSION_S + 2.0)  # its partitions have moved by then
        process.send_signal(signal.SIGCONT)

    def _broker_restart(self) -> None:
        self.broker.restart()

    def _broker_crash(self) -> None:
        self.broker.kill()
        self.broker.start()

    # -- how far it is

    def _written(self) -> int:
        """Offsets of the outputs; transaction markers count too, so it is for pacing only."""
        return sum(
            self.kafka.end_offset(SINK, p, committed=False) for p in range(schemas.PARTITIONS)
        )

    def _wait_for(self, offsets: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._written() < offsets and time.monotonic() < deadline:
            time.sleep(0.05)

    def _wait_until_processed(self, timeout_s: float) -> bool:
        """Wait until the group has come to the end of the input."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.workers.revive(WORKERS)
            behind = 0
            for partition in range(schemas.PARTITIONS):
                done = self.kafka.group_offset(GROUP, SOURCE, partition) or 0
                behind += self.kafka.end_offset(SOURCE, partition) - done
            if behind <= 0:
                return True
            time.sleep(0.5)
        return False
