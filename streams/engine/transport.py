"""Faust's transport with one message per partition and fetch instead of one per record.

Faust keeps the subscription, the group and the life cycle. aiokafka fetches, on the worker's own
event loop (Faust's extra consumer thread costs 20 ms a hop); records arrive as
:class:`~streams.engine.records.RecordSlice`, ``read_committed``. Where to read from is the task's
decision alone: partitions stay paused until their task has seeked them to its progress.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

import aiokafka
import structlog
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as faust_driver
from faust.types import TP, ConsumerMessage

from streams.engine.errors import InvalidRecord
from streams.engine.records import RecordSlice
from streams.engine.slice_consumer import SliceConsumer

log = structlog.get_logger(__name__)

_DAMAGED_TRIES = 5
_AGAIN_S = 0.5
_CONNECT_S = 60.0


class EngineConsumer(Consumer):
    """Faust's consumer on the worker's own loop, in slices; acknowledging is a hint only."""

    logger = faust_driver.logger
    consumer_stopped_errors = (aiokafka.errors.ConsumerStoppedError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client: SliceConsumer | None = None
        self._hints: dict[TP, int] = {}
        self._generation = 0

    @property
    def client(self) -> SliceConsumer:
        """The aiokafka consumer; there once the service has started."""
        if self._client is None:
            raise RuntimeError("the consumer has not started yet")
        return self._client

    async def on_start(self) -> None:
        """Connect; a broker that is restarting is waited for.

        Raises:
            KafkaConnectionError: no broker answered for a minute, or a stop was asked meanwhile.
        """
        give_up = time.monotonic() + _CONNECT_S
        while self._client is None:
            client = self._new_client()
            try:
                await client.start()
            except KafkaConnectionError as error:
                await client.stop()
                if time.monotonic() > give_up:
                    raise
                log.warning("broker_unreachable", reason=str(error), again_in_s=_AGAIN_S)
                await self.sleep(_AGAIN_S)
                if self.should_stop:
                    raise
            else:
                self._client = client

    def _new_client(self) -> SliceConsumer:
        conf = self.app.conf
        transport = cast(faust_driver.Transport, self.transport)
        return SliceConsumer(
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
        self._generation += 1
        for tp in tps:
            self.client.pause(tp)
            self.client.seek(tp, 0)

    def rebalancing(self) -> None:
        """What was fetched so far belongs to an assignment that ends."""
        self._generation += 1
        self._hints = {}  # whoever gets the partitions says anew how far they are

    def seek_to(self, tp: TopicPartition, offset: int) -> None:
        """Read on from ``offset``; a partition that was revoked meanwhile is left alone."""
        try:
            self.client.seek(tp, offset)
        except IllegalStateError:
            log.info("partition_gone_before_seek", topic=tp.topic, partition=tp.partition)

    def pause(self, tp: TopicPartition) -> None:
        """Stop fetching a partition for a while."""
        if tp in self.client.assignment():
            self.client.pause(tp)

    def resume(self, tp: TopicPartition) -> None:
        """Fetch again where fetching stopped."""
        if tp in self.client.assignment():
            self.client.resume(tp)

    def behind(self, partition: int, positions: Mapping[str, int]) -> dict[str, int]:
        """Offsets, per topic, between a position and the end of the log, as far as known."""
        mine = self.client.assignment() if self._client else set()
        out = {}
        for topic, position in positions.items():
            tp = TopicPartition(topic, partition)
            end = self.client.last_stable_offset(tp) if tp in mine else None
            out[topic] = max(0, (end or 0) - position)
        return out

    async def is_member(self) -> bool:
        """Ask the coordinator whether our generation of the group is the current one."""
        coordinator = self.client._coordinator
        generation = coordinator.generation
        if generation < 0 or coordinator._rejoin_needed_fut.done():
            return False
        try:
            known = await coordinator._do_heartbeat()
        except KafkaError as error:
            log.info("membership_unknown", reason=str(error))
            return False
        # a rebalance in progress is answered with "known", and asks for a new join
        return bool(
            known
            and coordinator.generation == generation
            and not coordinator._rejoin_needed_fut.done()
        )

    # -- reading: one Faust message a slice

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        return await self.client.getmany(timeout_ms=int(timeout * 1000), max_records=64)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            await self._drain(fetcher)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except asyncio.CancelledError:
            # Faust takes a stop in the middle of a rebalance for a crash of the fetcher
            if not (self.should_stop or fetcher.should_stop):
                raise
        except Exception as error:
            log.exception("reading_failed")
            self.app.engine.failed(error)

    async def _drain(self, fetcher: Any) -> None:
        damaged = 0
        while not (self.should_stop or fetcher.should_stop):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)
                continue
            generation = self._generation
            try:
                slices = await self._getmany(None, 0.2)
                damaged = 0
            except IllegalStateError:
                await asyncio.sleep(0.05)  # in the middle of a rebalance
                continue
            except NoOffsetForPartitionError:
                continue  # its task has not said yet where to begin
            except OffsetOutOfRangeError as error:
                for tp in error.args[0]:
                    log.warning("position_lost", topic=tp.topic, partition=tp.partition)
                    self.pause(tp)
                    self.app.engine.position_lost(tp.partition)
                continue
            except InvalidRecord as error:
                damaged += 1
                if damaged > _DAMAGED_TRIES:
                    raise
                log.warning("damaged_batch", reason=str(error), action="fetched again")
                await asyncio.sleep(_AGAIN_S)
                continue
            except KafkaError as error:
                if not error.retriable:
                    raise
                log.warning("fetch_failed", reason=repr(error))
                await asyncio.sleep(_AGAIN_S)
                continue
            for tp, parts in slices.items():
                for part in parts:
                    if self.flow_active and self._generation == generation:
                        await self.callback(self._to_message(tp, part))
                    else:
                        # the position has moved on; with a new task that has set it already,
                        # nothing else would notice before the next record comes
                        self.app.engine.slice_dropped(part.topic, part.partition)
            await asyncio.sleep(0)

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

    # -- acknowledging: the group's offsets are a hint for monitors, progress is in the changelog

    def acknowledge(self, tp: TopicPartition, next_offset: int) -> None:
        """Say that everything below ``next_offset`` is committed in Kafka."""
        self._hints[TP(tp.topic, tp.partition)] = next_offset

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the hints to the group, unless it is about to rebalance.

        A commit that the group refuses makes aiokafka forget its membership and join again: done
        in the middle of a rebalance it would begin the next one, and so on for ever.
        """
        if self._client is None or self._client._coordinator._rejoin_needed_fut.done():
            return False
        hints, self._hints = self._hints, {}
        mine = self.client.assignment()
        offsets = {
            TopicPartition(*tp): OffsetAndMetadata(offset, "")
            for tp, offset in hints.items()
            if TopicPartition(*tp) in mine
        }
        if offsets:
            generation = self._generation
            try:
                await self.client.commit(offsets)
            except (CommitFailedError, IllegalStateError, KafkaError) as error:
                if self._generation == generation:
                    self._hints = {**hints, **self._hints}
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


class _Listener(aiokafka.ConsumerRebalanceListener):
    def __init__(self, consumer: EngineConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        consumer = self._consumer
        consumer.rebalancing()
        consumer.app.on_rebalance_start()
        await consumer.on_partitions_revoked({TP(*tp) for tp in revoked})

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        consumer = self._consumer
        assigned = list(assigned)
        consumer.pause_now(assigned)
        generation = consumer.client._coordinator.generation
        consumer.app.consumer_generation_id = generation
        await consumer.on_partitions_assigned({TP(*tp) for tp in assigned}, generation)
