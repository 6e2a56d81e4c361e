"""Runs identity, scoring, ledger and learning over batches in this process, under ``barrier``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from models.mixture import Mixture
from models.warm import warm
from models.workspaces import WorkspaceConfig
from streams.app import ROLES, Parts, model_store
from streams.engine.local import LocalRunner
from streams.evaluation.collect import LabelCollector, ResolvedRows
from streams.evaluation.source import Batches, closed, count_events
from streams.identity.processor import IdentityProcessor
from streams.metrics import EngineMetrics
from streams.scoring.processor import ScoringProcessor


@dataclass(frozen=True, slots=True)
class Run:
    """What an evaluation went through.

    Attributes:
        rows: Resolved labels.
        events: Records read from the files.
        pending: Feature rows of the target whose label was still open at the end.
        rejected: Source events that went to the dead letters.
        seconds: Wall time, start-up left out.
        mixture: The models that were in use at the end; None where none was ever learned.
        retracted: Labels that were taken back; ``rows`` does not hold them.
    """

    rows: ResolvedRows
    events: int
    pending: int
    rejected: int
    seconds: float
    mixture: Mixture | None = None
    retracted: int = 0


def run_local(
    workspaces: Mapping[str, WorkspaceConfig],
    workspace: str,
    target: str,
    batches: Batches,
    *,
    indicators: Batches = (),
    partitions: int = 1,
    progress: Callable[[int], None] = lambda events: None,
    on_timeline: Callable[[pa.RecordBatch], None] = lambda values: None,
) -> Run:
    """Evaluate one target on source events.

    Args:
        batches: ``(topic, source events)`` in the order of event time.
        indicators: Market indicators, all known from the start; rows use what was published by
            their time.
        partitions: Partitions of every topic; the result does not depend on it.
        progress: Called with the number of events so far.
        on_timeline: Called with each batch of ``lead.timeline``.
    """
    collector = LabelCollector(workspace, target)

    def sink(topic: str, keys: pa.Array, values: pa.RecordBatch) -> None:
        if topic == "lead.labels":
            collector.add(values)
        elif topic == "lead.timeline":
            on_timeline(values)

    processors = [r.build(Parts(workspaces, EngineMetrics())) for r in ROLES.values()]
    for config in workspaces.values():
        warm(config)
    store = model_store(workspaces)
    runner = LocalRunner(
        processors,
        {t: partitions for r in ROLES.values() for t in r.inputs},
        models=store,
        broadcast=ROLES["scoring"].broadcast,
        policy="barrier",
        sink=sink,
    )
    runner.now_us = time.time_ns() // 1000  # the log time by which identity knows the future
    events, started = 0, time.perf_counter()
    for topic, values in indicators:
        runner.feed(topic, values.column("workspace").cast(pa.binary()), values)
    for topic, values in closed(batches, workspaces):
        keys = values.column("workspace").cast(pa.binary())
        runner.feed(topic, keys, values)
        events += count_events(values)
        progress(events)
    seconds = time.perf_counter() - started
    if runner.waiting:
        raise RuntimeError("records wait for weights that never came")
    pending = sum(
        task.processor.pending(workspace, target, task.state)
        for task in runner.tasks
        if isinstance(task.processor, ScoringProcessor)
    )
    rejected = sum(topic in IdentityProcessor.inputs for topic, _ in runner.rejections)
    mixture = store.newest(workspace, target).mixture
    return Run(collector.rows(), events, pending, rejected, seconds, mixture, collector.retracted)
