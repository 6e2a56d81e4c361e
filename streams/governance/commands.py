"""Commands to the learner: written to ``lead.labels``, answered on ``models.lifecycle``.

A command travels in order with the labels of its target, so the learner's state stays a function of
its input. What it caused carries the command's id.
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
from aiokafka import TopicPartition

from models.lifecycle.history import LifecycleEvent
from models.lifecycle.transitions import Command
from streams.app import group_of, new_codec
from streams.arrow_schemas import arrow_schema, record
from streams.engine.broker import KafkaBroker
from streams.engine.errors import ConfigurationError, LeadstreamError
from streams.engine.packed import Packed
from streams.engine.producer import TransactionalProducer
from streams.engine.slice_consumer import SliceConsumer
from streams.settings import Settings

TIMEOUT_S = 30.0


class NotAnswered(LeadstreamError):
    """The learner did not answer in time, or none runs."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A champion that was trained elsewhere; it begins in shadow like any other.

    figures, details: for the log; details hold the lineage as JSON.
    """

    artifact: bytes
    actor: str
    reason: str
    figures: dict[str, float]
    details: dict[str, str]

    def content(self) -> dict[str, Any]:
        """As it travels."""
        return {
            "action": "offer",
            "artifact": base64.b64encode(self.artifact).decode(),
            "actor": self.actor,
            "reason": self.reason,
            "figures": self.figures,
            "details": self.details,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What the learner did, in its order."""

    events: tuple[LifecycleEvent, ...]

    @property
    def refused(self) -> str | None:
        """Why it was not done, or None."""
        return next((e.reason for e in self.events if e.action == "refused"), None)


def send(
    settings: Settings,
    workspace: str,
    target: str,
    command: Command | Offer,
    *,
    timeout_s: float = TIMEOUT_S,
    sent: Callable[[], None] = lambda: None,
) -> Answer:
    """Give a command to the learner and wait for what it answers.

    Args:
        sent: Called once the command is in the log.

    Raises:
        NotAnswered: no learning worker runs (then nothing was sent), or none answered in time.
        ConfigurationError: topics are missing.
        BrokerUnavailable: no broker answers.
    """
    broker = KafkaBroker(settings.kafka_bootstrap)
    names = [settings.topic_prefix + t for t in ("models.lifecycle", "lead.labels")]
    missing = sorted(set(names) - set(broker.partitions(names)))
    if missing:
        raise ConfigurationError(
            f"{settings.kafka_bootstrap} has no topic {', '.join(missing)}. "
            "Fix: leadstream topics create"
        )
    if not broker.group_members(group_of(settings, "learning")):
        raise NotAnswered(
            "no learning worker runs, so nobody would take the command; nothing was sent. "
            "Fix: leadstream worker learning (or leadstream up)"
        )
    lifecycle = names[0]
    start = broker.end_offset(lifecycle, 0)
    identity = uuid.uuid4().hex
    content = command.content() if isinstance(command, Offer) else msgspec.to_builtins(command)
    _write(settings, workspace, target, identity, {**content, "id": identity})
    sent()
    return asyncio.run(_answer(settings, workspace, target, identity, start, timeout_s))


def _write(
    settings: Settings, workspace: str, target: str, identity: str, content: dict[str, Any]
) -> None:
    row = command_record(workspace, target, identity, content)
    batch = pa.RecordBatch.from_pylist([row], schema=arrow_schema("label"))
    value = new_codec(settings)("lead.labels").pack(batch)
    name = f"{settings.topic_prefix}models-{identity}"
    producer = TransactionalProducer(name, settings.producer_config())
    try:
        producer.open(lambda: False)
        producer.begin()
        key = Packed.of([f"{workspace}/{target}".encode()])
        producer.send(settings.topic_prefix + "lead.labels", key, value)
        producer.commit(lambda: False)
    finally:
        producer.close()


def command_record(
    workspace: str, target: str, identity: str, content: dict[str, Any]
) -> dict[str, Any]:
    """A ``Label`` record that carries a command."""
    now_us = time.time_ns() // 1000
    return record(
        "label",
        record_kind="command",
        workspace=workspace,
        target=target,
        label_id=identity,
        lead_id="",
        event_id="",
        row_time=now_us,
        resolved_at=now_us,
        outcome="none",
        positive=False,
        logit=0.0,
        probability=0.0,
        weights_version=0,
        catalogue_version="",
        features=[],
        epoch=0,
        timeline_partition=0,
        timeline_partitions=0,
        source_offset=0,
        watermark=now_us,
        command=msgspec.json.encode(content).decode(),
    )


async def _answer(
    settings: Settings, workspace: str, target: str, identity: str, start: int, timeout_s: float
) -> Answer:
    codec = new_codec(settings)("models.lifecycle")
    tp = TopicPartition(settings.topic_prefix + "models.lifecycle", 0)
    consumer = SliceConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    consumer.assign([tp])
    await consumer.start()
    deadline = time.monotonic() + timeout_s
    try:
        consumer.seek(tp, start)
        while time.monotonic() < deadline:
            # a transaction becomes visible whole, so its events come together
            for part in (await consumer.getmany(timeout_ms=100, max_records=16)).get(tp, []):
                rows = [r for r in codec.decode_dicts(part) if isinstance(r, dict)]
                mine = [r for r in rows if dict(r["details"]).get("command") == identity]
                if mine:
                    return Answer(tuple(map(LifecycleEvent.of_record, mine)))
    finally:
        await consumer.stop()
    raise NotAnswered(
        f"the learning worker did not answer for {workspace}/{target} within {timeout_s:.0f} s; "
        "the command is in lead.labels and will be done when its turn comes. Fix: look at the "
        "learning worker's log and lag, and at: leadstream models history "
        f"{workspace} {target}"
    )
