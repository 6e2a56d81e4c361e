"""Prometheus metrics of a worker, in a registry of their own.

Names follow Prometheus' conventions; ``role`` is on every series, ``stage``, ``error_class`` or
``partition`` where it helps. Served by ``streams/engine/health.py``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from streams.engine.transaction import Transaction

_LATENCY = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60, 300)
_ROWS = (1, 4, 16, 64, 256, 1024, 4096, 16384)


class EngineMetrics:
    """All metrics of one worker process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events_in = Counter(
            "leadstream_events_in",
            "Records committed as processed",
            ["role"],
            registry=self.registry,
        )
        self.events_out = Counter(
            "leadstream_events_out",
            "Records committed to output topics",
            ["role", "topic"],
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "leadstream_batch_rows",
            "Records of one transaction",
            ["role"],
            buckets=_ROWS,
            registry=self.registry,
        )
        self.stage_seconds = Counter(
            "leadstream_stage_seconds",
            "Time spent, by stage",
            ["role", "stage"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "leadstream_latency_seconds",
            "From a record's Kafka timestamp to the commit of what it caused (newest of a batch)",
            ["role"],
            buckets=_LATENCY,
            registry=self.registry,
        )
        self.lag_records = Gauge(
            "leadstream_lag_records",
            "Records not yet processed",
            ["role", "topic"],
            registry=self.registry,
        )
        self.lag_seconds = Gauge(
            "leadstream_lag_seconds",
            "Age of the newest processed record",
            ["role"],
            registry=self.registry,
        )
        self.commits = Counter(
            "leadstream_commits", "Committed transactions", ["role"], registry=self.registry
        )
        self.aborts = Counter(
            "leadstream_aborts", "Aborted and restored", ["role"], registry=self.registry
        )
        self.dead_letters = Counter(
            "leadstream_dead_letters",
            "Dead letters",
            ["role", "error_class"],
            registry=self.registry,
        )
        self.restore_seconds = Gauge(
            "leadstream_restore_seconds",
            "Last opening of a task",
            ["role", "partition"],
            registry=self.registry,
        )
        self.state_rows = Gauge(
            "leadstream_state_rows",
            "Rows restored at the last opening",
            ["role", "partition"],
            registry=self.registry,
        )
        self.model_version = Gauge(
            "leadstream_model_version",
            "Version of weights in use",
            ["role", "workspace", "target", "slot"],
            registry=self.registry,
        )

    def stage(self, role: str, stage: str, seconds: float) -> None:
        """Count time spent in a stage."""
        self.stage_seconds.labels(role, stage).inc(seconds)

    def committed(self, role: str, transaction: Transaction, seconds: float) -> None:
        """Count a committed transaction."""
        self.stage(role, "commit", seconds)
        self.commits.labels(role).inc()
        self.events_in.labels(role).inc(transaction.events)
        if transaction.events:
            self.batch_rows.labels(role).observe(transaction.events)
        for out in transaction.outputs:
            self.events_out.labels(role, out.topic).inc(len(out.values))
        for letter in transaction.dead_letters:
            self.dead_letters.labels(role, letter.error_class).inc()
        if transaction.newest_ms:
            age = max(0.0, time.time() - transaction.newest_ms / 1000)
            self.latency.labels(role).observe(age)
            self.lag_seconds.labels(role).set(age)

    def restored(self, role: str, partition: int, seconds: float, rows: int) -> None:
        """Record how long an opening took."""
        self.restore_seconds.labels(role, str(partition)).set(seconds)
        self.state_rows.labels(role, str(partition)).set(rows)
