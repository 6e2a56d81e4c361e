"""Follows several topics from their start, ``read_committed``, as columns with their log times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from aiokafka import TopicPartition
from numpy.typing import NDArray

from streams.app import new_codec
from streams.engine.slice_consumer import SliceConsumer
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Read:
    """Records of one partition: columns, and when the broker appended each (ms since 1970)."""

    topic: str
    values: pa.RecordBatch
    appended_ms: NDArray[np.int64]


class Tail:
    """A subscriber without a group. Use all of it in one thread; it has an event loop of its own.

    Args:
        settings: Broker and prefix.
        topics: Logical topics with their partition counts.
    """

    def __init__(self, settings: Settings, topics: Mapping[str, int]) -> None:
        self._topics = {settings.topic_prefix + name: name for name in topics}
        make = new_codec(settings)
        self._codecs = {name: make(name) for name in topics}
        self._places = [
            TopicPartition(physical, partition)
            for physical, name in self._topics.items()
            for partition in range(topics[name])
        ]
        self._bootstrap = settings.kafka_bootstrap
        self._loop = asyncio.new_event_loop()

    def open(self) -> None:
        """Connect and go to the start of the topics."""
        self._loop.run_until_complete(self._open())

    def read(self, timeout_s: float) -> Iterator[Read]:
        """What came meanwhile; nothing after ``timeout_s`` without records."""
        found = self._loop.run_until_complete(
            self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=64)
        )
        for place, parts in found.items():
            topic = self._topics[place.topic]
            for part in parts:
                if len(part):
                    decoded = self._codecs[topic].decode(part)
                    yield Read(topic, decoded.values, part.timestamps[decoded.rows])

    def close(self) -> None:
        """Disconnect."""
        self._loop.run_until_complete(self._consumer.stop())
        self._loop.close()

    async def _open(self) -> None:
        self._consumer = SliceConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        self._consumer.assign(self._places)
        await self._consumer.start()
        await self._consumer.seek_to_beginning(*self._places)
