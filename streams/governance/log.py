"""What the topics of models hold: governance events, published versions, live figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.features.encoding import Encoding
from models.features.indicators import Indicators, IndicatorTable
from models.lifecycle.history import LifecycleEvent, SlotHistory, slot_history
from models.workspaces import WorkspaceConfig
from streams.app import new_codec, verifier_of
from streams.engine.broker import KafkaBroker
from streams.engine.errors import ConfigurationError
from streams.engine.reading import read_partition
from streams.scoring.model import Model
from streams.scoring.model_store import CHAMPION, ModelStore
from streams.settings import Settings

Row = dict[str, Any]
Key = tuple[str, str]


def rows(settings: Settings, topic: str) -> Iterator[tuple[bytes, Row | None]]:
    """Key and value of a topic's committed records, from its start to its end of now.

    Times are in µs; a tombstone is None; what cannot be read is left out.

    Raises:
        ConfigurationError: there is no such topic.
        BrokerUnavailable: no broker answers.
    """
    broker, codec = KafkaBroker(settings.kafka_bootstrap), new_codec(settings)(topic)
    name = settings.topic_prefix + topic
    count = broker.partitions([name]).get(name, 0)
    if not count:
        raise ConfigurationError(
            f"{settings.kafka_bootstrap} has no topic {name}. Fix: leadstream topics create"
        )
    for partition in range(count):
        end = broker.end_offset(name, partition)
        for part in read_partition(settings.kafka_bootstrap, name, partition, end):
            for key, row in zip(part.keys(), codec.decode_dicts(part), strict=True):
                if row is None or isinstance(row, dict):
                    yield key or b"", row


def lifecycle(settings: Settings) -> dict[Key, list[Row]]:
    """All governance events by workspace and target, in the order of the log."""
    found: dict[Key, list[Row]] = {}
    for _, row in rows(settings, "models.lifecycle"):
        if row is not None:
            found.setdefault((row["workspace"], row["target"]), []).append(row)
    return found


def champion_events(events: list[Row]) -> list[LifecycleEvent]:
    """Those of the champion's slot."""
    return [LifecycleEvent.of_record(row) for row in events if row["slot"] == CHAMPION]


def history(events: list[Row]) -> SlotHistory:
    """What happened to a target's champions, and which was in use when."""
    return slot_history(champion_events(events))


def newest_metrics(settings: Settings) -> dict[Key, Row]:
    """The newest live figures of each target."""
    found: dict[Key, Row] = {}
    for _, row in rows(settings, "models.metrics"):
        if row is not None:
            found[row["workspace"], row["target"]] = row
    return found


def models_in_use(settings: Settings, workspaces: Mapping[str, WorkspaceConfig]) -> ModelStore:
    """The models as scorers have them now, by ``models.current``; artifacts are verified."""
    encodings = {n: Encoding(c.catalogue) for n, c in workspaces.items()}
    store = ModelStore(workspaces, encodings, verifier_of(settings))
    for key, row in rows(settings, "models.current"):
        store.apply("models.current", key, row)
    return store


def indicators_known(settings: Settings, workspace: str) -> Indicators:
    """All market indicators of a workspace so far."""
    table = IndicatorTable()
    for _, row in rows(settings, "market.indicators"):
        if row is not None and row["workspace"] == workspace:
            table.add(row)
    return table.view()


def model_in_use(settings: Settings, config: WorkspaceConfig, target: str) -> Model:
    """What scores a target's leads now.

    Raises:
        ConfigurationError: the champion in use is not believed here, so its part is not known.
    """
    model = models_in_use(settings, {config.name: config}).newest(config.name, target)
    if model.weights.champion != model.champion_version:
        raise ConfigurationError(
            f"champion {model.weights.champion} of {config.name}/{target} is in use, but its "
            "artifact is not believed here. Fix: let LEADSTREAM_TRUSTED_KEYS name the folder of "
            "keys that the scoring workers have"
        )
    return model


def artifacts(settings: Settings) -> Iterator[Row]:
    """``ModelWeights`` records with a champion's artifact, oldest first, from both topics.

    ``models.current`` keeps what is in use even when it is older than the history.
    """
    for topic in ("models.current", "models.history"):
        for _, row in rows(settings, topic):
            if row is not None and row["artifact"] is not None:
                yield row
