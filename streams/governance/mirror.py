"""Brings an MLflow registry up to date from the topics; giving it the same again changes nothing.

The log of ``models.lifecycle`` gives states, aliases and lineage; ``models.history`` (and
``models.current``, which keeps what is in use) give signed artifacts. A version that never scored a
lead has no artifact there: it stands in the log only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.champion.artifact import ArtifactError
from models.lifecycle.history import LifecycleEvent
from models.lifecycle.lineage import Lineage
from models.lifecycle.registry import ModelRegistry
from models.workspaces import WorkspaceConfig
from streams.app import verifier_of
from streams.governance.log import artifacts, champion_events, lifecycle
from streams.governance.state import learner_of
from streams.governance.versions import lineages_of, newest_rows, sizes_of
from streams.settings import Settings

Key = tuple[str, str]
F4 = NDArray[np.float32]


@dataclass(slots=True)
class Mirrored:
    """What one pass brought into the registry.

    events: of the log. versions: with artifact. refused: artifacts in words, that are not believed
    or have no lineage.
    """

    events: int
    versions: int
    refused: list[str]


class Mirror:
    """Follows the topics into one registry.

    Args:
        settings: Broker, keys and workspaces.
        workspaces: Configurations by name; other workspaces' slots are mirrored as well, without
            the sizes of their terms.
        registry: The registry.
    """

    def __init__(
        self, settings: Settings, workspaces: Mapping[str, WorkspaceConfig], registry: ModelRegistry
    ) -> None:
        self._settings, self._workspaces, self._registry = settings, workspaces, registry
        self._verifier = verifier_of(settings)
        self._known: set[tuple[str, str, str]] = {
            (e.workspace, e.target, e.version) for e in registry.entries()
        }
        self._events: set[tuple[str, str, tuple[int, int]]] = set()

    def once(self, progress: Callable[[str], None] = lambda what: None) -> Mirrored:
        """Read both topics and give the registry what it has not."""
        progress("reading models.lifecycle")
        logged = {key: champion_events(rows) for key, rows in lifecycle(self._settings).items()}
        events = [e for own in logged.values() for e in own if self._place(e) not in self._events]
        found = Mirrored(len(events), 0, [])
        lineages = {(*key, v): one for key, own in logged.items() for v, one in lineages_of(own)}
        progress("reading models.history")
        rows_of: dict[Key, F4] = {}
        for row in artifacts(self._settings):
            key = (row["workspace"], row["target"])
            name = (*key, row["artifact_version"] or "")
            if name in self._known:
                continue
            self._known.add(name)
            problem = self._register(row, lineages.get(name), rows_of)
            if problem is None:
                found.versions += 1
            else:
                found.refused.append(f"{'/'.join(name)}: {problem}")
        progress(f"writing {len(events)} events")
        self._registry.apply(*events)
        self._events.update(self._place(e) for e in events)
        return found

    def _register(
        self, row: dict[str, object], lineage: Lineage | None, rows_of: dict[Key, F4]
    ) -> str | None:
        """Take one artifact in; why not, or None."""
        workspace, target = str(row["workspace"]), str(row["target"])
        artifact, signature = row["artifact"], row["artifact_signature"]
        assert isinstance(artifact, bytes)
        if lineage is None:
            return "models.lifecycle has no lineage of it"
        try:
            self._verifier.verify(
                artifact, str(signature or ""), workspace, target, lineage.catalogue
            )
        except ArtifactError as error:
            return str(error)
        config, terms = self._workspaces.get(workspace), dict[str, float]()
        if config is not None and target in [t.name for t in config.targets]:
            if (workspace, target) not in rows_of:
                learner = learner_of(self._settings, config, target)
                rows_of[workspace, target] = newest_rows(learner)
            terms = sizes_of(config, artifact, rows_of[workspace, target])
        self._registry.register(lineage, artifact, str(signature), terms)
        return None

    @staticmethod
    def _place(event: LifecycleEvent) -> tuple[str, str, tuple[int, int]]:
        return event.workspace, event.target, event.place
