"""The newest models and market indicators, as the broadcast reader hands them over.

Records of ``models.current`` and ``market.indicators`` go in; scoring takes one snapshot a batch,
so a batch is scored by one version of each target. Artifacts are verified before they are parsed;
one that is refused changes nothing: the former champion goes on scoring.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from models.champion.runtime import ArtifactError, ChampionModel
from models.features.encoding import Encoding
from models.features.indicators import Indicators, IndicatorTable
from models.lifecycle.signing import Verifier
from models.workspaces import WorkspaceConfig
from streams.scoring.model import Model, Weights

log = structlog.get_logger(__name__)

INDICATORS = "market.indicators"
ONLINE, CHAMPION, CHALLENGER = "online", "champion", "challenger"
_KEPT = 4
"""Artifacts kept of a target: weights that go with an older one may come in between."""

Key = tuple[str, str]


class ModelStore:
    """Newest models of all workspaces; written by the broadcast's thread, read by tasks.

    Args:
        workspaces: Configurations by name.
        encodings: Model inputs of each workspace.
        verifier: Whose signatures of artifacts are believed; None where nothing is signed, since
            everything runs in one process.
    """

    def __init__(
        self,
        workspaces: Mapping[str, WorkspaceConfig],
        encodings: Mapping[str, Encoding],
        verifier: Verifier | None = None,
    ) -> None:
        self._configs, self._encodings, self._verifier = workspaces, encodings, verifier
        self._none = {
            n: Model.of(workspaces[n].workspace.online, e, Weights.none(e.size), None)
            for n, e in encodings.items()
        }
        self._models: dict[Key, Model] = {}
        self._artifacts: dict[Key, dict[str, ChampionModel]] = {}
        self._refused: dict[Key, int] = {}
        self._indicators = {
            n: IndicatorTable() for n, c in workspaces.items() if c.catalogue.indicators
        }
        self._lock = threading.Lock()

    def apply(self, topic: str, key: bytes, value: dict[str, Any] | None) -> None:
        """Take one record of ``models.current``, whose tombstones empty a slot, or an indicator."""
        if topic == INDICATORS:
            if value is not None:
                self._take_indicator(value)
            return
        workspace, target, slot = key.decode().split("/", 2)
        config = self._configs.get(workspace)
        if config is None:
            return
        if slot != ONLINE:
            if value is not None and value.get("artifact"):
                self._keep_artifact(config, target, value)
        elif value is None:
            with self._lock:
                self._models.pop((workspace, target), None)
        elif self._fits(config, target, value):
            self._take(config, target, Weights.of_record(value))

    def _take_indicator(self, row: Mapping[str, Any]) -> None:
        table = self._indicators.get(row["workspace"])
        if table is not None:
            with self._lock:
                table.add(row)

    def _fits(self, config: WorkspaceConfig, target: str, value: dict[str, Any]) -> bool:
        fits = (
            value["catalogue_version"] == config.catalogue.catalogue_version
            and len(value["weights"]) == self._encodings[config.name].size
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

    def _keep_artifact(self, config: WorkspaceConfig, target: str, value: dict[str, Any]) -> None:
        key, catalogue = (config.name, target), config.catalogue
        artifact = value["artifact"]
        try:
            if self._verifier is not None:  # before anything of it is parsed
                signature = value["artifact_signature"]
                self._verifier.verify(artifact, signature, *key, catalogue.hash)
            champion = ChampionModel(artifact, value["artifact_sha256"] or "", catalogue)
        except ArtifactError as error:
            # the former champion goes on scoring; a bad artifact must not stop live scores
            log.error("champion_refused", workspace=config.name, target=target, reason=str(error))
            self._refused[key] = self._refused.get(key, 0) + 1
            return
        kept = self._artifacts.setdefault(key, {})
        kept.pop(champion.version, None)
        kept[champion.version] = champion
        used = self._models.get(key)
        in_use = used.champion_version if used is not None else None
        while len(kept) > _KEPT:  # a champion outlives any number of canaries
            del kept[next(v for v in kept if v != in_use)]

    def _take(self, config: WorkspaceConfig, target: str, weights: Weights) -> None:
        key, encoding = (config.name, target), self._encodings[config.name]
        kept = self._artifacts.get(key, {})
        before = self._models.get(key)
        champion = kept.get(weights.champion) if weights.champion else None
        if weights.champion and champion is None and before is not None:
            champion = kept.get(before.champion_version or "")
        online = config.workspace.online
        model = Model.of(online, encoding, weights, champion)
        challenger = kept.get(weights.challenger) if weights.challenger else None
        if challenger is not None and weights.canary_share > 0:
            model = model.with_canary(Model.of(online, encoding, weights, challenger))
        with self._lock:
            self._models[key] = model

    def newest(self, workspace: str, target: str) -> Model:
        """What scores this target now."""
        with self._lock:
            return self._models.get((workspace, target), self._none[workspace])

    def reached(self, workspace: str, epoch: int) -> bool:
        """Whether weights of this or a later epoch are there for every target."""
        with self._lock:
            return all(
                (m := self._models.get((workspace, t.name))) is not None
                and m.weights.epoch >= epoch
                for t in self._configs[workspace].targets
            )

    def ranges(
        self, workspace: str, target: str, offsets: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, Model]]:
        """Runs ``(start, stop, model)`` of rows that one model scores; here one for all."""
        yield 0, len(offsets), self.newest(workspace, target)

    def indicators(
        self, workspace: str, offsets: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, Indicators]]:
        """Runs ``(start, stop, indicators)`` of rows for which the same was known; here all."""
        with self._lock:
            view = self._indicators[workspace].view()
        yield 0, len(offsets), view

    def versions(self) -> dict[tuple[str, str, str], int]:
        """Version in use by (workspace, target, slot), for metrics."""
        with self._lock:
            return {(w, t, ONLINE): m.weights.version for (w, t), m in self._models.items()}

    def champions(self) -> dict[tuple[str, str, str], str]:
        """Version of the artifact that scores by (workspace, target, slot), for metrics."""
        found: dict[tuple[str, str, str], str] = {}
        with self._lock:
            for key, model in self._models.items():
                slots = ((CHAMPION, model), (CHALLENGER, model.canary))
                for slot, each in slots:
                    if each is not None and each.champion_version is not None:
                        found[*key, slot] = each.champion_version
        return found

    def refused(self) -> dict[Key, int]:
        """How many artifacts of each target were refused so far, for metrics."""
        return dict(self._refused)
