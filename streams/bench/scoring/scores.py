"""Reads ``leads.scored`` back: which events were scored, and when the scores were appended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyruhvro
from numpy.typing import NDArray

from schemas.registry import HEADER_BYTES, schema_json
from streams.engine.broker import KafkaBroker
from streams.engine.records import RecordSlice


@dataclass(frozen=True, slots=True)
class Scores:
    """All scores of a topic.

    Attributes:
        event_id: Cause of each ``[n]``.
        appended_ms: LogAppendTime of each ``[n]``.
        last_offset: Offset of the last one by partition.
    """

    event_id: pa.Array
    appended_ms: NDArray[np.int64]
    last_offset: dict[int, int]

    def __len__(self) -> int:
        return len(self.event_id)

    @property
    def distinct(self) -> int:
        """How many events have a score."""
        return len(self.event_id.unique())


def event_ids(values: list[bytes | None]) -> pa.Array:
    """Event ids of encoded scores ``[n]``."""
    payloads = [v[HEADER_BYTES:] for v in values if v is not None]
    if not payloads:
        return pa.array([], pa.string())
    rows = pyruhvro.deserialize_array(payloads, schema_json("scored_lead"))
    return rows.column("event_id")


def read_scores(bootstrap: str, topic: str, partitions: int) -> Scores:
    """Read all partitions ``read_committed`` from their start to their end."""
    ids: list[Any] = []
    times: list[NDArray[np.int64]] = []
    last: dict[int, int] = {}

    def take(records: RecordSlice) -> None:
        if len(records):
            ids.append(event_ids(records.values()))
            times.append(records.timestamps)
            last[records.partition] = int(records.offsets[-1])

    _each_partition(bootstrap, topic, partitions, take)
    return Scores(
        pa.concat_arrays(ids) if ids else pa.array([], pa.string()),
        np.concatenate(times) if times else np.empty(0, np.int64),
        last,
    )


def appended_ms(
    bootstrap: str, topic: str, base: dict[int, int], partition: NDArray[np.int32]
) -> NDArray[np.int64]:
    """LogAppendTime of messages sent in order by one plain producer ``[n]``.

    Args:
        bootstrap: ``host:port,…``.
        topic: Physical name.
        base: End offset of each partition before the first of them was sent.
        partition: Partition of each message.
    """
    out = np.zeros(len(partition), np.int64)
    place = {p: np.flatnonzero(partition == p) for p in base}

    def take(records: RecordSlice) -> None:
        number = records.offsets - base[records.partition]
        mine = number >= 0
        out[place[records.partition][number[mine]]] = records.timestamps[mine]

    _each_partition(bootstrap, topic, len(base), take)
    return out


def _each_partition(bootstrap: str, topic: str, partitions: int, take: Any) -> None:
    broker = KafkaBroker(bootstrap)
    for partition in range(partitions):
        broker.read(topic, partition, broker.end_offset(topic, partition), take)
