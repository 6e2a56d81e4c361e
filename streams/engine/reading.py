"""Reading a partition to a given end from ordinary, blocking code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aiokafka import TopicPartition

from streams.engine.records import RecordSlice
from streams.engine.slice_consumer import SliceConsumer


def read_partition(
    bootstrap: str, topic: str, partition: int, end: int, start: int | None = None
) -> Iterator[RecordSlice]:
    """Yield the slices of a partition below ``end``, ``read_committed``, in order.

    Args:
        start: First offset; the start of the log by default.
    """
    loop = asyncio.new_event_loop()
    tp = TopicPartition(topic, partition)

    async def opened() -> SliceConsumer:
        consumer = SliceConsumer(
            bootstrap_servers=bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=8 << 20,
        )
        consumer.assign([tp])
        await consumer.start()
        if start is None:
            await consumer.seek_to_beginning(tp)
        else:
            consumer.seek(tp, start)
        return consumer

    try:
        consumer = loop.run_until_complete(opened())
        try:
            while loop.run_until_complete(consumer.position(tp)) < end:
                found = loop.run_until_complete(consumer.getmany(timeout_ms=500, max_records=16))
                for part in found.get(tp, []):
                    part = part.rows(0, int((part.offsets < end).sum()))
                    if len(part):
                        yield part
        finally:
            loop.run_until_complete(consumer.stop())
    finally:
        loop.close()
