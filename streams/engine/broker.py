"""Questions that tasks ask the broker, and reading a partition to a given end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from functools import cached_property
from typing import TypeVar

from aiokafka import TopicPartition as AioTopicPartition
from aiokafka.errors import KafkaError as KafkaClientError
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.engine.errors import BrokerUnavailable, ConfigurationError
from streams.engine.records import RecordSlice
from streams.engine.slice_consumer import SliceConsumer

_TIMEOUT_S = 5.0
_ANSWER_S = 8.0  # a client that lost its broker may leave a request without any answer
_TRIES = 5
_READ_BYTES = 8 << 20
_STALL_S = 30.0
T = TypeVar("T")


class KafkaBroker:
    """Answers from a real broker; safe to use from several threads.

    Args:
        bootstrap: ``host:port,…``.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    @cached_property
    def _admin(self) -> AdminClient:
        logger = logging.getLogger("leadstream.kafka")
        return AdminClient({"bootstrap.servers": self._bootstrap}, logger=logger)

    def start_offset(self, topic: str, partition: int) -> int:
        """First offset that the log still has."""
        return self._offset(topic, partition, OffsetSpec.earliest(), committed=False)

    def end_offset(self, topic: str, partition: int, *, committed: bool = True) -> int:
        """End of the log; with ``committed`` the last stable offset."""
        return self._offset(topic, partition, OffsetSpec.latest(), committed=committed)

    def _offset(self, topic: str, partition: int, spec: OffsetSpec, *, committed: bool) -> int:
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        at = TopicPartition(topic, partition)

        def ask(admin: AdminClient) -> int:
            futures = admin.list_offsets(
                {at: spec}, isolation_level=level, request_timeout=_TIMEOUT_S
            )
            return int(futures[at].result(_ANSWER_S).offset)

        return self._ask(ask, f"{topic}-{partition}")

    def topic_id(self, topic: str) -> str:
        """Kafka's id of a topic; another one after it was deleted and created again."""

        def ask(admin: AdminClient) -> str:
            futures = admin.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT_S)
            return str(futures[topic].result(_ANSWER_S).topic_id)

        return self._ask(ask, topic)

    def partitions(self, topics: list[str]) -> dict[str, int]:
        """Partition counts of the topics that exist."""

        def ask(admin: AdminClient) -> dict[str, int]:
            known = admin.list_topics(timeout=_TIMEOUT_S).topics
            return {t: len(known[t].partitions) for t in topics if t in known}

        return self._ask(ask, "the cluster")

    def group_offset(self, group: str, topic: str, partition: int) -> int | None:
        """Offset that a consumer group has committed, or ``None``."""
        request = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])

        def ask(admin: AdminClient) -> int | None:
            futures = admin.list_consumer_group_offsets([request], request_timeout=_TIMEOUT_S)
            found = futures[group].result(_ANSWER_S).topic_partitions[0].offset
            return int(found) if found >= 0 else None

        return self._ask(ask, group)

    def group_members(self, group: str) -> int:
        """How many members a consumer group has now; 0 also for one that never was."""

        def ask(admin: AdminClient) -> int:
            futures = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_S)
            try:
                return len(futures[group].result(_ANSWER_S).members)
            except KafkaException as exception:
                if exception.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return 0
                raise

        return self._ask(ask, group)

    def headers(self, topic: str) -> Iterator[dict[str, str]]:
        """Headers of all committed records of a topic; none when there is no such topic.

        Raises:
            BrokerUnavailable: nothing came for a while.
        """
        count = self.partitions([topic]).get(topic, 0)
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "unused",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(count)])
            while count:
                message = consumer.poll(_STALL_S)
                if message is None:
                    raise BrokerUnavailable(f"{topic}: nothing came for {_STALL_S:.0f} s")
                error = message.error()
                if error is None:
                    found = message.headers() or []
                    yield {k: (v or b"").decode("utf-8", "replace") for k, v in found}
                elif error.code() == KafkaError._PARTITION_EOF:
                    count -= 1
                else:
                    raise BrokerUnavailable(f"{topic}: {error.str()}")
        finally:
            consumer.close()

    def _ask(self, ask: Callable[[AdminClient], T], what: str) -> T:
        for attempt in range(_TRIES):
            try:
                # the reference must outlive the request: other threads may drop the client
                admin = self._admin
                return ask(admin)
            except FutureTimeout as exception:
                if attempt == _TRIES - 1:
                    raise BrokerUnavailable(f"{what}: no answer") from exception
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if error.code() in (
                    KafkaError.UNKNOWN_TOPIC_OR_PART,
                    KafkaError._UNKNOWN_TOPIC,
                    KafkaError._UNKNOWN_PARTITION,
                ):
                    if attempt == _TRIES - 1:
                        raise ConfigurationError(
                            f"{what} does not exist on {self._bootstrap}; run `leadstream topics "
                            "create` (if it was lost with its records, `leadstream rebuild` next)"
                        ) from exception
                elif attempt == _TRIES - 1:
                    raise BrokerUnavailable(f"{what}: {error.str()}") from exception
            # a topic just made, or a leader that moves; the client would keep what it knew of it
            self.__dict__.pop("_admin", None)
            time.sleep(0.05 * 2**attempt)
        raise AssertionError("unreachable")

    def read(
        self,
        topic: str,
        partition: int,
        end: int,
        apply: Callable[[RecordSlice], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Read a partition ``read_committed`` from its start to ``end``. Blocks; own event loop.

        Raises:
            BrokerUnavailable: nothing came for a while, or ``cancelled`` said so.
        """
        asyncio.run(read_to_end(self._bootstrap, topic, partition, end, apply, cancelled))


async def read_to_end(
    bootstrap: str,
    topic: str,
    partition: int,
    end: int,
    apply: Callable[[RecordSlice], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Hand every slice of a partition below ``end`` to ``apply``, in order."""
    if end <= 0:
        return
    tp = AioTopicPartition(topic, partition)
    consumer = SliceConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=_READ_BYTES,
        fetch_max_bytes=4 * _READ_BYTES,
        check_crcs=True,
    )
    consumer.assign([tp])
    where = f"{topic}-{partition}"
    try:
        try:
            await consumer.start()
            await consumer.seek_to_beginning(tp)
        except KafkaClientError as error:
            raise BrokerUnavailable(f"{where}: {error}") from error
        deadline = time.monotonic() + _STALL_S
        while await consumer.position(tp) < end:
            if cancelled():
                raise BrokerUnavailable(f"{where}: reading was cancelled")
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"{where}: nothing came for {_STALL_S:.0f} s")
            for parts in (await consumer.getmany(timeout_ms=500, max_records=16)).values():
                deadline = time.monotonic() + _STALL_S
                for part in parts:
                    if len(part):
                        apply(part if part.next_offset <= end else _below(part, end))
    finally:
        await consumer.stop()


def _below(part: RecordSlice, end: int) -> RecordSlice:
    return part.rows(0, int((part.offsets < end).sum()))
