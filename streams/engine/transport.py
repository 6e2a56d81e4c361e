"""Faust's transport with one message per partition and fetch instead of one per record.

Faust keeps the subscription, the group and the life cycle. aiokafka fetches, on the worker's own
event loop (Faust's extra consumer thread costs 20 ms a hop); records arrive as
:class:`~streams.engine.records.RecordSlice`, ``read_committed``. Where to read from is the task's
decision alone: partitions stay paused until their task has seeked them to its progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, cast

import aiokafka
import faust
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import consumer as _consumer_module
from aiokafka.consumer import fetcher as _fetcher_module
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as faust_driver
from faust.types import TP, ConsumerMessage

from streams.engine.records import RecordReader, RecordSlice

log = structlog.get_logger(__name__)

MAX_SLICE_ROWS = 8192


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


class _SliceFetcher(_fetcher_module.Fetcher):  # type: ignore[misc]
    _proc_fetch_request = _rebound(
        _fetcher_module.Fetcher._proc_fetch_request,
        MemoryRecords=_RawRecords,
        PartitionRecords=_SliceRecords,
    )


class SliceConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """An aiokafka consumer whose records are slices: ``getmany`` gives ``{tp: [RecordSlice]}``."""

    start = _rebound(_consumer_module.AIOKafkaConsumer.start, Fetcher=_SliceFetcher)


class EngineConsumer(Consumer):  # type: ignore[misc]
    """Faust's consumer on the worker's own loop, in slices; acknowledging is a hint only."""

    logger = faust_driver.logger
    consumer_stopped_errors = (aiokafka.errors.ConsumerStoppedError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client: SliceConsumer | None = None
        self._hints: dict[TP, int] = {}

    @property
    def client(self) -> SliceConsumer:
        """The aiokafka consumer; there once the service has started."""
        if self._client is None:
            raise RuntimeError("the consumer has not started yet")
        return self._client

    async def on_start(self) -> None:
        """Connect."""
        conf = self.app.conf
        transport = cast(faust_driver.Transport, self.transport)
        self._client = SliceConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=faust_driver.server_list(transport.url, transport.default_port),
            # by number, topic by topic: one worker gets partition p of all inputs of a task
            partition_assignment_strategy=[RangePartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=500,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            check_crcs=conf.broker_check_crcs,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            **faust_driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )
        await self._client.start()

    async def on_stop(self) -> None:
        """Leave the group and disconnect."""
        await super().on_stop()
        if self._client is not None:
            await self._client.stop()

    # -- subscription

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe; a rebalance follows."""
        self.client.subscribe(topics=list(topics), listener=_Listener(self))

    def pause_now(self, tps: Iterable[TopicPartition]) -> None:
        """Pause fetching at once and park the position, so that nothing is read before a seek."""
        for tp in tps:
            self.client.pause(tp)
            self.client.seek(tp, 0)

    def start_at(self, tp: TopicPartition, offset: int) -> None:
        """Seek and fetch; a partition that was revoked meanwhile is left alone."""
        try:
            self.client.seek(tp, offset)
            self.client.resume(tp)
        except IllegalStateError:
            log.info("partition_gone_before_start", topic=tp.topic, partition=tp.partition)

    def pause(self, tp: TopicPartition) -> None:
        """Stop fetching a partition for a while."""
        if tp in self.client.assignment():
            self.client.pause(tp)

    def resume(self, tp: TopicPartition) -> None:
        """Fetch again where fetching stopped."""
        if tp in self.client.assignment():
            self.client.resume(tp)

    # -- reading: one Faust message a slice

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        return await self.client.getmany(timeout_ms=int(timeout * 1000), max_records=64)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                    continue
                try:
                    slices = await self._getmany(None, 0.2)
                except IllegalStateError:
                    await asyncio.sleep(0.05)  # in the middle of a rebalance
                    continue
                for tp, parts in slices.items():
                    for part in parts:
                        if self.flow_active:
                            await self.callback(self._to_message(tp, part))
                await asyncio.sleep(0)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise

    def _to_message(self, tp: Any, record: RecordSlice) -> ConsumerMessage:
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.offset,
            record.timestamps[-1] / 1000.0 if len(record) else 0.0,
            0,
            None,
            None,
            record,
            None,
            tp=TP(record.topic, record.partition),
            generation_id=self.app.consumer_generation_id,
        )

    # -- acknowledging: the group's offsets are a hint for lag monitors, progress is in the changelog

    def acknowledge(self, tp: TopicPartition, next_offset: int) -> None:
        """Say that everything below ``next_offset`` is committed in Kafka."""
        self._hints[TP(tp.topic, tp.partition)] = next_offset

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the hints to the group."""
        hints, self._hints = self._hints, {}
        mine = self.client.assignment() if self._client else set()
        offsets = {
            TopicPartition(*tp): OffsetAndMetadata(offset, "")
            for tp, offset in hints.items()
            if TopicPartition(*tp) in mine
        }
        if offsets:
            try:
                await self.client.commit(offsets)
            except (CommitFailedError, IllegalStateError, KafkaError) as error:
                log.info("group_commit_skipped", reason=str(error))
        return bool(offsets)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return False

    async def wait_empty(self) -> None:
        """Nothing to wait for: tasks finish their commit when they are closed."""

    async def commit_and_end_transactions(self) -> None:
        """Last hints before leaving."""
        await self.commit()

    # -- what Faust asks for, answered from aiokafka

    async def perform_seek(self) -> None:
        """Tasks seek; the group's offsets are never used."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Never; see :meth:`perform_seek`."""
        return {}

    async def _seek(self, partition: TP, offset: int) -> None:
        self.client.seek(TopicPartition(*partition), offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek several partitions."""
        for tp, offset in partitions.items():
            await self._seek(tp, offset)

    def assignment(self) -> set[TP]:
        """Partitions of this worker."""
        return {TP(*tp) for tp in self.client.assignment()}

    def highwater(self, tp: TP) -> int:
        """End of the committed log as far as known."""
        return int(self.client.last_stable_offset(TopicPartition(*tp)) or 0)

    def topic_partitions(self, topic: str) -> int | None:
        """Partition count of a topic."""
        found = self.client.partitions_for_topic(topic)
        return len(found) if found else None

    async def position(self, tp: TP) -> int | None:
        """Next offset to fetch."""
        return int(await self.client.position(TopicPartition(*tp)))

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Start of the logs."""
        return cast(Mapping[TP, int], await self.client.beginning_offsets(list(partitions)))

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Ends of the logs."""
        return cast(Mapping[TP, int], await self.client.end_offsets(list(partitions)))

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int:
        """Not used: the engine writes with its own producers."""
        raise NotImplementedError

    async def create_topic(self, topic: str, *args: Any, **kwargs: Any) -> None:
        """Never: topics are created by ``leadstream topics create``."""

    def close(self) -> None:
        """Nothing beyond :meth:`on_stop`."""


class _Listener(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, consumer: EngineConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        consumer = self._consumer
        consumer.app.on_rebalance_start()
        await consumer.on_partitions_revoked({TP(*tp) for tp in revoked})

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        consumer = self._consumer
        assigned = list(assigned)
        consumer.pause_now(assigned)
        generation = consumer.client._coordinator.generation
        consumer.app.consumer_generation_id = generation
        await consumer.on_partitions_assigned({TP(*tp) for tp in assigned}, generation)


class _NoProducer(faust_driver.Producer):  # type: ignore[misc]
    """Faust's own producer is never used; it opens no connection."""

    async def on_start(self) -> None:
        """Nothing."""

    async def on_stop(self) -> None:
        """Nothing."""

    async def flush(self) -> None:
        """Nothing."""


class EngineTransport(faust_driver.Transport):  # type: ignore[misc]
    """The transport that the worker's Faust app is built with."""

    Consumer = EngineConsumer
    Producer = _NoProducer


class SliceSchema(faust.Schema):  # type: ignore[misc]
    """Hands the slice to the agent as it is."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        """Keys are columns of the slice."""
        return

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> RecordSlice:
        """The slice."""
        return cast(RecordSlice, message.value)
