"""Runs the same processors over Arrow batches without a broker, for evaluation and tests.

Topics are lists in memory, partitions are real: keys are placed by murmur2, each task has its own
state, and under the barrier policy batches are cut and wait exactly as in a worker. Everything runs
in one thread in a fixed order, so a run is reproducible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streams.engine.columns import InputBatch, OutputBatch, Rejection
from streams.engine.hashing import murmur2
from streams.engine.processor import Context, Policy, Processor
from streams.engine.state import State

MAX_ROWS = 8192

Sink = Callable[[str, pa.Array, pa.RecordBatch], None]


class LocalTask:
    """One processor on one partition."""

    def __init__(self, processor: Processor, partition: int) -> None:
        self.processor, self.partition = processor, partition
        self.state: State = processor.new_state()
        self.inbox: deque[InputBatch] = deque()

    def next_batch(self) -> InputBatch | None:
        """Take what waits, small batches of one topic joined."""
        if not self.inbox:
            return None
        taken = [self.inbox.popleft()]
        rows = len(taken[0])
        while (
            self.inbox
            and self.inbox[0].topic == taken[0].topic
            and rows + len(self.inbox[0]) <= MAX_ROWS
        ):
            rows += len(self.inbox[0])
            taken.append(self.inbox.popleft())
        return taken[0] if len(taken) == 1 else _joined(taken)


class LocalRunner:
    """Wires processors by their topics.

    Args:
        processors: In the order in which they are stepped.
        partitions: Partition count of every topic.
        models: Snapshot of broadcast topics, handed to processors and fed from ``broadcast``.
        broadcast: Topics whose records go to ``models.apply(topic, key, row)``.
        policy: Learning clock.
        sink: Called with every output batch: topic, keys, values.
    """

    def __init__(
        self,
        processors: Sequence[Processor],
        partitions: Mapping[str, int],
        *,
        models: Any = None,
        broadcast: Sequence[str] = (),
        policy: Policy = "barrier",
        sink: Sink | None = None,
    ) -> None:
        self.partitions = dict(partitions)
        self.models, self.policy, self._sink = models, policy, sink
        self._broadcast = set(broadcast)
        self.tasks = [
            LocalTask(p, n) for p in processors for n in range(self.partitions[p.inputs[0]])
        ]
        self._readers: dict[str, list[LocalTask]] = {}
        for task in self.tasks:
            for topic in task.processor.inputs:
                self._readers.setdefault(topic, []).append(task)
        self._ends: dict[tuple[str, int], int] = {}
        self.rejections: list[tuple[str, Rejection]] = []
        self.now_us = 0

    def feed(self, topic: str, keys: pa.Array, values: pa.RecordBatch) -> None:
        """Append records to a topic and run until nothing can move."""
        self.append(OutputBatch(topic, keys, values))
        self.run()

    def append(self, out: OutputBatch) -> None:
        """Append records without running."""
        if out.topic in self._broadcast:
            rows = _plain(out.values)
            for key, row in zip(out.keys.to_pylist(), rows, strict=True):
                self.models.apply(out.topic, key.encode() if isinstance(key, str) else key, row)
        if self._sink is not None:
            self._sink(out.topic, out.keys, out.values)
        copy = out.copy()
        if copy is not None:
            self.append(copy)
        readers = self._readers.get(out.topic)
        if not readers or not out.values.num_rows:
            return
        count = self.partitions[out.topic]
        if out.partition is not None or count == 1:
            self._place(out, out.partition or 0, None)
            return
        where = murmur2(out.keys, count)
        for partition in range(count):
            mine = np.flatnonzero(where == partition)
            if len(mine):
                self._place(out, partition, mine)

    def _place(self, out: OutputBatch, partition: int, rows: Any) -> None:
        values, keys = out.values, out.keys
        if rows is not None and len(rows) < values.num_rows:
            take = pa.array(rows)
            values, keys = values.take(take), keys.take(take)
        if not pa.types.is_binary(keys.type):
            keys = keys.cast(pa.binary())
        at = self._ends.get((out.topic, partition), 0)
        offsets = np.arange(at, at + values.num_rows)
        self._ends[out.topic, partition] = at + values.num_rows
        stamps = np.full(values.num_rows, self.now_us // 1000)
        for task in self._readers[out.topic]:
            if task.partition == partition:
                task.inbox.append(InputBatch(out.topic, partition, offsets, stamps, keys, values))

    def run(self) -> None:
        """Step tasks until none can move.

        A task that waits for the barrier keeps its batch; it is tried again after others moved.
        """
        moved = True
        while moved:
            moved = False
            for task in self.tasks:
                while self._step(task):
                    moved = True

    @property
    def waiting(self) -> list[LocalTask]:
        """Tasks with records that wait for the barrier."""
        return [t for t in self.tasks if t.inbox]

    def _step(self, task: LocalTask) -> bool:
        batch = task.next_batch()
        if batch is None:
            return False
        context = Context(task.partition, self.partitions, self.models, self.policy, self.now_us)
        cuts = [c for c in task.processor.cuts(batch, context) if 0 < c < len(batch)]
        if cuts:
            task.inbox.appendleft(batch.rows(cuts[0], len(batch)))
            batch = batch.rows(0, cuts[0])
        if not task.processor.ready(batch, task.state, context):
            task.inbox.appendleft(batch)
            return False
        outputs = task.processor.process(batch, task.state, context)
        _forget_changes(task.state)
        self.rejections += [(batch.topic, r) for r in outputs.rejections]
        for out in outputs.records:
            self.append(out)
        return True


def _forget_changes(state: State) -> None:
    """There is no changelog here."""
    for table in state.tables.values():
        table.take_changes()
    state.blobs.take_changes()


def _joined(batches: list[InputBatch]) -> InputBatch:
    return InputBatch(
        batches[0].topic,
        batches[0].partition,
        np.concatenate([b.offsets for b in batches]),
        np.concatenate([b.timestamps for b in batches]),
        pa.concat_arrays([b.keys for b in batches]),
        pa.concat_batches([b.values for b in batches]),
    )


def _plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as the codec would read them: times as µs."""
    columns = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in batch.columns]
    rows: list[dict[str, Any]] = pa.RecordBatch.from_arrays(
        columns, names=batch.schema.names
    ).to_pylist()
    return rows
