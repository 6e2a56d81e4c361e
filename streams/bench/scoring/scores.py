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
        sums: Whether their parts add up.
    """

    event_id: pa.Array
    appended_ms: NDArray[np.int64]
    last_offset: dict[int, int]
    sums: Sums

    def __len__(self) -> int:
        return len(self.event_id)

    @property
    def distinct(self) -> int:
        """How many events have a score."""
        return len(self.event_id.unique())


class Sums:
    """How far the parts of scores are from what they should add up to.

    Attributes:
        sum_error: Largest |bias + contributions + other - logit|.
        delta_error: Largest |event + time + model - (logit - previous logit)|.
        model_parts: Scores that new weights or a new champion moved.
        champions: Versions that scored.
    """

    def __init__(self) -> None:
        self.sum_error = self.delta_error = 0.0
        self.model_parts = 0
        self.champions: set[str | None] = set()

    def add(self, rows: pa.RecordBatch) -> None:
        """Check ``ScoredLead`` records."""

        def column(name: str) -> NDArray[np.float64]:
            found: NDArray[np.float64] = rows.column(name).to_numpy(zero_copy_only=False)
            return found

        told = rows.column("contributions")
        terms = np.append(told.flatten().field("contribution").to_numpy(), 0.0)
        offsets = told.offsets.to_numpy() - told.offsets[0].as_py()
        # of an empty list, reduceat gives the next term
        sums = np.where(np.diff(offsets) > 0, np.add.reduceat(terms, offsets[:-1]), 0.0)
        logit = column("logit")
        self.sum_error = _largest(self.sum_error, column("bias") + sums + column("other") - logit)
        parts = column("delta_event") + column("delta_time") + column("delta_model")
        self.delta_error = _largest(self.delta_error, parts - (logit - column("previous_logit")))
        self.model_parts += int(np.count_nonzero(np.nan_to_num(column("delta_model"))))
        self.champions |= set(rows.column("champion_version").unique().to_pylist())


def _largest(so_far: float, errors: NDArray[np.float64]) -> float:
    """NaN is no error: a lead's first score has no deltas."""
    return float(np.nanmax(np.abs(errors), initial=so_far))


def event_ids(values: list[bytes | None], sums: Sums | None = None) -> pa.Array:
    """Event ids of encoded scores ``[n]``; checks their sums, if asked to."""
    payloads = [v[HEADER_BYTES:] for v in values if v is not None]
    if not payloads:
        return pa.array([], pa.string())
    rows = pyruhvro.deserialize_array(payloads, schema_json("scored_lead"))
    if sums is not None:
        sums.add(rows)
    return rows.column("event_id")


def read_scores(bootstrap: str, topic: str, partitions: int) -> Scores:
    """Read all partitions ``read_committed`` from their start to their end."""
    ids: list[Any] = []
    times: list[NDArray[np.int64]] = []
    last: dict[int, int] = {}
    sums = Sums()

    def take(records: RecordSlice) -> None:
        if len(records):
            ids.append(event_ids(records.values(), sums))
            times.append(records.timestamps)
            last[records.partition] = int(records.offsets[-1])

    _each_partition(bootstrap, topic, partitions, take)
    return Scores(
        pa.concat_arrays(ids) if ids else pa.array([], pa.string()),
        np.concatenate(times) if times else np.empty(0, np.int64),
        last,
        sums,
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
