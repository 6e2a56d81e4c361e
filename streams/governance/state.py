"""What the learning and scoring roles remember, read from their changelogs; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.features.encoding import Encoding
from models.features.indicators import NO_INDICATORS
from models.features.kernels import FeatureKernels
from models.features.state import StateViews
from models.workspaces import WorkspaceConfig
from streams import topics
from streams.engine.broker import KafkaBroker
from streams.engine.changelog import Changelog
from streams.engine.errors import ConfigurationError
from streams.engine.hashing import hex_to_keys, murmur2
from streams.engine.state import State
from streams.governance.log import indicators_known
from streams.learning.learner import Learner
from streams.learning.processor import LearningProcessor
from streams.scoring.processor import ScoringProcessor
from streams.settings import Settings

I8 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Leads:
    """All leads of a workspace as scoring knows them.

    Attributes:
        keys: halves of their ids [n, 2].
        rows: feature rows [n, C], aged to `now`.
        last_rows: the same as of each lead's newest event.
        now: µs of event time: the workspace's newest event.
    """

    keys: NDArray[np.uint64]
    rows: NDArray[np.float32]
    last_rows: NDArray[np.float32]
    now: int

    def find(self, lead_id: str) -> int | None:
        """Number of a lead, None if it is not known (any more)."""
        key = hex_to_keys(pa.array([lead_id]))[0]
        found = np.flatnonzero((self.keys == key).all(axis=1))
        return int(found[0]) if len(found) else None


def learners(
    settings: Settings, configs: Mapping[str, WorkspaceConfig]
) -> dict[tuple[str, str], Learner]:
    """The learners of all targets of some workspaces as of their last commit.

    Raises:
        ConfigurationError: topics are missing.
        LayoutChanged: the state was written with another configuration.
    """
    processor = LearningProcessor(configs)
    count = _partitions(settings, processor.role)
    pairs = [(config, target) for config in configs.values() for target in config.targets]
    keys = pa.array([f"{config.name}/{target.name}" for config, target in pairs], pa.binary())
    found, states = {}, dict[int, State]()
    for (config, target), partition in zip(pairs, murmur2(keys, count).tolist(), strict=True):
        if partition not in states:
            states[partition] = processor.new_state()
            _restore(settings, processor.role, partition, states[partition])
        encoding = Encoding(config.catalogue)
        learner = Learner(config, encoding, target, states[partition])
        found[config.name, target.name] = learner
    return found


def learner_of(settings: Settings, config: WorkspaceConfig, target: str) -> Learner:
    """The learner of one target; see :func:`learners`."""
    only = replace(config, targets=(config.target(target),))
    return learners(settings, {config.name: only})[config.name, target]


def leads_of(settings: Settings, config: WorkspaceConfig) -> Leads:
    """Every lead that scoring remembers, with its feature row as of now.

    Now is event time, that of the workspace's newest event: an import of old events is not aged by
    years.

    Raises:
        ConfigurationError: topics are missing.
        LayoutChanged: the state was written with another configuration.
    """
    kernels = FeatureKernels(config.catalogue)
    parts = [
        (state, state.table(f"leads/{config.name}").live_rows())
        for state in _scoring_states(settings, config)
    ]
    tables = [(state.table(f"leads/{config.name}"), live) for state, live in parts]
    now = max(
        (int(table.rows["last_seen"][live].max()) for table, live in tables if len(live)), default=0
    )
    width, known = len(config.catalogue.columns), NO_INDICATORS
    indicators = config.catalogue.indicators
    if indicators:
        known = indicators_known(settings, config.name)
    keys, rows, last = [np.empty((0, 2), np.uint64)], [_none(width)], [_none(width)]
    for table, live in tables:
        views = StateViews.of(table.rows)
        keys.append(table.keys[live])
        rows.append(kernels.feature_rows(views, live, np.full(len(live), now)))
        seen = table.rows["last_seen"][live]
        last.append(kernels.feature_rows(views, live, seen))
        if indicators:
            first = width - len(indicators)
            rows[-1][:, first:] = known.columns(indicators, np.full(len(live), now))
            last[-1][:, first:] = known.columns(indicators, seen)
    return Leads(np.concatenate(keys), np.concatenate(rows), np.concatenate(last), now)


def _none(width: int) -> NDArray[np.float32]:
    return np.empty((0, width), np.float32)


def _scoring_states(settings: Settings, config: WorkspaceConfig) -> Iterator[State]:
    processor = ScoringProcessor({config.name: config})
    for partition in range(_partitions(settings, processor.role)):
        state = processor.new_state()
        _restore(settings, processor.role, partition, state)
        yield state


def _partitions(settings: Settings, role: str) -> int:
    topic = settings.topic_prefix + topics.changelog_topic(role).name
    count = KafkaBroker(settings.kafka_bootstrap).partitions([topic]).get(topic, 0)
    if not count:
        raise ConfigurationError(
            f"{settings.kafka_bootstrap} has no topic {topic}. Fix: leadstream topics create"
        )
    return count


def _restore(settings: Settings, role: str, partition: int, state: State) -> None:
    broker, changelog = KafkaBroker(settings.kafka_bootstrap), Changelog(state)
    topic = settings.topic_prefix + topics.changelog_topic(role).name
    broker.read(topic, partition, broker.end_offset(topic, partition), changelog.apply)
    changelog.finish()
