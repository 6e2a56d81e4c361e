"""The same evaluation through a broker: real topics, one worker process a role, ``barrier``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.compute as pc
from confluent_kafka import Consumer, TopicPartition

from connectors.files.kafka_sink import KafkaSink
from models.workspaces import WorkspaceConfig
from streams import topics
from streams.engine.errors import BrokerUnavailable
from streams.evaluation.collect import LabelCollector
from streams.evaluation.local import Run
from streams.evaluation.read import TopicReader
from streams.evaluation.source import HEARTBEAT, Batches, closed
from streams.settings import Settings
from streams.supervisor import Supervisor, worker_command
from streams.topic_admin import TopicAdmin

_STALLED_S = 60.0


def run_through_kafka(
    settings: Settings,
    workspaces: Mapping[str, WorkspaceConfig],
    workspace: str,
    target: str,
    batches: Batches,
    *,
    partitions: int = 4,
    log_file: Path | None = None,
    progress: Callable[[int], None] = lambda labels: None,
) -> Run:
    """Evaluate one target on source events through Kafka, on topics of its own.

    Args:
        settings: Broker and workspaces; prefix and policy are this run's own.
        progress: Called with the number of labels read back so far.

    Raises:
        BrokerUnavailable: nothing came back for a minute.
    """
    prefix = f"evaluate-{uuid.uuid4().hex[:8]}."
    own = settings.model_copy(update={"topic_prefix": prefix, "policy": "barrier"})
    admin = TopicAdmin(own.kafka_bootstrap, prefix=prefix, partitions=partitions)
    admin.create()
    output = log_file.open("ab") if log_file else None
    supervisor = Supervisor({r: worker_command(r, own) for r in topics.ROLE_INPUTS}, output)
    try:
        supervisor.start()
        started = time.perf_counter()
        events, last_epoch = _send(own, workspaces, workspace, batches)
        collector = LabelCollector(workspace, target)
        with TopicReader(own, "lead.labels") as reader:
            idle_since = time.monotonic()
            while len(collector.ended.get(last_epoch, ())) < partitions:
                values = reader.read(0.5)
                for batch in values:
                    collector.add(batch)
                progress(collector.count)
                if values:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > _STALLED_S:
                    raise BrokerUnavailable(
                        f"no label for {_STALLED_S:.0f} s; see the workers' log {log_file or ''}"
                    )
        seconds = time.perf_counter() - started
        rejected = _count(own.kafka_bootstrap, f"{prefix}crm.events.dlq", f"{prefix}web.events.dlq")
        scored = _first_rows(own, workspace, target)
        return Run(collector.rows(), events, scored - collector.count, rejected, seconds)
    finally:
        supervisor.stop()
        if output is not None:
            output.close()
        admin.delete()


def _send(
    settings: Settings,
    workspaces: Mapping[str, WorkspaceConfig],
    workspace: str,
    batches: Batches,
) -> tuple[int, int]:
    """Send everything; returns events and the workspace's last epoch."""
    sink = KafkaSink(
        settings.kafka_bootstrap, ["crm.events", "web.events"], prefix=settings.topic_prefix
    )
    clock = workspaces[workspace].workspace
    events, last = 0, 0
    for topic, values in closed(batches, workspaces):
        sink.send(topic, values)
        events += values.num_rows
        beats = values.filter(
            pc.and_(
                pc.equal(values.column("kind"), HEARTBEAT),
                pc.equal(values.column("workspace"), workspace),
            )
        )
        if beats.num_rows:
            at = pc.max(beats.column("occurred_at")).value
            last = (at - clock.allowed_lateness_us) // clock.epoch_us - 1
    sink.flush()
    return events, last


def _first_rows(settings: Settings, workspace: str, target: str) -> int:
    """How many feature rows the ledger has kept: every lead's first score."""
    kept = 0
    with TopicReader(settings, "leads.scored", to_end=True) as reader:
        while values := reader.read(5.0):
            for batch in values:
                first = pc.and_(
                    pc.equal(batch.column("workspace"), workspace),
                    pc.equal(batch.column("target"), target),
                )
                kept += (
                    pc.sum(pc.and_(first, pc.is_null(batch.column("previous_logit")))).as_py() or 0
                )
    return kept


def _count(bootstrap: str, *names: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "leadstream-count"})
    try:
        total = 0
        for name in names:
            known = consumer.list_topics(name, timeout=10).topics[name].partitions
            for partition in known:
                low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), 10)
                total += high - low
        return total
    finally:
        consumer.close()
