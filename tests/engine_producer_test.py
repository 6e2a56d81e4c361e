"""The transactional producer's traps, on a client that misbehaves on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.engine.errors import BrokerUnavailable, TaskFenced, TransactionAborted
from streams.engine.packed import Packed
from streams.engine.producer import MessageTooLarge, TransactionalProducer


class Client:
    """Stands for confluent-kafka's producer: plays back what is put into ``script``."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.queue: list[bytes] = []
        self.sent: list[bytes] = []
        self.calls: list[str] = []
        self.script: dict[str, list[KafkaError | None]] = {}
        self.refuse: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.queue)

    def _play(self, call: str) -> None:
        self.calls.append(call)
        errors = self.script.get(call)
        error = errors.pop(0) if errors else None
        if error is not None:
            raise KafkaException(error)

    def list_topics(self, *args: Any, **kwargs: Any) -> None: ...
    def init_transactions(self, timeout: float) -> None:
        self._play("init")

    def begin_transaction(self) -> None:
        self._play("begin")

    def commit_transaction(self, timeout: float) -> None:
        self._play("commit")
        self.sent += self.queue
        self.queue = []

    def abort_transaction(self, timeout: float) -> None:
        self._play("abort")
        self.queue = []

    def produce_columns(
        self, topic: str, keys: Packed, values: Packed, partition: int | None = None
    ) -> Any:
        room = self.settings["queue.buffering.max.messages"]
        errors = np.zeros(len(values), np.int32)
        for at, value in enumerate(values.to_list()):
            code = self.refuse.pop(value, None)
            if code is None and len(self.queue) >= room:
                code = KafkaError._QUEUE_FULL
            if code is None:
                self.queue.append(value)
            errors[at] = code or 0
        return errors

    def produce(self, topic: str, value: bytes, key: bytes, headers: Any) -> None:
        self._play("produce")
        self.queue.append(value)

    def poll(self, timeout: float) -> None:
        self.calls.append("poll")
        self.sent += self.queue
        self.queue = []

    def purge(self) -> None:
        self.calls.append("purge")

    def flush(self, timeout: float) -> None: ...


def producer(**settings: Any) -> tuple[TransactionalProducer, Client]:
    made: list[Client] = []

    def new(config: dict[str, Any]) -> Client:
        made.append(Client(config))
        return made[0]

    return TransactionalProducer("role-0", settings, new), made[0]


def error(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> Any:
    return KafkaError(code, "scripted", fatal, retriable, abort)


def never() -> bool:
    return False


VALUES = [str(i).encode() for i in range(100)]
SENT, KEYS = Packed.of(VALUES), Packed.nulls(100)


def test_more_than_the_queue_takes_is_sent_in_order() -> None:
    out, client = producer(**{"queue.buffering.max.messages": 7})
    out.begin()
    out.send("t", KEYS, SENT)
    out.commit(never)
    assert client.sent == VALUES


def test_a_queue_that_is_full_for_a_moment_costs_no_message() -> None:
    out, client = producer()
    client.refuse = dict.fromkeys(VALUES[40:], KafkaError._QUEUE_FULL)
    out.begin()
    out.send("t", KEYS, SENT)
    out.commit(never)
    assert client.sent == VALUES


def test_messages_that_slipped_in_behind_a_refused_one_abort() -> None:
    out, client = producer()
    client.refuse = {VALUES[40]: KafkaError._QUEUE_FULL}
    out.begin()
    with pytest.raises(TransactionAborted, match="mid-batch"):
        out.send("t", KEYS, SENT)


def test_records_refused_for_good_are_those_of_a_fenced_producer() -> None:
    out, client = producer()
    client.refuse = dict.fromkeys(VALUES, KafkaError._FATAL)
    out.begin()
    with pytest.raises(TaskFenced):
        out.send("t", KEYS, SENT)


def test_a_message_that_is_too_large_for_the_client_is_named() -> None:
    out, client = producer()
    client.refuse = {VALUES[3]: KafkaError.MSG_SIZE_TOO_LARGE}
    out.begin()
    with pytest.raises(MessageTooLarge) as caught:
        out.send("t", KEYS, SENT)
    assert caught.value.topic == "t"


def test_what_is_too_large_for_the_broker_is_the_largest_record_of_the_transaction() -> None:
    out, client = producer()
    out.begin()
    out.send("t", Packed.of([b"a", b"k"]), Packed.of([b"x", b"x" * 9]))
    out.send_one("t.dlq", b"l", b"x" * 5, [])
    client.script["commit"] = [error(KafkaError.MSG_SIZE_TOO_LARGE, abort=True)]
    with pytest.raises(MessageTooLarge, match="10 bytes") as caught:
        out.commit(never)
    assert (caught.value.topic, caught.value.key) == ("t", b"k")
    assert client.calls[-1] == "abort"


def test_of_the_topic_that_the_error_names() -> None:
    out, client = producer()
    out.begin()
    out.send("t", Packed.of([b"k"]), Packed.of([b"x" * 9]))
    out.send_one("t.dlq", b"l", b"x" * 5, [])
    words = "ProduceRequest for t.dlq [0] with 1 message(s) failed"
    refused = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, words, False, False, True)
    client.script["commit"] = [refused]
    with pytest.raises(MessageTooLarge) as caught:
        out.commit(never)
    assert (caught.value.topic, caught.value.key) == ("t.dlq", b"l")


def test_what_is_refused_because_of_an_earlier_record_is_the_earlier_ones_error() -> None:
    out, client = producer()
    out.begin()
    out.send("t", Packed.of([b"k"]), Packed.of([b"x" * 9]))
    client.refuse = dict.fromkeys(VALUES, KafkaError._STATE)
    client.script["begin"] = [error(KafkaError.MSG_SIZE_TOO_LARGE, abort=True)]
    with pytest.raises(MessageTooLarge, match="10 bytes"):
        out.send("t", KEYS, SENT)


def test_a_commit_that_times_out_is_tried_again_and_never_aborted() -> None:
    out, client = producer()
    timed_out = error(KafkaError._TIMED_OUT, retriable=True)
    client.script["commit"] = [timed_out, timed_out, error(KafkaError._TRANSPORT, retriable=True)]
    out.begin()
    out.send("t", KEYS, SENT)
    out.commit(never)
    assert client.sent == VALUES
    assert "abort" not in client.calls


def test_a_commit_of_unknown_outcome_is_left_to_the_next_owner() -> None:
    out, client = producer()
    client.script["commit"] = [error(KafkaError._TIMED_OUT, retriable=True)]
    out.begin()
    with pytest.raises(BrokerUnavailable):
        out.commit(lambda: True)
    out.close()
    assert "abort" not in client.calls


def test_closing_aborts_an_open_transaction() -> None:
    out, client = producer()
    out.begin()
    out.send("t", KEYS, SENT)
    out.close()
    assert client.calls[-1] == "abort"
    assert client.sent == []


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (error(KafkaError._FENCED, fatal=True), TaskFenced),
        (error(KafkaError.INVALID_PRODUCER_EPOCH, fatal=True), TaskFenced),
        (error(KafkaError._STATE), TaskFenced),
        (error(KafkaError.INVALID_TXN_STATE, abort=True), TransactionAborted),
    ],
)
def test_what_ends_a_commit(answer: KafkaError, raised: type[Exception]) -> None:
    out, client = producer()
    client.script["commit"] = [answer]
    out.begin()
    with pytest.raises(raised):
        out.commit(never)
    out.close()
    assert client.calls.count("abort") == (raised is TransactionAborted)


def test_opening_waits_for_the_broker_and_notices_a_newer_owner() -> None:
    out, client = producer()
    busy = error(KafkaError.CONCURRENT_TRANSACTIONS, retriable=True)
    client.script["init"] = [busy, busy]
    out.open(never)
    client.script["init"] = [error(KafkaError._FENCED, fatal=True)]
    with pytest.raises(TaskFenced):
        out.open(never)
    client.script["init"] = [busy] * 9
    with pytest.raises(BrokerUnavailable):
        out.open(lambda: len(client.script["init"]) < 8)


def test_keys_and_values_must_pair() -> None:
    out, _ = producer()
    out.begin()
    with pytest.raises(ValueError, match="2 keys for 1 values"):
        out.send("t", Packed.of([b"a", b"b"]), Packed.of([b"v"]))


def test_settings_that_matter() -> None:
    _, client = producer(**{"transaction.timeout.ms": 10_000})
    assert client.settings["partitioner"] == "murmur2_random"  # like Java's
    assert client.settings["enable.idempotence"] is True
    assert client.settings["transactional.id"] == "role-0"
    assert client.settings["transaction.timeout.ms"] == 10_000
