"""Made-up models of a run: online weights that go on changing, and a champion beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Producer

from models.champion.artifact import artifact_sha256, artifact_version
from models.features.encoding import Encoding
from models.lifecycle.signing import Signer
from models.workspaces import WorkspaceConfig
from streams.app import new_codec, signer_of
from streams.arrow_schemas import record
from streams.bench.scoring.champion import made_up_champion
from streams.settings import Settings

ONLINE_SHARE = 0.75
"""Three online models in one set of weights beside a champion: a quarter each."""
_POINTS = 120


@dataclass(frozen=True, slots=True)
class MadeUpModels:
    """Records of ``models.current`` for the first target of a workspace.

    Attributes:
        artifact: Of the champion; None for none.
    """

    config: WorkspaceConfig
    artifact: bytes | None

    @classmethod
    def of(cls, config: WorkspaceConfig, champion_terms: int) -> MadeUpModels:
        """With a champion of so many terms; 0 for none."""
        artifact = made_up_champion(config, champion_terms) if champion_terms else None
        return cls(config, artifact)

    @property
    def champion_version(self) -> str | None:
        """Of the champion."""
        return artifact_version(self.artifact) if self.artifact is not None else None

    def champion(self, signer: Signer | None) -> dict[str, Any] | None:
        """The champion's record, signed."""
        artifact, config = self.artifact, self.config
        if artifact is None:
            return None
        target = config.targets[0].name
        signature = signer and signer.sign(artifact, config.name, target, config.catalogue.hash)
        return self._record(
            slot="champion",
            version=1,
            artifact=artifact,
            artifact_sha256=artifact_sha256(artifact),
            artifact_version=artifact_version(artifact),
            artifact_signature=signature,
        )

    def weights(self, version: int) -> dict[str, Any]:
        """A version of the online model: every input contributes, and each version differs."""
        size = Encoding(self.config.catalogue).size
        weights = np.random.default_rng(11).normal(0, 0.3, size)
        weights += np.random.default_rng(version).normal(0, 0.003, size)
        logits = np.linspace(-5, 3, _POINTS)
        probability = 1 / (1 + np.exp(-logits))
        return self._record(
            slot="online",
            version=version,
            labels_learned=10_000 + version,
            weights=weights.tolist(),
            calibration_b=-1.5,
            base_rate=0.08,
            quantiles=np.linspace(-5, 3, 101).tolist(),
            champion_version=self.champion_version,
            mixture=[ONLINE_SHARE, 1 - ONLINE_SHARE] if self.artifact else [1.0],
            interval_logits=logits.tolist(),
            interval_low=(0.8 * probability).tolist(),
            interval_high=(1 - 0.8 * (1 - probability)).tolist(),
        )

    def _record(self, **fields: Any) -> dict[str, Any]:
        common = {
            "workspace": self.config.name,
            "target": self.config.targets[0].name,
            "epoch": 0,
            "labels_learned": 0,
            "learned_until": None,
            "catalogue_version": self.config.catalogue.catalogue_version,
            "weights": [],
            "calibration_a": 1.0,
            "calibration_b": 0.0,
            "base_rate": 0.0,
            "quantiles": [],
            "published_at": 0,
        }
        return record("model_weights", **{**common, **fields})


class ModelPublisher:
    """Puts made-up models on ``models.current``, the champion before the weights that pin it."""

    def __init__(self, settings: Settings, models: MadeUpModels) -> None:
        self._producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
        self._topic = f"{settings.topic_prefix}models.current"
        self._codec = new_codec(settings)("models.current")
        self._models, self._version = models, 0
        champion = models.champion(signer_of(settings))
        if champion is not None:
            self._send(champion)
        self.next()

    def next(self) -> None:
        """Publish the next version of the weights.

        Raises:
            RuntimeError: the broker did not take it.
        """
        self._version += 1
        self._send(self._models.weights(self._version))

    def _send(self, row: dict[str, Any]) -> None:
        import pyarrow as pa

        batch = pa.RecordBatch.from_pylist([row], schema=self._codec.arrow_schema)
        key = f"{row['workspace']}/{row['target']}/{row['slot']}"
        self._producer.produce(self._topic, self._codec.encode(batch)[0], key)
        if self._producer.flush(30):
            raise RuntimeError("the models were not delivered")

    @contextmanager
    def every(self, per_s: float) -> Iterator[None]:
        """Publish new versions of the weights at a pace; 0 publishes none."""
        stop = threading.Event()

        def run() -> None:
            due = time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                self.next()
                due += 1 / per_s

        thread = threading.Thread(target=run, name="weights", daemon=True)
        if per_s:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if per_s:
                thread.join()
