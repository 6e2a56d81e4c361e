"""What identity notices, as Prometheus metrics; a batch that is processed again counts again."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from streams.identity.observation import Observation

_LATENESS_S = (1, 10, 60, 300, 900, 3600, 21600, 86400, 604800)


class IdentityMetrics:
    """Counters of one worker.

    Args:
        registry: The worker's own.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        by = ["workspace"]
        self._lateness = Histogram(
            "leadstream_lateness_seconds",
            "How far late events lay behind the watermark",
            by,
            buckets=_LATENESS_S,
            registry=registry,
        )
        self._duplicates = Counter(
            "leadstream_duplicates", "Events dropped by their id", by, registry=registry
        )
        self._leads = Counter("leadstream_leads", "New leads", by, registry=registry)
        self._foreign_keys = Counter(
            "leadstream_foreign_keys",
            "Events whose message key is not their workspace",
            by,
            registry=registry,
        )

    def observe(self, seen: Observation) -> None:
        """Count one batch of one workspace."""
        for seconds in seen.late_s.tolist():
            self._lateness.labels(seen.workspace).observe(seconds)
        self._duplicates.labels(seen.workspace).inc(seen.duplicates)
        self._leads.labels(seen.workspace).inc(seen.leads)
        self._foreign_keys.labels(seen.workspace).inc(seen.foreign_keys)
