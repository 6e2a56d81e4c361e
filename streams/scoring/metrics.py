"""Which champions score, and which artifacts were refused, as Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.scoring.model_store import ModelStore

Place = tuple[str, str, str]


class ModelMetrics:
    """Metrics of one scoring worker.

    Args:
        registry: The worker's own.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "leadstream_artifacts_refused",
            "Artifacts of models.current that were not believed or could not be loaded",
            ["workspace", "target"],
            registry=registry,
        )
        self._champion = Gauge(
            "leadstream_champion_info",
            "1 for the version of each champion and canary that scores here",
            ["workspace", "target", "slot", "version"],
            registry=registry,
        )
        self._counted: dict[tuple[str, str], int] = {}
        self._shown: dict[Place, str] = {}

    def observe(self, store: ModelStore) -> None:
        """Show what the store holds now."""
        for key, count in store.refused().items():
            self._refused.labels(*key).inc(count - self._counted.get(key, 0))
            self._counted[key] = count
        champions = store.champions()
        for place in self._shown.keys() | champions.keys():
            was, now = self._shown.get(place), champions.get(place)
            if was is not None and was != now:
                self._champion.remove(*place, was)
            if now is not None:
                self._champion.labels(*place, now).set(1)
        self._shown = champions
