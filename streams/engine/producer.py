"""One transaction at a time on confluent-kafka, with its traps handled.

The client drops records of a batch without raising: each has an error of its own, and a transaction
that lost some would commit without a word. So every call is checked, and nothing is committed
unless all records were taken.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import structlog
from confluent_kafka import KafkaError, KafkaException

from streams.engine.column_producer import ColumnProducer
from streams.engine.errors import BrokerUnavailable, TaskError, TaskFenced, TransactionAborted
from streams.engine.packed import Packed

log = structlog.get_logger(__name__)

_CALL_S = 2.0  # one try; short, so that a worker that is told to stop notices
_QUEUE_WAIT_S = 30.0
_CLOSE_S = 2.0


class MessageTooLarge(TaskError):
    """The broker or client refuses a message of this size; its cause goes to the dead letters.

    The broker does not say which record of a batch it refuses: it is the topic's largest one that
    is named.
    """

    def __init__(self, topic: str, key: bytes | None, size: int) -> None:
        super().__init__(
            f"a record of {size} bytes is too large for topic {topic}; raise its max.message.bytes "
            "or send less in one event"
        )
        self.topic, self.key, self.size = topic, key, size


class TransactionalProducer:
    """Writes batches of records inside transactions of one stable transactional id.

    Args:
        transactional_id: ``<role>-<partition>``; the next owner of the id fences this one.
        config: librdkafka settings: brokers, security, tuning.
        new: Makes the client; exchanged in tests.
    """

    def __init__(
        self,
        transactional_id: str,
        config: Mapping[str, Any],
        new: Callable[[dict[str, Any]], Any] = ColumnProducer,
    ) -> None:
        settings: dict[str, Any] = {
            "linger.ms": 50,  # a commit flushes at once, so this only lets batches fill
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 1 << 20,
            "message.max.bytes": 16 << 20,  # what a topic takes is the broker's to say
            "transaction.timeout.ms": 10_000,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            **config,
            "transactional.id": transactional_id,
            "delivery.report.only.error": True,
            "logger": logging.getLogger("leadstream.kafka"),
        }
        self.transactional_id = transactional_id
        self._room = int(settings["queue.buffering.max.messages"])
        self._largest: dict[str, MessageTooLarge] = {}
        self._open = False
        self._outcome_unknown = False
        self._producer = new(settings)

    def open(self, give_up: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Fence the former owner and finish or abort what it left behind.

        Raises:
            BrokerUnavailable: no answer in time, or ``give_up`` said so.
            TaskFenced: a newer owner exists already.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                # without a connection, looking for the coordinator often sleeps half a second
                self._producer.list_topics("__transaction_state", timeout=_CALL_S)
                self._producer.init_transactions(_CALL_S)
                return
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if error.fatal():
                    raise TaskFenced(f"{self.transactional_id}: {error.str()}") from exception
                if give_up() or time.monotonic() > deadline:
                    raise BrokerUnavailable(
                        f"{self.transactional_id}: the broker did not open transactions within "
                        f"{timeout_s:.0f} s ({error.str()})"
                    ) from exception
                if not _timed_out(error):
                    time.sleep(0.1)

    def begin(self) -> None:
        """Begin a transaction; call it only just before producing (an open one blocks readers)."""
        self._largest = {}
        try:
            self._producer.begin_transaction()
        except KafkaException as exception:
            self._raise_for(exception.args[0], "")
        self._open = True

    def send(
        self,
        topic: str,
        keys: Packed,
        values: Packed,
        partition: int | None = None,
    ) -> None:
        """Produce n records in order.

        Raises:
            MessageTooLarge: one of them can never be written.
            TransactionAborted: the client took some out of order or refused them.
        """
        if len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys for {len(values)} values")
        if not len(values):
            return
        sizes = np.maximum(keys.length, 0) + np.maximum(values.length, 0)
        largest = int(sizes.argmax())
        self._note(topic, keys.rows(largest, largest + 1).to_list()[0], int(sizes[largest]))
        chunk = max(1, self._room // 2)
        for at in range(0, len(values), chunk):
            end = min(at + chunk, len(values))
            self._make_room(end - at)
            self._send_all(topic, keys.rows(at, end), values.rows(at, end), partition)

    def send_one(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        partition: int | None = None,
    ) -> None:
        """Produce one record with headers (batches take none)."""
        self._note(topic, key, len(key or b"") + len(value or b""))
        self._make_room(1)
        where = {} if partition is None else {"partition": partition}
        try:
            self._producer.produce(topic, value=value, key=key, headers=list(headers), **where)
        except KafkaException as exception:
            self._raise_for(exception.args[0], topic)
        except BufferError as exception:
            raise TransactionAborted(f"{topic}: the producer's queue is full") from exception

    def _send_all(self, topic: str, keys: Packed, values: Packed, partition: int | None) -> None:
        deadline = time.monotonic() + _QUEUE_WAIT_S
        while len(values):
            errors = self._producer.produce_columns(topic, keys, values, partition)
            refused = np.flatnonzero(errors)
            if not len(refused):
                return
            for code in np.unique(errors[refused]).tolist():
                if code != KafkaError._QUEUE_FULL:
                    self._raise_for(KafkaError(code), topic)
            first = int(refused[0])
            if first != len(values) - len(refused):
                # later records slipped in while earlier ones were refused: order is lost
                raise TransactionAborted(f"{topic}: the queue filled in mid-batch")
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"{topic}: the producer's queue stays full")
            keys, values = keys.rows(first, len(keys)), values.rows(first, len(values))
            self._producer.poll(0.05)

    def _note(self, topic: str, key: bytes | None, size: int) -> None:
        if topic not in self._largest or size > self._largest[topic].size:
            self._largest[topic] = MessageTooLarge(topic, key, size)

    def _too_large(self, error: KafkaError, topic: str = "") -> MessageTooLarge:
        """The record that an error is about; its text names the topic at most."""
        named = [t for t in self._largest if t == topic or f"for {t} [" in error.str()]
        among = [self._largest[t] for t in named] or list(self._largest.values())
        return max(among, key=lambda each: each.size)

    def _make_room(self, messages: int) -> None:
        deadline = time.monotonic() + _QUEUE_WAIT_S
        while len(self._producer) + messages > self._room:
            self._producer.poll(0.05)
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"{self.transactional_id}: {len(self._producer)} messages wait for the broker"
                )

    def commit(self, give_up: Callable[[], bool]) -> None:
        """Commit; on a time-out commit again, since the outcome is unknown, never abort.

        Args:
            give_up: Asked after each failed try; true leaves the outcome to the next owner.

        Raises:
            MessageTooLarge: the broker refused a record for its size; nothing was written.
            TransactionAborted: nothing was written; restore and process again.
            TaskFenced: another owner is active, or the client cannot go on.
            BrokerUnavailable: ``give_up`` said so.
        """
        warned = 0.0
        while True:
            try:
                self._producer.commit_transaction(_CALL_S)
                self._open = self._outcome_unknown = False
                return
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if time.monotonic() > warned:
                    log.warning("commit_failed", id=self.transactional_id, error=error.str())
                    warned = time.monotonic() + 10
                if error.txn_requires_abort():
                    self.abort()
                    if _code(error) == KafkaError.MSG_SIZE_TOO_LARGE:
                        raise self._too_large(error) from exception
                    raise TransactionAborted(error.str()) from exception
                if error.fatal() or not (error.retriable() or _timed_out(error)):
                    self._open = False
                    raise TaskFenced(f"{self.transactional_id}: {error.str()}") from exception
                self._outcome_unknown = True
                if give_up():
                    raise BrokerUnavailable(error.str()) from exception

    def abort(self) -> None:
        """Abort the open transaction; a fenced producer has nothing left to abort."""
        if not self._open:
            return
        self._open = False
        try:
            self._producer.abort_transaction(_CALL_S)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            log.warning("abort_failed", id=self.transactional_id, error=error.str())
            if error.fatal():
                raise TaskFenced(f"{self.transactional_id}: {error.str()}") from exception

    def close(self) -> None:
        """Drop what is unsent and abort an open transaction, so that readers need not wait for it.

        A transaction whose commit may have succeeded is left to the next owner.
        """
        try:
            self._producer.purge()
            if self._open and not self._outcome_unknown:
                self._producer.abort_transaction(_CLOSE_S)
            self._producer.flush(0)
        except KafkaException as exception:  # fenced: every call says so
            log.info("close_failed", id=self.transactional_id, error=str(exception.args[0]))
        self._open = False

    def _raise_for(self, error: KafkaError, topic: str) -> None:
        if self._open and _code(error) == KafkaError._STATE:
            # a record that was sent before has failed, and it alone says why
            try:
                self._producer.begin_transaction()
            except KafkaException as exception:
                error, topic = exception.args[0], ""
        code = _code(error)
        if code == KafkaError.MSG_SIZE_TOO_LARGE and self._largest:
            raise self._too_large(error, topic)
        # the error of a record carries a code only, no flags
        if error.fatal() or code in (KafkaError._FENCED, KafkaError._FATAL):
            raise TaskFenced(f"{self.transactional_id}: {error.str()}")
        raise TransactionAborted(f"{self.transactional_id}: {topic} {error}")


def _code(error: KafkaError) -> int:
    return int(error.code())


def _timed_out(error: KafkaError) -> bool:
    return bool(error.code() == KafkaError._TIMED_OUT)
