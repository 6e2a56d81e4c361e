"""An aiokafka consumer that hands over slices of columns instead of record after record.

aiokafka does the network, the group and the positions; two of its classes, which parse a record
set and iterate over it, are exchanged for ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import consumer as _consumer_module
from aiokafka.consumer import fetcher as _fetcher_module

from streams.engine.records import RecordReader, RecordSlice

MAX_SLICE_ROWS = 8192
FETCH_EVERY_S = 0.01
_UNTIL_SEEK_S = 0.02


class _RawRecords:
    """Stands where aiokafka would parse a record set: keeps the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = bytes(data)

    def has_next(self) -> bool:
        """Whether at least one whole record batch is there."""
        return len(self.data) > 12 and len(self.data) >= 12 + int.from_bytes(self.data[8:12], "big")

    def size_in_bytes(self) -> int:
        """Bytes of the record set."""
        return len(self.data)


class _SliceRecords:
    """Stands where aiokafka would iterate over records: yields slices."""

    def __init__(
        self,
        tp: TopicPartition,
        records: _RawRecords,
        aborted_transactions: list[tuple[int, int]] | None,
        fetch_offset: int,
        key_deserializer: None,
        value_deserializer: None,
        check_crcs: bool,
        isolation_level: int,
    ) -> None:
        aborted = aborted_transactions if isolation_level else None
        self._reader = RecordReader(
            tp.topic, tp.partition, records.data, aborted, fetch_offset, check_crc=check_crcs
        )
        self._slices = self._reader.slices(MAX_SLICE_ROWS)
        self._end = fetch_offset

    @property
    def next_fetch_offset(self) -> int:
        """Where the fetcher goes on."""
        return self._end

    def __iter__(self) -> Iterator[RecordSlice]:
        return self

    def __next__(self) -> RecordSlice:
        try:
            part = next(self._slices)
        except StopIteration:
            self._end = self._reader.next_offset
            raise
        self._end = part.next_offset
        return part


def _rebound(function: Any, **names: Any) -> Any:
    """Copy ``function`` with some of its module's names bound to ours.

    aiokafka names its record classes inside long methods; this replaces two names for our
    subclass only, where patching the module would change every consumer of the process.
    """
    scope = {**function.__globals__, **names}
    return FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )


class _SliceFetcher(_fetcher_module.Fetcher):
    _fetch = _rebound(
        _fetcher_module.Fetcher._proc_fetch_request,
        MemoryRecords=_RawRecords,
        PartitionRecords=_SliceRecords,
    )

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        """Fetch, but not again at once.

        A broker answers as soon as it has one record: at a few thousand events a second that
        would be an answer, and a slice to decode, for every handful of them.
        """
        fetched_at: dict[int, float] = self.__dict__.setdefault("_fetched_at", {})
        soonest = fetched_at.get(node_id, 0.0) + FETCH_EVERY_S
        if (wait := soonest - time.monotonic()) > 0:
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                return False  # as a fetch that is called off: raised, it would end all fetching
        fetched_at[node_id] = time.monotonic()
        return bool(await self._fetch(assignment, node_id, request))

    async def _update_fetch_positions(self, assignment: Any, node_id: int, tps: Any) -> bool:
        """Find out where to read a partition from, unless somebody else will say so.

        Without a reset policy it is the task that seeks. To ask the group for its offsets as well
        would keep the whole node from being fetched while the group's coordinator is away.
        """
        if self._default_reset_strategy == _fetcher_module.OffsetResetStrategy.NONE:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(_UNTIL_SEEK_S)
            return False
        changed = await super()._update_fetch_positions(assignment, node_id, tps)
        return bool(changed)


class SliceConsumer(AIOKafkaConsumer):
    """An aiokafka consumer whose records are slices: ``getmany`` gives ``{tp: [RecordSlice]}``."""

    start = _rebound(_consumer_module.AIOKafkaConsumer.start, Fetcher=_SliceFetcher)
