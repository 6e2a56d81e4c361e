"""Sends record batches to Kafka: Avro in the Confluent wire format, idempotent, in order.

``produce_batch`` of confluent-kafka drops messages without raising: it returns a smaller count and
leaves an ``_error`` in the message. So the queue is given room before each call, and each call is
checked: a full queue is waited for and the rest sent again in order, any other error ends the
import.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import pyruhvro
from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from connectors.files.errors import DeliveryError
from connectors.files.records import INDICATORS_TOPIC, schema_of
from schemas.registry import Registry, header, schema_json

QUEUE_MESSAGES = 100_000
DELIVERY_TIMEOUT_S = 120.0
"""A record that is not acknowledged for so long ends the import."""

_ANSWER_S = 15.0
_POLL_S = 0.05


class KafkaSink:
    """Sink of an import on a Kafka cluster. Opening it asks the broker for the topics.

    bootstrap: host:port,…; topics: names without prefix that will be written; config: librdkafka
    settings to add, such as those of TLS and SASL; registry: says which schema ids to write.
    Raises DeliveryError when the broker does not answer or lacks a topic, RegistryUnavailable or
    SchemaRejected when the registry does not give an id.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Collection[str],
        prefix: str = "",
        config: Mapping[str, Any] | None = None,
        registry: Registry | None = None,
    ) -> None:
        self._prefix = prefix
        self._bootstrap = bootstrap
        self._failed = 0
        self._first_error = ""
        # what goes wrong is said once, by DeliveryError
        common = {"bootstrap.servers": bootstrap, "log_level": 2, **(config or {})}
        self._destination = self._identify(AdminClient(common), [prefix + t for t in topics])
        ids = registry or Registry()
        self._heads = {t: header(ids.writing_id(schema_of(t), prefix + t)) for t in topics}
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 20,
                "batch.num.messages": 10_000,
                "batch.size": 1 << 20,
                "queue.buffering.max.messages": QUEUE_MESSAGES,
                "delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000),
                "delivery.report.only.error": True,
                **common,
            }
        )

    def destination(self) -> str:
        """Cluster id and the ids of the topics: a topic made anew is another destination."""
        return self._destination

    def send(self, topic: str, records: Any) -> None:
        """Queues a RecordBatch [n] for a topic (without prefix), in order."""
        head = self._heads[topic]
        parts = pyruhvro.serialize_record_batch(records, schema_json(schema_of(topic)), 1)
        values = [head + value for part in parts for value in part.to_pylist()]
        messages = [
            {"key": key, "value": value}
            for key, value in zip(_keys(topic, records), values, strict=True)
        ]
        for start in range(0, len(messages), QUEUE_MESSAGES // 2):
            self._produce(self._prefix + topic, messages[start : start + QUEUE_MESSAGES // 2])

    def flush(self) -> None:
        """Waits for all acknowledgements. Raises DeliveryError when some will not come."""
        deadline = time.monotonic() + DELIVERY_TIMEOUT_S + _ANSWER_S
        while self._producer.flush(1.0):
            self._check()
            if time.monotonic() > deadline:
                raise DeliveryError(
                    f"{len(self._producer)} records were not acknowledged by {self._bootstrap}"
                    f" within {DELIVERY_TIMEOUT_S:.0f} s; run the command again to go on"
                )
        self._check()

    def _identify(self, admin: AdminClient, names: list[str]) -> str:
        try:
            cluster = admin.list_topics(timeout=_ANSWER_S)
            missing = sorted(set(names) - set(cluster.topics))
            if missing:
                raise DeliveryError(
                    f"{self._bootstrap} has no topic {', '.join(missing)}; make the topics with:"
                    " leadstream topics create"
                )
            futures = admin.describe_topics(TopicCollection(names), request_timeout=_ANSWER_S)
            ids = {name: str(future.result().topic_id) for name, future in futures.items()}
        except KafkaException as error:
            raise DeliveryError(
                f"the broker at {self._bootstrap} does not answer: {error.args[0].str()}"
            ) from error
        return " ".join([str(cluster.cluster_id), *(f"{n}={ids[n]}" for n in sorted(names))])

    def _produce(self, topic: str, messages: list[dict[str, Any]]) -> None:
        self._wait_for_room(len(messages))
        while messages:
            try:
                queued = self._producer.produce_batch(
                    topic, messages, on_delivery=self._on_delivery
                )
            except BufferError:
                queued = 0
            left = [message for message in messages if "_error" in message]
            if queued == 0 and not left:
                left = messages
            if queued + len(left) != len(messages):
                raise DeliveryError(
                    f"{topic}: the producer took {queued} of {len(messages)} records and says"
                    f" nothing about {len(messages) - queued - len(left)} of them"
                )
            for message in left:
                self._refuse_unless_full(topic, message.pop("_error", None))
            messages = left
            self._producer.poll(_POLL_S if left else 0)
            self._check()

    def _wait_for_room(self, count: int) -> None:
        """Makes a full queue rare: within a batch it would put later records before earlier."""
        while len(self._producer) + count > QUEUE_MESSAGES:
            self._producer.poll(_POLL_S)
            self._check()

    def _refuse_unless_full(self, topic: str, error: Any) -> None:
        code = error.code() if isinstance(error, KafkaError) else KafkaError._QUEUE_FULL
        if code != KafkaError._QUEUE_FULL:
            raise DeliveryError(f"{topic}: a record cannot be sent: {error}")

    def _on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self._failed += 1
            self._first_error = self._first_error or error.str()

    def _check(self) -> None:
        if self._failed:
            raise DeliveryError(
                f"{self._failed} records were not delivered to {self._bootstrap}:"
                f" {self._first_error}; run the command again to go on"
            )


def _keys(topic: str, records: Any) -> list[str]:
    """Message keys of our topics: workspace, for indicators workspace/series."""
    workspaces: list[str] = records.column("workspace").to_pylist()
    if topic != INDICATORS_TOPIC:
        return workspaces
    series = records.column("series").to_pylist()
    return [f"{w}/{s}" for w, s in zip(workspaces, series, strict=True)]
