"""A worker process: a Faust app, the tasks of the partitions it owns, health and a watchdog.

Faust subscribes, joins the group and lives and dies with the process. Its one agent hands each
slice to the task of the partition and never waits.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
import structlog
from aiokafka import TopicPartition

from streams.engine.broadcast import Broadcast
from streams.engine.dead_letter import FloodGuard
from streams.engine.health import HealthServer
from streams.engine.opening import TaskWiring
from streams.engine.task import Task
from streams.engine.transport import EngineConsumer, EngineTransport, SliceSchema
from streams.engine.watchdog import Watchdog

log = structlog.get_logger(__name__)

EXIT_FAILED = 1


class EngineApp(faust.App):  # type: ignore[misc]
    """A Faust app with the engine's transport."""

    def _new_transport(self) -> EngineTransport:
        return EngineTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> EngineTransport:
        return EngineTransport(self.conf.broker_producer, self)


class EngineWorker:
    """Runs all tasks of one role in this process.

    Args:
        wiring: What the tasks share.
        broadcast: Reader of the role's broadcast topics, or ``None``.
    """

    def __init__(self, wiring: TaskWiring, broadcast: Broadcast | None = None) -> None:
        settings, processor = wiring.settings, wiring.processor
        self.wiring = wiring
        self.exit_code = 0
        self._broadcast = broadcast
        self._flood = FloodGuard(settings.dead_letter_limit_per_minute)
        self._tasks: dict[int, Task] = {}
        self._closers = ThreadPoolExecutor(8, "close")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        inputs = [wiring.physical(t) for t in processor.inputs]
        self.app = EngineApp(
            wiring.group,
            broker=f"kafka://{settings.kafka_bootstrap}",
            store="memory://",
            datadir=tempfile.mkdtemp(prefix="leadstream-faust-"),
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            stream_wait_empty=False,
            stream_buffer_maxsize=1024,
            stream_recovery_delay=0.0,
            broker_commit_interval=1.0,
            broker_session_timeout=settings.session_timeout_s,
            broker_heartbeat_interval=min(1.0, settings.session_timeout_s / 3),
            broker_request_timeout=max(40.0, settings.session_timeout_s * 2),
            broker_rebalance_timeout=20.0,
            consumer_group_instance_id=settings.instance or None,
            consumer_max_fetch_size=2 << 20,
        )
        topic = self.app.topic(*inputs, schema=SliceSchema(), value_serializer="raw")
        self.app.agent(topic, name=processor.role)(self._agent)
        self.app.on_partitions_assigned.connect(self._assigned, weak=False)
        self.app.on_partitions_revoked.connect(self._revoked, weak=False)
        self._health = HealthServer(
            settings.metrics_host, settings.metrics_port, wiring.metrics, self._ready
        )
        self._watchdog = Watchdog(settings.stall_timeout_s, lambda: list(self._tasks.values()))

    # -- life cycle

    def run(self) -> int:
        """Run until SIGTERM or a failure; returns the exit status."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        worker = _Worker(
            self.app, loop=loop, loglevel="WARN", quiet=True, redirect_stdouts=False, debug=False
        )
        self._health.start()
        self._watchdog.start()
        self.app.on_before_shutdown.connect(self._before_shutdown, weak=False)
        try:
            worker.execute_from_commandline()
        except SystemExit as exit_:
            if exit_.code not in (0, None) and not self.exit_code:
                self.exit_code = EXIT_FAILED
        finally:
            self._health.stop()
            self._watchdog.stop()
            if self._broadcast is not None:
                self._broadcast.stop()
        return self.exit_code

    async def _before_shutdown(self, app: Any, **kwargs: Any) -> None:
        self._stopping = True
        await self._close_tasks(list(self._tasks))

    def _ready(self) -> bool:
        tasks = list(self._tasks.values())
        return bool(tasks) and all(t.status.ready for t in tasks)

    # -- Faust calls

    async def _agent(self, stream: Any) -> None:
        async for event in stream.noack().events():
            part = event.message.value
            task = self._tasks.get(part.partition)
            if task is not None:
                task.offer(part)

    async def _assigned(self, app: Any, assigned: Iterable[Any], **kwargs: Any) -> None:
        self._loop = asyncio.get_running_loop()
        if self._broadcast is not None:
            await self._loop.run_in_executor(self._closers, self._broadcast.start)
        for partition in sorted({tp.partition for tp in assigned}):
            task = Task(self.wiring, partition, self, self._flood)
            self._tasks[partition] = task
            task.start()
        log.info("assigned", partitions=sorted(self._tasks))

    async def _revoked(self, app: Any, revoked: Iterable[Any], **kwargs: Any) -> None:
        await self._close_tasks(list(self._tasks))

    async def _close_tasks(self, partitions: list[int]) -> None:
        tasks = [self._tasks.pop(p) for p in partitions if p in self._tasks]
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._closers, t.close) for t in tasks))

    # -- tasks call (from their threads)

    def pause(self, topic: str, partition: int) -> None:
        """Stop fetching; on the loop already."""
        self._consumer.pause(TopicPartition(topic, partition))

    def resume(self, topic: str, partition: int) -> None:
        """Fetch again."""
        self._on_loop(lambda: self._consumer.resume(TopicPartition(topic, partition)))

    def start_at(self, topic: str, partition: int, offset: int) -> None:
        """Seek and fetch."""
        self._on_loop(lambda: self._consumer.start_at(TopicPartition(topic, partition), offset))

    def acknowledge(self, topic: str, partition: int, offset: int) -> None:
        """Hint for the group's offsets."""
        self._on_loop(lambda: self._consumer.acknowledge(TopicPartition(topic, partition), offset))

    def still_owned(self, partition: int) -> bool:
        """Whether the group still gives this partition to us."""
        return not self._stopping and partition in self._tasks

    def failed(self, error: BaseException) -> None:
        """A task cannot go on: stop the process, so that its supervisor and people notice."""
        self.exit_code = EXIT_FAILED
        log.error("worker_stops", reason=str(error))
        self._on_loop(lambda: asyncio.ensure_future(self._stop()))

    async def _stop(self) -> None:
        self._stopping = True
        await self._close_tasks(list(self._tasks))
        os.kill(os.getpid(), 15)

    def _on_loop(self, call: Callable[[], Any]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    @property
    def _consumer(self) -> EngineConsumer:
        return self.app.consumer


class _Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker without its banner and its logging set-up; ours is configured already."""

    def _setup_logging(self) -> None:
        """Nothing: see ``streams/logs.py``."""

    def setup_logging(self) -> None:
        """Nothing."""
