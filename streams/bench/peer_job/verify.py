"""Checks a run of the peer job record by record against an independent reference.

The reference shares nothing with the engine: a plain consumer, fastavro, Python dicts and a numpy
float64 model. Correct means: read ``read_committed``, exactly one output for each distinct event
id, with the reference's lead, event count and time, and a probability within 1e-4.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from numpy.typing import NDArray

from streams.bench.peer_job.model import FEATURES, weights
from streams.bench.peer_job.schemas import (
    DAY_US,
    EVENT_SCHEMA,
    EVENT_TYPES,
    HALF_LIFE_US,
    PARTITIONS,
    SCORE_SCHEMA,
    WINDOW,
)

TOLERANCE = 1e-4
_HEAD = b"\x00\x00\x00\x00\x01"


@dataclass(slots=True)
class Verdict:
    """Counts of what is wrong; all of them 0 in a correct run. Times are LogAppendTime in ms."""

    messages: int
    distinct: int
    outputs: int = 0
    missing: int = 0
    duplicate: int = 0
    unknown: int = 0
    wrong: int = 0
    max_abs_err: float = 0.0
    first_ms: int = 0
    half_ms: int = 0
    last_ms: int = 0

    @property
    def ok(self) -> bool:
        """Whether the run was correct."""
        bad = self.missing or self.duplicate or self.unknown or self.wrong
        return not bad and self.outputs == self.distinct

    def as_json(self) -> dict[str, Any]:
        """All counts and the verdict."""
        return {**asdict(self), "ok": self.ok}


def _plain(schema: str) -> Any:
    fields = json.loads(schema)
    for field in fields["fields"]:
        if isinstance(field["type"], dict) and "logicalType" in field["type"]:
            field["type"] = "long"
    return fastavro.parse_schema(fields)


def _scan(bootstrap: str, topic: str) -> Iterator[Any]:
    """All committed records of a topic, partition by partition."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "peer-verify",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        for partition in range(PARTITIONS):
            at = TopicPartition(topic, partition, 0)
            spec = {TopicPartition(topic, partition): OffsetSpec.latest()}
            found = admin.list_offsets(spec, isolation_level=IsolationLevel.READ_COMMITTED)
            end = next(iter(found.values())).result(30).offset
            consumer.assign([at])
            done = end == 0
            while not done:
                for message in consumer.consume(10_000, 0.2):
                    if message.error():
                        done = True  # the partition's end
                    elif message.offset() < end:
                        yield message
            consumer.unassign()
    finally:
        consumer.close()


def _model() -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    w1, b1, w2, b2, w3, b3 = (w.astype(np.float64) for w in weights())

    def run(x: NDArray[np.float32]) -> NDArray[np.float64]:
        h = np.maximum(np.log(x.astype(np.float64) + 1) @ w1 + b1, 0)
        h = np.maximum(h @ w2 + b2, 0)
        out: NDArray[np.float64] = 1 / (1 + np.exp(-(h @ w3 + b3)))[:, 0]
        return out

    return run


def reference(bootstrap: str, topic: str) -> tuple[int, dict[str, tuple[str, int, int]], Any]:
    """Replay the input in plain Python.

    Returns:
        Messages read; event id -> (lead, event count, occurred_at); probabilities in that order.
    """
    schema, kinds = _plain(EVENT_SCHEMA), {k: i for i, k in enumerate(EVENT_TYPES)}
    leads: dict[str, dict[str, Any]] = {}
    expected: dict[str, tuple[str, int, int]] = {}
    features = bytearray()
    messages = 0
    for message in _scan(bootstrap, topic):
        messages += 1
        event: Any = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), schema, None)
        lead, event_id, at = event["lead_id"], event["event_id"], event["occurred_at"]
        state = leads.get(lead)
        if state is None:
            state = leads[lead] = {
                "recent": [], "c": [0] * 12, "d": [0.0] * 12,
                "first": at, "last": None, "n": 0, "sum": 0.0,
            }  # fmt: skip
        if event_id in state["recent"]:
            continue
        state["recent"] = [*state["recent"], event_id][-WINDOW:]
        kind, before = kinds[event["event_type"]], state["last"]
        now = at if before is None else max(before, at)
        if before is not None and now > before:
            fade = 2.0 ** (-(now - before) / HALF_LIFE_US)
            state["d"] = [v * fade for v in state["d"]]
        state["d"][kind] += 2.0 ** (-(now - at) / HALF_LIFE_US)
        state["c"][kind] += 1
        state["n"] += 1
        state["first"], state["last"] = min(state["first"], at), now
        value = event["value"] or 0.0
        state["sum"] += value
        since = 0.0 if before is None else max(0, at - before) / DAY_US
        row = [
            *state["c"], *state["d"], state["n"], state["sum"], since,
            (now - state["first"]) / DAY_US, (now - at) / DAY_US, value,
            sum(1 for c in state["c"] if c),
        ]  # fmt: skip
        features += np.array(row, np.float32).tobytes()
        expected[event_id] = (lead, state["n"], at)
    rows = np.frombuffer(bytes(features), np.float32).reshape(-1, FEATURES)
    model = _model()
    blocks = [model(rows[i : i + 50_000]) for i in range(0, len(rows), 50_000)]
    return messages, expected, np.concatenate(blocks) if blocks else np.empty(0)


def verify(bootstrap: str, source: str, sink: str) -> Verdict:
    """Compare every output with the reference."""
    messages, expected, probability = reference(bootstrap, source)
    number = {event_id: i for i, event_id in enumerate(expected)}
    verdict = Verdict(messages, len(expected))
    seen = np.zeros(len(expected), np.int64)
    schema = _plain(SCORE_SCHEMA)
    for message in _scan(bootstrap, sink):
        verdict.outputs += 1
        if message.value()[:5] != _HEAD:
            raise ValueError("an output is not in Confluent wire format with schema id 1")
        score: Any = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), schema, None)
        at = number.get(score["event_id"])
        if at is None:
            verdict.unknown += 1
            continue
        verdict.duplicate += bool(seen[at])
        seen[at] = message.timestamp()[1]
        lead, count, occurred_at = expected[score["event_id"]]
        error = abs(score["probability"] - float(probability[at]))
        verdict.max_abs_err = max(verdict.max_abs_err, error)
        same = (
            score["lead_id"] == lead
            and message.key().decode() == lead
            and score["event_count"] == count
            and score["occurred_at"] == occurred_at
            and error <= TOLERANCE
        )
        verdict.wrong += not same
    verdict.missing = int((seen == 0).sum())
    times = np.sort(seen[seen > 0])
    if len(times):
        verdict.first_ms, verdict.last_ms = int(times[0]), int(times[-1])
        verdict.half_ms = int(times[len(times) // 2])
    return verdict
