"""The same evaluation through a broker: real topics, one worker process a role, ``barrier``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.compute as pc

from connectors.files.kafka_sink import KafkaSink
from connectors.files.records import INDICATORS_TOPIC
from models.workspaces import WorkspaceConfig
from streams import topics
from streams.engine.broker import KafkaBroker
from streams.engine.changelog import Changelog
from streams.engine.errors import BrokerUnavailable
from streams.evaluation.collect import LabelCollector
from streams.evaluation.local import Run
from streams.evaluation.read import TopicReader
from streams.evaluation.source import HEARTBEAT, Batches, closed, count_events
from streams.governance.log import models_in_use
from streams.identity.processor import IdentityProcessor
from streams.scoring.processor import ScoringProcessor
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
    indicators: Batches = (),
    partitions: int = 4,
    log_file: Path | None = None,
    progress: Callable[[int], None] = lambda labels: None,
    started: Callable[[Supervisor], None] = lambda supervisor: None,
) -> Run:
    """Evaluate one target on source events through Kafka, on topics of its own.

    Args:
        settings: Broker and workspaces; prefix and policy are this run's own.
        indicators: Market indicators; sent before any worker starts, so that which of them a
            score knows does not depend on who is faster.
        progress: Called with the number of labels read back so far.
        started: Called once the workers were started, with what keeps them running.

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
        sink = KafkaSink(own.kafka_bootstrap, [INDICATORS_TOPIC], prefix=prefix)
        for topic, values in indicators:
            sink.send(topic, values)
        sink.flush()
        supervisor.start()
        started(supervisor)
        began = time.perf_counter()
        events, last_epoch = _send(own, workspaces, workspace, batches)
        collector = LabelCollector(workspace, target)
        with TopicReader(own, "lead.labels") as reader:
            idle_since = time.monotonic()
            while last_epoch is not None and len(collector.ended.get(last_epoch, ())) < partitions:
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
        seconds = time.perf_counter() - began
        rejected = _rejected(own)
        pending = _pending(own, workspaces, workspace, target, partitions)
        mixture = models_in_use(own, workspaces).newest(workspace, target).mixture
        return Run(
            collector.rows(), events, pending, rejected, seconds, mixture, collector.retracted
        )
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
) -> tuple[int, int | None]:
    """Send everything; returns events and the workspace's last epoch, if it has events."""
    names = [*IdentityProcessor.inputs, INDICATORS_TOPIC]
    sink = KafkaSink(settings.kafka_bootstrap, names, prefix=settings.topic_prefix)
    clock = workspaces[workspace].workspace
    events, last = 0, None
    for topic, values in closed(batches, workspaces):
        sink.send(topic, values)
        events += count_events(values)
        if topic not in IdentityProcessor.inputs:
            continue
        is_beat = pc.equal(values.column("kind"), HEARTBEAT)
        mine = pc.equal(values.column("workspace"), workspace)
        at = pc.max(values.filter(pc.and_(is_beat, mine)).column("occurred_at"))
        if at.is_valid:
            ended = (at.value - clock.allowed_lateness_us) // clock.epoch_us - 1
            last = ended if last is None else max(last, ended)
    sink.flush()
    return events, last


def _pending(
    settings: Settings,
    workspaces: Mapping[str, WorkspaceConfig],
    workspace: str,
    target: str,
    partitions: int,
) -> int:
    """How many feature rows still wait, by the state that scoring has committed."""
    broker, scoring = KafkaBroker(settings.kafka_bootstrap), ScoringProcessor(workspaces)
    topic = settings.topic_prefix + topics.changelog_topic(scoring.role).name
    total = 0
    for partition in range(partitions):
        state = scoring.new_state()
        end = broker.end_offset(topic, partition)
        broker.read(topic, partition, end, Changelog(state).apply)
        total += scoring.pending(workspace, target, state)
    return total


def _rejected(settings: Settings) -> int:
    """How many source events went to the dead letters."""
    broker = KafkaBroker(settings.kafka_bootstrap)
    names = [settings.topic_prefix + topics.dlq_topic(t).name for t in IdentityProcessor.inputs]
    found: list[int] = []  # offsets would count the markers of transactions as well
    for name, partitions in broker.partitions(names).items():
        for partition in range(partitions):
            end = broker.end_offset(name, partition)
            broker.read(name, partition, end, lambda records: found.append(len(records)))
    return sum(found)
