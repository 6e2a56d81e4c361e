"""One version of a champion: where it comes from, what happened to it, what its terms say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.champion.artifact import ArtifactError, artifact_sha256
from models.champion.runtime import ChampionModel
from models.explain.words import PAIR
from models.features.catalogue import FeatureCatalogue
from models.lifecycle.difference import Difference, difference, term_sizes
from models.lifecycle.history import LifecycleEvent, SlotHistory
from models.lifecycle.lineage import Lineage
from models.workspaces import WorkspaceConfig
from streams.engine.errors import ConfigurationError
from streams.governance.log import artifacts
from streams.learning.learner import Learner
from streams.settings import Settings

F4 = NDArray[np.float32]
_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Version:
    """One version.

    Attributes:
        state: shadow, canary, champion or retired; training where it never came further.
        events: that happened to it, oldest first.
        lineage: None where its training was not told.
        terms: mean absolute effect on the logit by term, largest first; empty where the artifact
            or rows to try it on are gone.
    """

    name: str
    state: str
    events: tuple[LifecycleEvent, ...]
    lineage: Lineage | None
    terms: dict[str, float]


def resolve(history: SlotHistory, where: str, text: str) -> str:
    """A version's whole name from its beginning, or from `champion` or `challenger`.

    Raises:
        ConfigurationError: no version begins so, or several do.
    """
    if text in ("champion", "challenger"):
        found = history.champion if text == "champion" else history.challenger
        if found is None:
            raise ConfigurationError(f"{where} has no {text} now. Fix: name a version")
        return found
    fitting = [version for version in history.states if text and version.startswith(text)]
    if len(fitting) != 1:
        known = ", ".join(list(history.states)[-10:]) or "none yet"
        problem = "is the beginning of several" if fitting else "is unknown"
        raise ConfigurationError(f"version {text!r} of {where} {problem}. Fix: name one of {known}")
    return fitting[0]


def version_of(
    settings: Settings, config: WorkspaceConfig, learner: Learner, history: SlotHistory, name: str
) -> Version:
    """Everything about a version; its artifact comes from the learner or from the topics."""
    artifact = learner.champion.artifact(name)
    if artifact is None:
        own = (config.name, learner.target, name)
        for row in artifacts(settings):
            if (row["workspace"], row["target"], row["artifact_version"]) == own:
                artifact = row["artifact"]
                break
    events = tuple(event for event in history.events if event.version == name)
    sizes = {} if artifact is None else sizes_of(config, artifact, newest_rows(learner))
    terms = dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))
    return Version(name, history.states[name], events, dict(lineages_of(events)).get(name), terms)


def compare(before: Version, after: Version) -> Difference:
    """What changed from one version to another.

    Raises:
        ConfigurationError: one of them has no lineage.
    """
    if before.lineage is None or after.lineage is None:
        missing = before.name if before.lineage is None else after.name
        raise ConfigurationError(
            f"version {missing} has no lineage in models.lifecycle: it was offered without one. "
            "Fix: offer champions with `leadstream train champion --offer`"
        )
    return difference(
        (before.name, after.name), before.lineage, after.lineage, before.terms, after.terms
    )


def newest_rows(learner: Learner) -> F4:
    """Feature rows [n, C] of the newest labels, to try champions on."""
    return learner.window.since(learner.labels - _ROWS).labels.features


def sizes_of(config: WorkspaceConfig, artifact: bytes, rows: F4) -> dict[str, float]:
    """How much each term of a champion moves the logits of rows [n, C]; empty without rows.

    A champion of an earlier catalogue has none: its terms are not about these rows.
    """
    if not len(rows):
        return {}
    try:
        champion = ChampionModel(artifact, artifact_sha256(artifact), config.catalogue)
    except ArtifactError:
        return {}
    return term_sizes(champion.contributions(rows))


def lineages_of(events: Iterable[LifecycleEvent]) -> Iterator[tuple[str, Lineage]]:
    """Versions with their lineage, from the events of their training."""
    for event in events:
        text = event.details.get("lineage") if event.action == "trained" else None
        if text:
            yield event.version, msgspec.json.decode(text, type=Lineage)


def term_words(catalogue: FeatureCatalogue, name: str) -> str:
    """What a term is about: the words of its column, or of both."""
    columns = {c.name: c for c in catalogue.columns}
    parts = name.split(PAIR)
    if not set(parts) <= set(columns):
        return name
    return " and ".join(columns[part].words for part in parts)
