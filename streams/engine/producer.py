"""One transaction at a time on confluent-kafka, with its traps handled.

``produce_batch`` drops messages without raising: a returned count below the length means that some
message dicts carry ``_error``. A transaction that lost messages would commit without a word, so
every call is checked and nothing is committed unless all messages were taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from streams.engine.errors import BrokerUnavailable, TaskError, TaskFenced, TransactionAborted

log = structlog.get_logger(__name__)

_CALL_TIMEOUT_S = 10.0
_QUEUE_WAIT_S = 30.0


class MessageTooLarge(TaskError):
    """The broker or client refuses a message of this size; its cause goes to the dead letters."""

    def __init__(self, topic: str, key: bytes | None, size: int) -> None:
        super().__init__(f"a record of {size} bytes is too large for topic {topic}")
        self.topic, self.key, self.size = topic, key, size


class TransactionalProducer:
    """Writes batches of records inside transactions of one stable transactional id.

    Args:
        transactional_id: ``<role>-<partition>``; the next owner of the id fences this one.
        config: librdkafka settings: brokers, security, tuning.
    """

    def __init__(self, transactional_id: str, config: Mapping[str, Any]) -> None:
        settings: dict[str, Any] = {
            "linger.ms": 50,  # a commit flushes at once, so this only lets batches fill
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 1 << 20,
            "message.max.bytes": 8 << 20,
            "transaction.timeout.ms": 10_000,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            **config,
            "transactional.id": transactional_id,
        }
        self.transactional_id = transactional_id
        self._room = int(settings["queue.buffering.max.messages"])
        self._producer = Producer(settings)

    def open(self, timeout_s: float = 30.0) -> None:
        """Fence the former owner and finish or abort what it left behind.

        Raises:
            BrokerUnavailable: no answer in time.
            TaskFenced: a newer owner exists already.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._producer.init_transactions(_CALL_TIMEOUT_S)
                return
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if error.fatal():
                    raise TaskFenced(f"{self.transactional_id}: {error.str()}") from exception
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(
                        f"{self.transactional_id}: the broker did not open transactions within "
                        f"{timeout_s:.0f} s ({error.str()})"
                    ) from exception

    def begin(self) -> None:
        """Begin a transaction; call it only just before producing (an open one blocks readers)."""
        self._checked(self._producer.begin_transaction)

    def send(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        partition: int | None = None,
    ) -> None:
        """Produce records in order.

        Raises:
            MessageTooLarge: one of them can never be written.
            TransactionAborted: the client took some out of order or refused them.
        """
        if len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys for {len(values)} values")
        chunk = max(1, self._room // 2)
        for at in range(0, len(values), chunk):
            messages: list[dict[str, Any]] = [
                {"key": k, "value": v}
                for k, v in zip(keys[at : at + chunk], values[at : at + chunk], strict=True)
            ]
            self._make_room(len(messages))
            self._send_all(topic, messages, partition)

    def send_one(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        partition: int | None = None,
    ) -> None:
        """Produce one record with headers (``produce_batch`` takes none)."""
        self._make_room(1)
        where = {} if partition is None else {"partition": partition}
        try:
            self._producer.produce(topic, value=value, key=key, headers=list(headers), **where)
        except KafkaException as exception:
            self._raise_for(exception.args[0], topic, {"key": key, "value": value})

    def _send_all(
        self, topic: str, messages: list[dict[str, Any]], partition: int | None
    ) -> None:
        where = {} if partition is None else {"partition": partition}
        deadline = time.monotonic() + _QUEUE_WAIT_S
        while messages:
            taken = self._producer.produce_batch(topic, messages, **where)
            if taken == len(messages):
                return
            refused = [i for i, m in enumerate(messages) if "_error" in m]
            if len(refused) != len(messages) - taken:
                raise TransactionAborted(f"{topic}: {len(messages) - taken} messages got lost")
            for i in refused:
                error = messages[i].pop("_error")
                if _code(error) != KafkaError._QUEUE_FULL:
                    self._raise_for(error, topic, messages[i])
            if refused[0] != len(messages) - len(refused):
                # later records slipped in while earlier ones were refused: order is lost
                raise TransactionAborted(f"{topic}: the queue filled in mid-batch")
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"{topic}: the producer's queue stays full")
            messages = messages[refused[0] :]
            self._producer.poll(0.05)

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
            TransactionAborted: nothing was written; restore and process again.
            TaskFenced: another owner is active, or the client cannot go on.
            BrokerUnavailable: ``give_up`` said so.
        """
        while True:
            try:
                self._producer.commit_transaction(_CALL_TIMEOUT_S)
                return
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                log.warning("commit_failed", id=self.transactional_id, error=error.str())
                if error.txn_requires_abort():
                    self.abort()
                    raise TransactionAborted(error.str()) from exception
                if error.fatal() or not (
                    error.retriable() or error.code() == KafkaError._TIMED_OUT
                ):
                    raise TaskFenced(f"{self.transactional_id}: {error.str()}") from exception
                if give_up():
                    raise BrokerUnavailable(error.str()) from exception

    def abort(self) -> None:
        """Abort the open transaction; a fenced producer has nothing left to abort."""
        try:
            self._producer.abort_transaction(_CALL_TIMEOUT_S)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            log.warning("abort_failed", id=self.transactional_id, error=error.str())
            if error.fatal():
                raise TaskFenced(f"{self.transactional_id}: {error.str()}") from exception

    def close(self) -> None:
        """Drop what is unsent; an open transaction is aborted by the next owner or its time-out."""
        self._producer.purge()
        self._producer.flush(0)

    def _checked(self, call: Callable[[], None]) -> None:
        try:
            call()
        except KafkaException as exception:
            self._raise_for(exception.args[0], "", {})

    def _raise_for(self, error: Any, topic: str, message: Mapping[str, Any]) -> None:
        code = _code(error)
        if code == KafkaError.MSG_SIZE_TOO_LARGE:
            size = len(message.get("value") or b"")
            raise MessageTooLarge(topic, message.get("key"), size)
        if isinstance(error, KafkaError) and (error.fatal() or code == KafkaError._FENCED):
            raise TaskFenced(f"{self.transactional_id}: {error.str()}")
        raise TransactionAborted(f"{self.transactional_id}: {error}")


def _code(error: Any) -> int | None:
    return error.code() if isinstance(error, KafkaError) else None
