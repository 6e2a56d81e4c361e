"""Topics that every process reads whole: weights, champions, indicators.

A consumer without a group, ``read_committed``, on a thread and loop of its own. :meth:`start`
returns when the topics were read to the end that they had then: no task opens before that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition

from streams.engine.codec import Codec
from streams.engine.errors import InvalidRecord
from streams.engine.records import RecordSlice
from streams.engine.slice_consumer import SliceConsumer

log = structlog.get_logger(__name__)

_AGAIN_S = 1.0


class Snapshot(Protocol):
    """Where broadcast records end up; called from the broadcast's thread."""

    def apply(self, topic: str, key: bytes, value: dict[str, Any] | None) -> None:
        """Take one record over."""
        ...


class Broadcast:
    """Follows topics into a snapshot.

    A record that cannot be read or taken over is left out with an alarm: what was valid before
    stays in use. When reading fails it goes on where it was.

    Args:
        bootstrap: ``host:port,…``.
        topics: Partition count of each physical topic.
        codecs: Codec of each physical topic.
        snapshot: Takes the records.
        changed: Called after new records were applied.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Mapping[str, int],
        codecs: Mapping[str, Codec],
        snapshot: Snapshot,
        changed: Callable[[], None],
    ) -> None:
        self._bootstrap, self._topics, self._codecs = bootstrap, topics, codecs
        self._snapshot, self._changed = snapshot, changed
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._caught_up = threading.Event()
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._last_error = ""
        self._thread: threading.Thread | None = None

    def start(self, timeout_s: float = 60.0) -> None:
        """Begin to follow and wait until caught up; later calls only wait.

        Raises:
            TimeoutError: the end was not reached in time.
        """
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="broadcast", daemon=True)
                self._thread.start()
        if not self._caught_up.wait(timeout_s):
            raise TimeoutError(
                f"{', '.join(self._topics)}: not read within {timeout_s:.0f} s {self._last_error}"
            )

    def stop(self) -> None:
        """Follow no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._follow())
            except Exception as error:
                self._last_error = f"({type(error).__name__}: {error})"
                log.exception("broadcast_failed", action="goes on where it was")
                self._stop.wait(_AGAIN_S)

    async def _follow(self) -> None:
        tps = [TopicPartition(t, p) for t, n in self._topics.items() for p in range(n)]
        consumer = SliceConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=500,
        )
        consumer.assign(tps)
        await consumer.start()
        try:
            for tp in tps:
                if tp in self._next:
                    consumer.seek(tp, self._next[tp])
                else:
                    await consumer.seek_to_beginning(tp)
            if not self._ends:
                self._ends = await consumer.end_offsets(tps)
            while not self._stop.is_set():
                batches = await consumer.getmany(timeout_ms=200, max_records=16)
                for tp, parts in batches.items():
                    self._apply(parts)
                    self._next[tp] = parts[-1].next_offset
                if batches:
                    self._changed()
                if not self._caught_up.is_set():
                    at = [await consumer.position(tp) >= self._ends[tp] for tp in tps]
                    if all(at):
                        self._caught_up.set()
        finally:
            await consumer.stop()

    def _apply(self, parts: Sequence[RecordSlice]) -> None:
        for part in parts:
            rows = self._codecs[part.topic].decode_dicts(part)
            for key, row, offset in zip(part.keys(), rows, part.offsets.tolist(), strict=True):
                try:
                    if isinstance(row, InvalidRecord):
                        raise row
                    self._snapshot.apply(part.topic, key or b"", row)
                except Exception as error:
                    log.error(
                        "broadcast_record_left_out",
                        topic=part.topic,
                        partition=part.partition,
                        offset=offset,
                        reason=f"{type(error).__name__}: {error}",
                        alarm=True,
                    )
