"""Restore: a changelog of many leads, and a worker that opens on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.workspaces import WorkspaceConfig
from streams.bench.measure import rss_mb
from streams.bench.scoring.models import MadeUpModels
from streams.bench.scoring.setup import run_topics
from streams.bench.scoring.workers import BenchWorker
from streams.engine.broker import KafkaBroker
from streams.engine.changelog import PROGRESS_KEY, Changelog, ChangeRecords, Progress
from streams.engine.column_producer import ColumnProducer
from streams.engine.state import State
from streams.scoring.processor import ScoringProcessor
from streams.settings import Settings

_CHUNK = 50_000
_ROOM = 400_000


def measure(
    settings: Settings,
    config: WorkspaceConfig,
    folder: Path,
    *,
    leads: int,
    records_per_lead: int,
    partitions: int,
) -> dict[str, Any]:
    """Fill the scoring changelog, start a worker, wait until all its tasks are open.

    Each lead has one record of a pending feature row; its other records are its row, written
    again and again, as when it was seen so often since the log was compacted.
    """
    with run_topics(settings, partitions, MadeUpModels.of(config, 0)) as own:
        records = fill(own, config, leads, records_per_lead, partitions)
        with BenchWorker("scoring", own, folder / "restore.log") as worker:
            ready_s = worker.wait_ready(300)
            metrics = worker.metrics()
            resident = rss_mb(worker.pid)
            peak = rss_mb(worker.pid, "VmHWM")
    rows = sum(metrics["leadstream_state_rows"].values())
    return {
        "restore_s": round(max(metrics["leadstream_restore_seconds"].values()), 2),
        "restore_leads": leads,
        "restore_records": records,
        "restore_rows": int(rows),
        "restore_start_to_ready_s": round(ready_s, 2),
        "restore_rss_mb": round(resident),
        "restore_rss_peak_mb": round(peak),
        "state_bytes_per_lead": round(state_bytes(config, leads) / leads),
    }


def fill(
    settings: Settings, config: WorkspaceConfig, leads: int, records_per_lead: int, partitions: int
) -> int:
    """Write the changelog through the engine's own tables; returns records written."""
    producer = ColumnProducer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "enable.idempotence": True,
            "compression.type": settings.compression,
            "linger.ms": 50,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 2 * _ROOM,
        }
    )
    topic = f"{settings.topic_prefix}scoring-changelog"
    timeline = f"{settings.topic_prefix}lead.timeline"
    progress = Progress({"lead.timeline": 0}, {"lead.timeline": _id(settings, timeline)})
    written = 0
    for partition in range(partitions):
        mine = leads * (partition + 1) // partitions - leads * partition // partitions
        rng = np.random.default_rng(partition)
        keys = rng.integers(0, 2**63, (mine, 2), dtype=np.uint64)
        state = ScoringProcessor({config.name: config}).new_state()
        changelog = Changelog(state)
        for turn in range(records_per_lead):
            order = rng.permutation(mine)
            table = f"pending/{config.name}" if turn == 0 else f"leads/{config.name}"
            for at in range(0, mine, _CHUNK):
                _write(state, table, keys[order[at : at + _CHUNK]], rng)
                written += _send(producer, topic, partition, changelog.take_changes())
        last = ChangeRecords()
        last.add(PROGRESS_KEY, progress.to_bytes())
        _send(producer, topic, partition, last)
    if producer.flush(120):
        raise RuntimeError("the changelog was not delivered")
    return written


def state_bytes(config: WorkspaceConfig, leads: int) -> int:
    """Bytes of memory of a state that grew to so many leads with a pending row each."""
    state = ScoringProcessor({config.name: config}).new_state()
    rng = np.random.default_rng(0)
    for name in (f"leads/{config.name}", f"pending/{config.name}"):
        for at in range(0, leads, _CHUNK):
            n = min(_CHUNK, leads - at)
            state.table(name).find_or_insert(rng.integers(0, 2**63, (n, 2), dtype=np.uint64))
    return sum(table.nbytes for table in state.tables.values())


def _id(settings: Settings, topic: str) -> str:
    return KafkaBroker(settings.kafka_bootstrap).topic_id(topic)


def _write(state: State, name: str, keys: NDArray[np.uint64], rng: np.random.Generator) -> None:
    table = state.table(name)
    rows, _ = table.find_or_insert(np.ascontiguousarray(keys))
    raw = rng.integers(0, 2**8, (len(rows), table.dtype.itemsize), dtype=np.uint8)
    raw[:, ::3] = 0  # compresses about as real rows do
    values = raw.view(table.dtype).reshape(-1)
    if "deadline" in (table.dtype.names or ()):
        values["deadline"] = np.iinfo(np.int64).max
    table.rows[rows] = values
    table.touch(rows)


def _send(producer: ColumnProducer, topic: str, partition: int, changes: ChangeRecords) -> int:
    while len(producer) > _ROOM:
        producer.poll(0.05)
    for keys, values in changes.runs():
        refused = np.count_nonzero(producer.produce_columns(topic, keys, values, partition))
        if refused:
            raise RuntimeError(f"the producer refused {refused} of {len(values)} records")
    return len(changes)
