"""Which weights and champion score a lead: the newest broadcast ones, or recorded ones.

The broadcast reader puts records of ``models.current`` in; scoring takes one snapshot a batch, so
a batch is scored by one version of each target.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from models.champion.runtime import ArtifactError, ChampionModel
from models.workspaces import WorkspaceConfig

log = structlog.get_logger(__name__)

ONLINE, CHAMPION = "online", "champion"
UNINFORMED = 0.5
"""Base rate before the first label: nothing is known, and the evidence count says so."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One published version of a target's online model and calibration."""

    version: int
    epoch: int
    labels_learned: int
    weights: NDArray[np.float64]
    calibration_a: float
    calibration_b: float
    base_rate: float
    quantiles: NDArray[np.float64]

    @classmethod
    def none(cls, inputs: int) -> Weights:
        """What scores before anything was learned: logit 0."""
        zeros, empty = np.zeros(inputs), np.empty(0)
        return cls(0, np.iinfo(np.int64).min, 0, zeros, 1.0, 0.0, UNINFORMED, empty)

    @classmethod
    def of_record(cls, row: Mapping[str, Any]) -> Weights:
        """Read a ``ModelWeights`` record (times as µs)."""
        return cls(
            int(row["version"]),
            int(row["epoch"]),
            int(row["labels_learned"]),
            np.array(row["weights"], np.float64),
            float(row["calibration_a"]),
            float(row["calibration_b"]),
            float(row["base_rate"]),
            np.array(row["quantiles"], np.float64),
        )


@dataclass(frozen=True, slots=True)
class Model:
    """What scores one target now."""

    weights: Weights
    champion: ChampionModel | None


class ModelStore:
    """Newest models of all workspaces; written by the broadcast's thread, read by tasks.

    Args:
        workspaces: Configurations by name.
        inputs: Model inputs of each workspace's encoding.
    """

    def __init__(
        self, workspaces: Mapping[str, WorkspaceConfig], inputs: Mapping[str, int]
    ) -> None:
        self._configs, self._inputs = workspaces, inputs
        self._weights: dict[tuple[str, str], Weights] = {}
        self._champions: dict[tuple[str, str], ChampionModel] = {}
        self._lock = threading.Lock()

    def apply(self, topic: str, key: bytes, value: dict[str, Any] | None) -> None:
        """Take one record of ``models.current``; a tombstone empties the slot."""
        del topic
        workspace, target, slot = key.decode().split("/", 2)
        config = self._configs.get(workspace)
        if config is None:
            return
        if slot == CHAMPION:
            self._apply_champion(config, target, value)
        elif value is None:
            with self._lock:
                self._weights.pop((workspace, target), None)
        elif self._fits(config, target, value):
            with self._lock:
                self._weights[workspace, target] = Weights.of_record(value)

    def _fits(self, config: WorkspaceConfig, target: str, value: dict[str, Any]) -> bool:
        fits = (
            value["catalogue_version"] == config.catalogue.catalogue_version
            and len(value["weights"]) == self._inputs[config.name]
        )
        if not fits:
            log.warning(
                "weights_of_another_catalogue",
                workspace=config.name,
                target=target,
                theirs=value["catalogue_version"],
                ours=config.catalogue.catalogue_version,
            )
        return fits

    def _apply_champion(
        self, config: WorkspaceConfig, target: str, value: dict[str, Any] | None
    ) -> None:
        key = (config.name, target)
        if value is None or not value.get("artifact"):
            with self._lock:
                self._champions.pop(key, None)
            return
        try:
            champion = ChampionModel(
                value["artifact"], value["artifact_sha256"] or "", config.catalogue
            )
        except ArtifactError as error:
            # the former champion goes on scoring; a bad artifact must not stop live scores
            log.error("champion_refused", workspace=config.name, target=target, reason=str(error))
            return
        with self._lock:
            self._champions[key] = champion

    def newest(self, workspace: str, target: str) -> Model:
        """What scores this target now."""
        key = (workspace, target)
        with self._lock:
            weights, champion = self._weights.get(key), self._champions.get(key)
        return Model(weights or Weights.none(self._inputs[workspace]), champion)

    def reached(self, workspace: str, epoch: int) -> bool:
        """Whether weights of this or a later epoch are there for every target."""
        with self._lock:
            return all(
                (w := self._weights.get((workspace, t.name))) is not None and w.epoch >= epoch
                for t in self._configs[workspace].targets
            )

    def ranges(
        self, workspace: str, target: str, offsets: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, Model]]:
        """Runs ``(start, stop, model)`` of rows that one model scores; here one for all."""
        yield 0, len(offsets), self.newest(workspace, target)

    def versions(self) -> dict[tuple[str, str, str], int]:
        """Version in use by (workspace, target, slot), for metrics."""
        with self._lock:
            return {(w, t, ONLINE): v.version for (w, t), v in self._weights.items()}
