"""The records of ``lead.timeline``: events, links and ticks in the order that each partition sees.

Without a tick, the records of a batch are one set of columns that finds its partitions by key. With
ticks, which go to every partition, there is one set for each partition, so the cost of a batch does
not grow with the number of epochs in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.engine.columns import OutputBatch
from streams.engine.hashing import hash128, murmur2
from streams.identity.flat import hex_ids, timestamps

TOPIC = "lead.timeline"

_TICK, _EVENT, _LINK = 0, 1, 2
"""Order of the records that one source event causes."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """Closed epochs: ``[t]`` each, in order; ``row`` is the source event that a tick precedes."""

    row: NDArray[np.int64]
    workspace: pa.Array
    epoch: NDArray[np.int64]
    watermark: NDArray[np.int64]
    received: NDArray[np.int64]
    offset: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Links:
    """``[k]`` pairs of leads: the event that showed it, as its place among the events."""

    event: NDArray[np.int64]
    other: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the source events came from."""

    topic: str
    partition: int


class TimelineWriter:
    """Lays out records of the timeline.

    Args:
        schema: Arrow schema of the topic.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._fields = [(field.name, field.type) for field in schema]

    def write(
        self,
        events: pa.RecordBatch,
        rows: NDArray[np.int64],
        links: Links,
        ticks: Ticks,
        source: Source,
        partitions: int,
        of_accounts: NDArray[np.int64] | None = None,
    ) -> list[OutputBatch]:
        """Bring events, links and ticks into order.

        Args:
            events: ``[n]`` timeline events in the order of arrival.
            rows: ``[n]`` their source events' rows.
            links: Written behind their events.
            ticks: Written before the source event at ``row``, which may have no timeline event.
            source: Where the source events came from.
            partitions: Number of partitions of the timeline.
            of_accounts: Places of the events that are written a second time, for their account.
        """
        parts, row, kind = [events], [rows], [np.full(len(rows), _EVENT)]
        if of_accounts is not None and len(of_accounts):
            parts.append(self._accounts(events, of_accounts))
            row.append(rows[of_accounts])
            kind.append(np.full(len(of_accounts), _EVENT))
        if len(links.event):
            parts.append(self._links(events, links))
            row.append(rows[links.event])
            kind.append(np.full(len(links.event), _LINK))
        if len(ticks.row):
            parts.append(self._ticks(ticks, source))
            row.append(ticks.row)
            kind.append(np.full(len(ticks.row), _TICK))
        if len(parts) == 1:
            return [OutputBatch(TOPIC, _keys(events), events)] if len(rows) else []
        records = pa.concat_batches(parts)
        keys = _keys(records)
        kinds = np.concatenate(kind)
        order = np.argsort(np.concatenate(row) * 3 + kinds, kind="stable")
        if not len(ticks.row):
            return [_chosen(records, keys, order, None)]
        is_tick, place = kinds == _TICK, murmur2(keys, partitions)
        return [
            _chosen(records, keys, order[(is_tick | (place == p))[order]], p)
            for p in range(partitions)
        ]

    def columns(self, **columns: pa.Array) -> pa.RecordBatch:
        """Columns of the topic's schema; what is not given is null, or an empty map."""
        n = len(columns["workspace"])
        return pa.RecordBatch.from_arrays(
            [
                _typed(columns[name], kind) if name in columns else _absent(kind, n)
                for name, kind in self._fields
            ],
            schema=self._schema,
        )

    def _accounts(self, events: pa.RecordBatch, places: NDArray[np.int64]) -> pa.RecordBatch:
        """Events again, as those of their accounts."""
        again = events.take(pa.array(places))
        named = pc.binary_join_element_wise(
            "account", again.column("workspace"), again.column("account"), "\x00"
        )
        changed = {
            "lead_id": hex_ids(hash128(named)),
            "entity": pa.repeat("account", len(places)),
        }
        return self.columns(
            **{name: changed.get(name, again.column(name)) for name in events.schema.names}
        )

    def _links(self, events: pa.RecordBatch, links: Links) -> pa.RecordBatch:
        cause = events.take(pa.array(links.event))
        kept = (
            "workspace", "lead_id", "event_id", "kind", "source", "occurred_at", "received_at",
            "late", "watermark", "epoch", "source_topic", "source_partition", "source_offset",
        )  # fmt: skip
        return self.columns(
            record_kind=pa.repeat("link", len(cause)),
            other_lead_id=hex_ids(links.other),
            **{name: cause.column(name) for name in kept},
        )

    def _ticks(self, ticks: Ticks, source: Source) -> pa.RecordBatch:
        n, nothing = len(ticks.row), pa.repeat("", len(ticks.row))
        end, epoch = timestamps(ticks.watermark), pa.array(ticks.epoch)
        return self.columns(
            record_kind=pa.repeat("tick", n),
            workspace=ticks.workspace,
            lead_id=nothing,
            event_id=pc.binary_join_element_wise("tick", epoch.cast(pa.string()), "/"),
            kind=nothing,
            source=nothing,
            occurred_at=end,
            received_at=timestamps(ticks.received),
            late=pa.repeat(False, n),
            watermark=end,
            epoch=epoch,
            source_topic=pa.repeat(source.topic, n),
            source_partition=pa.repeat(pa.scalar(source.partition, pa.int32()), n),
            source_offset=pa.array(ticks.offset),
        )


def _keys(records: pa.RecordBatch) -> pa.Array:
    keys = pc.binary_join_element_wise(records.column("workspace"), records.column("lead_id"), "/")
    return keys.cast(pa.binary())


def _chosen(
    records: pa.RecordBatch, keys: pa.Array, rows: NDArray[np.int64], partition: int | None
) -> OutputBatch:
    at = pa.array(rows)
    return OutputBatch(TOPIC, keys.take(at), records.take(at), partition)


def _typed(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def _absent(kind: pa.DataType, n: int) -> pa.Array:
    if pa.types.is_map(kind):
        return pa.array([[]], kind).take(pa.array(np.zeros(n, np.int64)))
    return pa.nulls(n, kind)
