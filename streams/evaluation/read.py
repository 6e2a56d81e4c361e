"""Reads a topic back as columns, ``read_committed``, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import pyarrow as pa
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.app import new_codec
from streams.engine.errors import BrokerUnavailable, ConfigurationError
from streams.engine.slice_consumer import SliceConsumer
from streams.settings import Settings


class TopicReader:
    """A subscriber without a group, from the start of a topic.

    Args:
        settings: Broker and prefix.
        topic: Logical name.
        to_end: :meth:`read` returns nothing once the end of when it opened was reached.

    Raises:
        BrokerUnavailable: on entering, no broker answers.
        ConfigurationError: on entering, there is no such topic.
    """

    def __init__(self, settings: Settings, topic: str, *, to_end: bool = False) -> None:
        self._settings, self._topic, self._to_end = settings, topic, to_end
        self._codec = new_codec(settings)(topic)
        self._loop = asyncio.new_event_loop()
        self._ends: dict[TopicPartition, int] = {}

    def __enter__(self) -> Self:
        self._loop.run_until_complete(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.run_until_complete(self._consumer.stop())
        self._loop.close()

    async def _open(self) -> None:
        self._consumer = SliceConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        where, name = self._settings.kafka_bootstrap, self._settings.topic_prefix + self._topic
        try:
            await self._consumer.start()
        except KafkaConnectionError as error:
            await self._consumer.stop()
            raise BrokerUnavailable(f"no broker answers at {where}") from error
        await self._consumer._client.force_metadata_update()
        found = self._consumer._client.cluster.partitions_for_topic(name)
        if not found:
            self._consumer._client.set_topics([name])
            await self._consumer._client.force_metadata_update()
            found = self._consumer._client.cluster.partitions_for_topic(name)
        if not found:
            await self._consumer.stop()
            raise ConfigurationError(
                f"{where} has no topic {name}; make the topics with: leadstream topics create"
            )
        tps = [TopicPartition(name, p) for p in sorted(found)]
        self._consumer.assign(tps)
        await self._consumer.seek_to_beginning(*tps)
        self._ends = await self._consumer.end_offsets(tps)

    def read(self, timeout_s: float) -> list[pa.RecordBatch]:
        """Return decoded batches as they come; empty after ``timeout_s`` or at the end."""
        return self._loop.run_until_complete(self._read(timeout_s))

    async def _read(self, timeout_s: float) -> list[pa.RecordBatch]:
        out: list[pa.RecordBatch] = []
        while not out:
            if self._to_end and await self._at_end():
                return []
            found = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=16)
            for parts in found.values():
                out += [self._codec.decode(p).values for p in parts if len(p)]
            if not found and not self._to_end:
                return []
        return out

    async def _at_end(self) -> bool:
        for tp, end in self._ends.items():
            if await self._consumer.position(tp) < end:
                return False
        return True
