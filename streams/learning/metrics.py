"""What becomes of models, as Prometheus metrics; a batch that is processed again counts again."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.learning.records import Published


class LearningMetrics:
    """Metrics of one learning worker.

    Args:
        registry: The worker's own.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        by = ["workspace", "target"]
        self._actions = Counter(
            "leadstream_lifecycle_events",
            "Events written to models.lifecycle",
            [*by, "slot", "action"],
            registry=registry,
        )
        self._alarms = Gauge(
            "leadstream_quality_alarms",
            "Alarms of drift and quality that are raised",
            by,
            registry=registry,
        )
        self._delay = Gauge(
            "leadstream_label_delay_seconds",
            "Event time from a feature row to its outcome, over recent labels",
            [*by, "quantile"],
            registry=registry,
        )
        self._champion = Gauge(
            "leadstream_champion_promoted_timestamp_seconds",
            "When the champion came into use; 0 without one",
            by,
            registry=registry,
        )
        self._labels = Gauge(
            "leadstream_labels_learned", "Labels learned that still hold", by, registry=registry
        )
        self._quality = Gauge(
            "leadstream_live_quality",
            "Figures of the scores that were published, over recent labels",
            [*by, "figure"],
            registry=registry,
        )

    def observe(self, published: Published) -> None:
        """Take what one batch published."""
        for event in published.lifecycle:
            where = (event["workspace"], event["target"], event["slot"])
            self._actions.labels(*where, event["action"]).inc()
        for key, since_us in published.champions.items():
            self._champion.labels(*key).set((since_us or 0) / 1e6)
        for row in published.metrics:
            key = (row["workspace"], row["target"])
            self._alarms.labels(*key).set(len(row["alarms"]))
            self._labels.labels(*key).set(row["labels"])
            for name, quantile in (("p50", "0.5"), ("p95", "0.95")):
                delay = row[f"label_delay_s_{name}"]
                if delay is not None:
                    self._delay.labels(*key, quantile).set(delay)
            for figure in ("auc", "log_loss", "ece"):
                if row[figure] is not None:
                    self._quality.labels(*key, figure).set(row[figure])
