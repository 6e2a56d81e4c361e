"""The test job: each output depends on everything that its key went through, in order.

An event has a key and a number; a key's events come with rising numbers, so one with a number that
is not higher is a duplicate and is dropped. Every other event gives one output with the count and
a chained hash of all numbers of its key so far. A lost, doubled or swapped event changes the hash
of everything behind it. ``text`` makes trouble on demand.
"""

from __future__ import annotations

import json
import time

import numpy as np
import pyarrow as pa

from streams.engine.columns import InputBatch, OutputBatch, Outputs, Rejection
from streams.engine.hashing import hash128
from streams.engine.processor import Context, Unconditional
from streams.engine.state import State
from streams.engine.table import Table

PRIME, START, MASK = 1_000_003, 17, (1 << 62) - 1
EVENT_ID, RESULT_ID = 11, 12
EVENT = json.dumps(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "number", "type": "long"},
            {"name": "text", "type": "string"},
        ],
    }
)
RESULT = json.dumps(
    {
        "type": "record",
        "name": "Result",
        "fields": [
            {"name": "number", "type": "long"},
            {"name": "count", "type": "long"},
            {"name": "chain", "type": "long"},
            {"name": "text", "type": "string"},
            {"name": "source_partition", "type": "int"},
            {"name": "source_offset", "type": "long"},
        ],
    }
)
ROW = np.dtype([("last", "i8"), ("count", "i8"), ("chain", "i8")])
NEW = np.array((-1, 0, START), ROW)


def step(last: int, count: int, chain: int, number: int) -> tuple[int, int, int] | None:
    """The job for one event: the key's new row, or ``None`` for a duplicate."""
    if number <= last:
        return None
    return number, count + 1, (chain * PRIME + number) & MASK


class Chain(Unconditional):
    """The job on the engine."""

    role = "chain"

    def __init__(self, source: str = "in", sink: str = "out") -> None:
        self.inputs = (source,)
        self._sink = sink

    def new_state(self) -> State:
        return State([Table("keys", ROW, default=NEW)])

    def process(self, batch: InputBatch, state: State, context: Context) -> Outputs:
        table = state.table("keys")
        rows, _ = table.find_or_insert(hash128(batch.keys))
        last, count, chain = (table.rows[name] for name in ROW.names or ())
        kept, results, rejected = [], [], []
        numbers = batch.values.column("number").to_pylist()
        texts = batch.values.column("text").to_pylist()
        for at, (row, number, text) in enumerate(zip(rows.tolist(), numbers, texts, strict=True)):
            if text == "boom":
                raise ValueError(f"cannot take {number}")
            if text == "reject":
                rejected.append(Rejection(at, "NotWanted", "do not send this"))
                continue
            if text.startswith("slow"):
                time.sleep(float(text[4:]))
            new = step(int(last[row]), int(count[row]), int(chain[row]), number)
            if new is None:
                continue
            last[row], count[row], chain[row] = new
            kept.append(at)
            results.append(
                (number, new[1], new[2], "x" * int(text[4:]) if text[:4] == "huge" else "")
            )
        table.touch(rows[kept])
        if not kept:
            return Outputs([], rejected)
        columns = zip(*results, strict=True)
        kinds = (pa.int64(), pa.int64(), pa.int64(), pa.string())
        values = pa.RecordBatch.from_arrays(
            [
                *(pa.array(c, k) for c, k in zip(columns, kinds, strict=True)),
                pa.array([batch.partition] * len(kept), pa.int32()),
                pa.array(batch.offsets[kept]),
            ],
            names=["number", "count", "chain", "text", "source_partition", "source_offset"],
        )
        return Outputs([OutputBatch(self._sink, batch.keys.take(pa.array(kept)), values)], rejected)
