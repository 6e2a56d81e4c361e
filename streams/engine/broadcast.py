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
from streams.engine.transport import SliceConsumer

log = structlog.get_logger(__name__)


class Snapshot(Protocol):
    """Where broadcast records end up; called from the broadcast's thread."""

    def apply(self, topic: str, key: bytes, value: dict[str, Any] | None) -> None:
        """Take one record over."""
        ...


class Broadcast:
    """Follows topics into a snapshot.

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
        self._caught_up = threading.Event()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self, timeout_s: float = 60.0) -> None:
        """Begin to follow and wait until caught up; later calls only wait.

        Raises:
            TimeoutError: the end was not reached in time.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="broadcast", daemon=True)
            self._thread.start()
        if not self._caught_up.wait(timeout_s):
            raise TimeoutError(f"{', '.join(self._topics)}: not read within {timeout_s:.0f} s")
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Follow no more."""
        self._stop.set()

    def _run(self) -> None:
        try:
            asyncio.run(self._follow())
        except BaseException as error:  # noqa: BLE001  handed to whoever waits in start()
            self._error = error
            log.exception("broadcast_failed")
        finally:
            self._caught_up.set()

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
            await consumer.seek_to_beginning(*tps)
            ends: dict[TopicPartition, int] = await consumer.end_offsets(tps)
            while not self._stop.is_set():
                batches = await consumer.getmany(timeout_ms=200, max_records=16)
                for parts in batches.values():
                    self._apply(parts)
                if batches:
                    self._changed()
                if not self._caught_up.is_set():
                    at = [await consumer.position(tp) >= ends[tp] for tp in tps]
                    if all(at):
                        self._caught_up.set()
        finally:
            await consumer.stop()

    def _apply(self, parts: Sequence[Any]) -> None:
        for part in parts:
            rows = self._codecs[part.topic].decode_dicts(part)
            for key, row in zip(part.keys(), rows, strict=True):
                self._snapshot.apply(part.topic, key or b"", row)
