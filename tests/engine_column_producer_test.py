"""Columns to librdkafka against confluent-kafka's own way in, on real Kafka."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, Producer

from streams.bench.topics import create
from streams.engine.column_producer import ColumnProducer
from streams.engine.packed import Packed
from streams.engine.producer import MessageTooLarge, TransactionalProducer
from tests.faults.lab import committed

RNG = random.Random(5)
KEYS = [RNG.choice([None, b"", RNG.randbytes(9)]) for _ in range(500)]
VALUES = [RNG.choice([None, b"", RNG.randbytes(50)]) for _ in range(500)]


def settings(kafka: str, **more: Any) -> dict[str, Any]:
    return {"bootstrap.servers": kafka, "partitioner": "murmur2_random", "log_level": 0, **more}


def read(kafka: str, topic: str) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
    for message in committed(kafka, topic):
        found.setdefault(message.partition(), []).append((message.key(), message.value()))
    return found


@pytest.mark.parametrize("partition", [None, 1])
def test_records_arrive_as_those_of_the_plain_producer(
    kafka: str, prefix: str, partition: int | None
) -> None:
    create(kafka, {prefix + "plain": 3, prefix + "columns": 3}, {})
    # a record without a key goes to a partition by chance
    keys = [k or b"none" for k in KEYS] if partition is None else KEYS
    plain, columns = Producer(settings(kafka)), ColumnProducer(settings(kafka))
    where = {} if partition is None else {"partition": partition}
    messages = [{"key": k, "value": v} for k, v in zip(keys, VALUES, strict=True)]
    assert plain.produce_batch(prefix + "plain", messages, **where) == len(messages)
    errors = columns.produce_columns(
        prefix + "columns", Packed.of(keys), Packed.of(VALUES), partition
    )
    assert not errors.any()
    assert plain.flush(30) == columns.flush(30) == 0
    got = read(kafka, prefix + "columns")
    assert got == read(kafka, prefix + "plain")
    assert sum(map(len, got.values())) == 500


def test_the_buffers_may_go_as_soon_as_they_were_handed_over(kafka: str, prefix: str) -> None:
    create(kafka, {prefix + "t": 1}, {})
    out = ColumnProducer(settings(kafka, **{"linger.ms": 500}))
    values = Packed.of([b"%d" % n for n in range(100)])
    data = values.buffer.copy()
    assert not out.produce_columns(
        prefix + "t", Packed.nulls(100), Packed(data, values.start, values.length), 0
    ).any()
    data[:] = 0
    assert out.flush(30) == 0
    assert [v for _, v in read(kafka, prefix + "t")[0]] == values.to_list()


def test_each_record_that_is_refused_says_why() -> None:
    out = ColumnProducer(
        settings("127.0.0.1:1", **{"queue.buffering.max.messages": 3, "message.max.bytes": 2000})
    )
    large = Packed.of([b"a", b"b" * 5000, b"c"])
    assert out.produce_columns("t", Packed.nulls(3), large, 0).tolist() == [
        0, KafkaError.MSG_SIZE_TOO_LARGE, 0,
    ]  # fmt: skip
    errors = out.produce_columns("t", Packed.nulls(3), Packed.of([b"d", b"e", b"f"]), 0)
    assert errors.tolist() == [0, KafkaError._QUEUE_FULL, KafkaError._QUEUE_FULL]
    out.purge()


def test_no_records_are_no_call_for_trouble(kafka: str) -> None:
    out = ColumnProducer(settings(kafka))
    assert out.produce_columns("t", Packed.of([]), Packed.of([]), 0).dtype == np.int32


def test_a_refusal_that_comes_while_more_is_sent_names_what_was_refused(
    kafka: str, prefix: str
) -> None:
    create(kafka, {prefix + "t": 1}, {"max.message.bytes": "100000"})

    def opened() -> TransactionalProducer:
        config = {"bootstrap.servers": kafka, "linger.ms": 0, "log_level": 0}
        made = TransactionalProducer(prefix + "role-0", config)
        made.open(lambda: False)
        made.begin()
        return made

    out = opened()
    out.send(prefix + "t", Packed.of([b"large"]), Packed.of([bytes(200_000)]), 0)
    give_up = time.monotonic() + 30
    with pytest.raises(MessageTooLarge) as caught:
        while time.monotonic() < give_up:
            out.send(prefix + "t", Packed.nulls(1), Packed.of([b"small"]), 0)
            out._producer.poll(0.01)
    assert caught.value.key == b"large"
    out.abort()
    out.close()
    out = opened()  # as a task does: it begins anew with a client of its own
    out.send(prefix + "t", Packed.of([b"k"]), Packed.of([b"small"]), 0)
    out.commit(lambda: False)
    out.close()
    assert read(kafka, prefix + "t") == {0: [(b"k", b"small")]}
