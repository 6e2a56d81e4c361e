"""confluent-kafka's producer with one more way in: columns of records instead of a list of dicts.

``Producer.produce_batch`` wants a dict, a key and a value object for each record. librdkafka itself
takes an array of pointers, and that is what :meth:`ColumnProducer.produce_columns` hands to its
``rd_kafka_produce_batch``: less than half of the time a record, and many at a time leave the
interpreter to others. Everything else (settings, security, transactions) is confluent-kafka's as
ever, and it is its own copy of librdkafka that is called.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from confluent_kafka import Producer, cimpl
from numpy.typing import NDArray

from streams.engine.packed import Packed

_COPY, _PARTITION_UNASSIGNED = 2, -1
_IS_PRODUCER = 0
_HELD_ROWS = 2_000
"""Up to so many records the interpreter is kept: to get it back may take longer than the call."""
# struct rd_kafka_message_s of librdkafka's rdkafka.h
_MESSAGE = np.dtype(
    [
        ("err", "<i4"),
        ("rkt", "<u8"),
        ("partition", "<i4"),
        ("payload", "<u8"),
        ("len", "<u8"),
        ("key", "<u8"),
        ("key_len", "<u8"),
        ("offset", "<i8"),
        ("private", "<u8"),
    ],
    align=True,
)


class ColumnProducer(Producer):
    """A ``confluent_kafka.Producer`` that also takes :class:`~streams.engine.packed.Packed`."""

    def produce_columns(
        self, topic: str, keys: Packed, values: Packed, partition: int | None = None
    ) -> NDArray[np.int32]:
        """Enqueue copies of n records in order.

        Args:
            topic: Physical name.
            keys: ``[n]``; null for none.
            values: ``[n]``; null deletes a key of a compacted topic.
            partition: Where all of them go; by default each key's own partition.

        Returns:
            ``[n]`` 0 where a record was taken, else the code of the ``KafkaError``. Delivery
            reports (``on_delivery``) are not made for these records.
        """
        if len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys for {len(values)} values")
        rd = _librdkafka(free=len(values) > _HELD_ROWS)
        handle = _handle(self)
        messages = np.zeros(len(values), _MESSAGE)
        messages["payload"], messages["len"] = _pointers(values)
        messages["key"], messages["key_len"] = _pointers(keys)
        opened = rd.rd_kafka_topic_new(handle, topic.encode(), None)
        if not opened:
            raise ValueError(f"{topic!r} is no name of a topic")
        where = _PARTITION_UNASSIGNED if partition is None else partition
        try:
            taken = rd.rd_kafka_produce_batch(
                opened, where, _COPY, messages.ctypes.data, len(messages)
            )
        finally:
            rd.rd_kafka_topic_destroy(opened)
        errors = np.ascontiguousarray(messages["err"])
        if taken != len(messages) - np.count_nonzero(errors):
            raise RuntimeError(f"{topic}: {len(messages)} records, {taken} taken, the rest unsaid")
        return errors


def _pointers(column: Packed) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Addresses and lengths; a null has the address 0, an empty string has not."""
    # an empty buffer has an address that is never read
    base = np.uint64(column.buffer.ctypes.data or 1)
    address = np.where(column.length < 0, np.uint64(0), column.start.astype(np.uint64) + base)
    return address, np.maximum(column.length, 0).astype(np.uint64)


@cache
def _librdkafka(*, free: bool = False) -> ctypes.CDLL:
    """The librdkafka that confluent-kafka itself runs on, found through its extension module.

    Args:
        free: Whether calls let go of the interpreter.
    """
    rd = (ctypes.CDLL if free else ctypes.PyDLL)(cimpl.__file__)
    pointer = ctypes.c_void_p
    rd.rd_kafka_type.argtypes, rd.rd_kafka_type.restype = [pointer], ctypes.c_int
    rd.rd_kafka_topic_new.argtypes = [pointer, ctypes.c_char_p, pointer]
    rd.rd_kafka_topic_new.restype = pointer
    rd.rd_kafka_topic_destroy.argtypes, rd.rd_kafka_topic_destroy.restype = [pointer], None
    rd.rd_kafka_produce_batch.argtypes = [
        pointer, ctypes.c_int32, ctypes.c_int, pointer, ctypes.c_int,
    ]  # fmt: skip
    rd.rd_kafka_produce_batch.restype = ctypes.c_int
    return rd


def _handle(producer: Producer) -> int:
    """The handle of librdkafka: the first field of confluent-kafka's object."""
    address = ctypes.c_void_p.from_address(id(producer) + object.__basicsize__).value
    if not address:
        raise RuntimeError("the producer is closed")
    if _librdkafka().rd_kafka_type(address) != _IS_PRODUCER:
        raise RuntimeError("this confluent-kafka has its handle elsewhere; use the locked version")
    return address
