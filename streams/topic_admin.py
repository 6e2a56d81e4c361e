"""Makes the topic list true on a broker: creates what is missing, reports what differs.

Nothing that exists is changed: another partition count moves keys to other partitions, and a
setting may have been tuned by the people who run the broker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from streams.engine.errors import BrokerUnavailable, ConfigurationError
from streams.topics import Topic, all_topics, config, topic_name

_UNREACHABLE = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_CONTROLLER,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
}
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of an existing topic that is not as the list says; found None: not readable."""

    setting: str
    wanted: str
    found: str | None

    def __str__(self) -> str:
        return f"{self.setting} is {self.found}, the list says {self.wanted}"


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic of the list as it is on the broker; partitions and replicas None when missing."""

    topic: Topic
    name: str
    partitions: int | None
    replicas: int | None
    differences: tuple[Difference, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the broker has the topic."""
        return self.partitions is not None


@dataclass(frozen=True, slots=True)
class Creation:
    """What :meth:`TopicAdmin.create` did: full names created now, and every topic's state after."""

    created: tuple[str, ...]
    states: tuple[TopicState, ...]


class TopicAdmin:
    """The topic list on one broker, under one prefix.

    bootstrap: host:port, or several with commas. partitions: see
    :func:`streams.topics.all_topics`. timeout_s: seconds for each request. client: further
    settings of the client, such as those of TLS and SASL.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        replication_factor: int = 1,
        partitions: int | None = None,
        timeout_s: float = 15.0,
        client: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        if replication_factor < 1:
            raise ConfigurationError("the replication factor is at least 1")
        if partitions is not None and partitions < 1:
            raise ConfigurationError("the number of partitions is at least 1")
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._replication_factor = replication_factor
        self._topics = all_topics(partitions)
        self._timeout_s = timeout_s
        try:
            self._client = AdminClient(
                {**(client or {}), "bootstrap.servers": bootstrap},
                logger=logging.getLogger("leadstream.kafka"),
            )
        except KafkaException as error:
            raise self._explain(error, "connect") from error

    def describe(self) -> list[TopicState]:
        """Every topic of the list as it is on the broker, in the list's order.

        Raises BrokerUnavailable and ConfigurationError.
        """
        try:
            found = self._client.list_topics(timeout=self._timeout_s).topics
        except KafkaException as error:
            raise self._explain(error, "list topics") from error
        present = [name for name in map(self._full_name, self._topics) if _usable(found, name)]
        settings = self._settings(present)
        states = []
        for each in self._topics.values():
            name = self._full_name(each.name)
            if name not in settings:
                states.append(TopicState(each, name, None, None))
                continue
            partitions = found[name].partitions
            replicas = min(len(partition.replicas) for partition in partitions.values())
            differences = self._differences(each, len(partitions), replicas, settings[name])
            states.append(TopicState(each, name, len(partitions), replicas, differences))
        return states

    def create(self) -> Creation:
        """Create the topics that are missing and wait until the broker shows them.

        Raises BrokerUnavailable and ConfigurationError; what was created before stays.
        """
        missing = {state.name: state.topic for state in self.describe() if not state.exists}
        created: list[str] = []
        if missing:
            futures = self._client.create_topics(
                [
                    NewTopic(
                        name,
                        num_partitions=each.partitions,
                        replication_factor=self._replication_factor,
                        config=config(each, self._replication_factor),
                    )
                    for name, each in missing.items()
                ],
                operation_timeout=self._timeout_s,
                request_timeout=self._timeout_s,
            )
            created = [name for name, future in futures.items() if self._was_created(name, future)]
        deadline = time.monotonic() + self._timeout_s
        while True:
            states = self.describe()
            absent = [state.name for state in states if not state.exists]
            if not absent:
                return Creation(tuple(created), tuple(states))
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"{self._bootstrap} accepted but does not show {', '.join(absent)}; try again"
                )
            time.sleep(_PAUSE_S)

    def delete(self) -> None:
        """Delete all topics under the prefix, which must not be empty: runs of one's own only."""
        if not self._prefix:
            raise ConfigurationError("topics without a prefix are never deleted")
        found = self._client.list_topics(timeout=self._timeout_s).topics
        mine = [name for name in found if name.startswith(self._prefix)]
        if mine:
            for future in self._client.delete_topics(mine).values():
                future.result(self._timeout_s + 5)

    def _full_name(self, name: str) -> str:
        return topic_name(name, self._prefix)

    def _was_created(self, name: str, future: Future[None]) -> bool:
        try:
            future.result(self._timeout_s + 5)
        except TimeoutError as error:
            raise BrokerUnavailable(f"{self._bootstrap} did not create {name} in time") from error
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False  # somebody else created it in the meantime
            raise self._explain(error, f"create {name}") from error
        return True

    def _settings(self, names: list[str]) -> dict[str, dict[str, str | None]]:
        """Broker settings by topic of those that still exist."""
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        futures = self._client.describe_configs(resources, request_timeout=self._timeout_s)
        found: dict[str, dict[str, str | None]] = {}
        for resource, future in futures.items():
            try:
                entries = future.result(self._timeout_s + 5)
            except TimeoutError as error:
                raise BrokerUnavailable(
                    f"{self._bootstrap} did not describe {resource.name} in time"
                ) from error
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise self._explain(error, f"describe {resource.name}") from error
            found[resource.name] = {key: entry.value for key, entry in entries.items()}
        return found

    def _differences(
        self, each: Topic, partitions: int, replicas: int, settings: Mapping[str, str | None]
    ) -> tuple[Difference, ...]:
        wanted = {
            "partitions": str(each.partitions),
            "replication.factor": str(self._replication_factor),
            **config(each, self._replication_factor),
        }
        actual = {
            **settings,
            "partitions": str(partitions),
            "replication.factor": str(replicas),
        }
        return tuple(
            Difference(key, value, actual.get(key))
            for key, value in wanted.items()
            if actual.get(key) != value
        )

    def _explain(
        self, error: KafkaException, action: str
    ) -> BrokerUnavailable | ConfigurationError:
        cause: KafkaError = error.args[0]
        where = f"cannot {action} at {self._bootstrap}: {cause.str()}"
        if cause.code() in _UNREACHABLE:
            return BrokerUnavailable(
                f"{where}; is a broker running there? `leadstream dev up` starts one on this "
                "machine"
            )
        if cause.code() == KafkaError.INVALID_REPLICATION_FACTOR:
            return ConfigurationError(
                f"{where}; give a --replication-factor of at most the number of brokers"
            )
        if cause.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        ):
            return ConfigurationError(
                f"{where}; the client needs the right to create and describe these topics"
            )
        return ConfigurationError(where)


def _usable(found: Mapping[str, object], name: str) -> bool:
    metadata = found.get(name)
    return metadata is not None and bool(getattr(metadata, "partitions", None))
