"""What a task may ask of its worker from its own threads, and the worker's answer.

Everything that concerns the consumer is done on the worker's loop, and only while the task is one
of the current assignment: a task of an earlier one that still closes changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Protocol

from aiokafka import TopicPartition

if TYPE_CHECKING:
    from streams.engine.task import Task
    from streams.engine.worker import EngineWorker

_GROUP_ANSWER_S = 10.0


class Surroundings(Protocol):
    """What a task needs from its worker; calls of a task that was replaced have no effect."""

    def prepare(self) -> None:
        """Wait until the broadcast topics were read."""
        ...

    def flow_changed(self, topic: str) -> None:
        """Fetch ``topic`` or not, as :meth:`Task.wants` says."""
        ...

    def rewind(self, topic: str, offset: int) -> None:
        """Fetch from ``offset`` on."""
        ...

    def acknowledge(self, topic: str, offset: int) -> None:
        """Everything below ``offset`` is committed."""
        ...

    def owns(self) -> bool:
        """Ask the group whether the partition is ours; blocks for some seconds at most."""
        ...

    def failed(self, error: BaseException) -> None:
        """End the process."""
        ...


class WorkerSide:
    """See :class:`Surroundings`."""

    def __init__(self, worker: EngineWorker, task: Task) -> None:
        self._worker, self._task = worker, task

    def prepare(self) -> None:
        """Wait until the broadcast topics were read."""
        self._worker.prepare()

    def flow_changed(self, topic: str) -> None:
        """Fetch a topic's partition or not, as the task wants it by then."""

        def change() -> None:
            tp = TopicPartition(topic, self._task.partition)
            if self._task.wants(topic):
                self._worker.consumer.resume(tp)
            else:
                self._worker.consumer.pause(tp)

        self._on_loop(change)

    def rewind(self, topic: str, offset: int) -> None:
        """Fetch from ``offset`` on."""
        tp = TopicPartition(topic, self._task.partition)
        self._on_loop(lambda: self._worker.consumer.seek_to(tp, offset))

    def acknowledge(self, topic: str, offset: int) -> None:
        """Hint for the group's offsets."""
        tp = TopicPartition(topic, self._task.partition)
        self._on_loop(lambda: self._worker.consumer.acknowledge(tp, offset))

    def owns(self) -> bool:
        """Ask the group's coordinator whether this member's assignment is current."""
        loop = self._worker.loop
        if loop is None or loop.is_closed() or not self._worker.has(self._task):
            return False
        answer = asyncio.run_coroutine_threadsafe(self._worker.consumer.is_member(), loop)
        try:
            return answer.result(_GROUP_ANSWER_S) and self._worker.has(self._task)
        except FutureTimeout:
            answer.cancel()
            return False

    def failed(self, error: BaseException) -> None:
        """End the process."""
        self._worker.failed(error)

    def _on_loop(self, call: Callable[[], None]) -> None:
        def checked() -> None:
            if self._worker.has(self._task):
                call()

        loop = self._worker.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(checked)
