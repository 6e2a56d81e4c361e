"""Encoded messages of a load: made beforehand, kept in an Arrow file, sent by ``load.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro
from numpy.typing import NDArray

from schemas.registry import header, schema_id, schema_json
from streams.bench.scoring.traffic import Events

_SCHEMA = pa.schema(
    [
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("partition", pa.int32()),
        ("event_id", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one topic in the order in which they are sent; columns of ``table`` [n]."""

    table: pa.Table

    @classmethod
    def encode(cls, schema: str, events: Events) -> Messages:
        """Encode events; the id of a record that is no event (a tick) is null."""
        head = header(schema_id(schema))
        parts = pyruhvro.serialize_record_batch(events.values, schema_json(schema), 1)
        values = pa.array([head + v for part in parts for v in part.to_pylist()], pa.binary())
        ids = events.values.column("event_id")
        if "record_kind" in events.values.schema.names:
            is_event = pc.equal(events.values.column("record_kind"), "event")
            ids = pc.if_else(is_event, ids, pa.scalar(None, ids.type))
        columns = [events.keys.cast(pa.binary()), values, pa.array(events.partition), ids]
        return cls(pa.Table.from_arrays(columns, schema=_SCHEMA))

    @classmethod
    def joined(cls, parts: list[Messages]) -> Messages:
        """One after the other."""
        return cls(pa.concat_tables([p.table for p in parts]))

    @classmethod
    def read(cls, path: Path) -> Messages:
        """Read what :meth:`write` wrote."""
        return cls(pa.ipc.open_file(pa.memory_map(str(path))).read_all())

    def write(self, path: Path) -> None:
        """Write an Arrow file."""
        with pa.ipc.new_file(str(path), _SCHEMA) as writer:
            writer.write_table(self.table)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def event_ids(self) -> Any:
        """Ids as one array, null where the record is no event."""
        return self.table.column("event_id").combine_chunks()

    @property
    def events(self) -> int:
        """Records that are events."""
        return len(self) - int(self.event_ids.null_count)

    @property
    def partition(self) -> NDArray[np.int32]:
        """Partition of each message."""
        found: NDArray[np.int32] = self.table.column("partition").to_numpy()
        return found

    def rows(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, value and partition of each message."""
        for batch in self.table.to_batches(max_chunksize=16_384):
            yield from zip(
                batch.column("key").to_pylist(),
                batch.column("value").to_pylist(),
                batch.column("partition").to_pylist(),
                strict=True,
            )
