"""A worker process: a Faust app, the tasks of the partitions it owns, health and a watchdog.

Faust subscribes, joins the group and lives and dies with the process. Its one agent hands each
slice to the task of the partition and never waits.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import structlog

from streams.engine.broadcast import Broadcast
from streams.engine.dead_letter import FloodGuard
from streams.engine.errors import ConfigurationError, RetryableError
from streams.engine.faust_parts import EngineApp, FaustWorker, SliceSchema
from streams.engine.health import HealthServer
from streams.engine.opening import TaskWiring
from streams.engine.surroundings import WorkerSide
from streams.engine.task import Task
from streams.engine.transport import EngineConsumer
from streams.engine.watchdog import Watchdog

log = structlog.get_logger(__name__)

EXIT_FAILED = 1
_STOP_S = 15.0
_SWITCH_S = 0.0005
"""Waiting threads ask for the interpreter after this; Python's own 5 ms add up over a batch."""


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
        self.loop: asyncio.AbstractEventLoop | None = None
        self._broadcast = broadcast
        self._flood = FloodGuard(settings.dead_letter_limit_per_minute)
        self._tasks: dict[int, Task] = {}
        self._closers = ThreadPoolExecutor(8, "close")
        self._assigned_once = False
        self._stopping = False
        self._folder = tempfile.mkdtemp(prefix="leadstream-faust-")
        inputs = [wiring.physical(t) for t in processor.inputs]
        self.app = EngineApp(
            wiring.group,
            broker=f"kafka://{settings.kafka_bootstrap}",
            store="memory://",
            datadir=self._folder,
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
            consumer_metadata_max_age_ms=30_000,
        )
        self.app.engine = self
        topic = self.app.topic(*inputs, schema=SliceSchema(), value_serializer="raw")
        self.app.agent(topic, name=processor.role)(self._agent)
        self.app.timer(interval=1.0)(self._look_at_lag)
        self.app.on_partitions_assigned.connect(self._assigned, weak=False)
        self.app.on_partitions_revoked.connect(self._revoked, weak=False)
        self.health = HealthServer(
            settings.metrics_host, settings.metrics_port, wiring.metrics, self.ready
        )
        self._watchdog = Watchdog(settings.stall_timeout_s, lambda: list(self._tasks.values()))

    # -- life cycle

    def run(self) -> int:
        """Run until SIGTERM or a failure; returns the exit status."""
        sys.setswitchinterval(_SWITCH_S)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        worker = FaustWorker(
            self.app, loop=loop, loglevel="WARN", quiet=True, redirect_stdouts=False, debug=False
        )
        self.health.start()
        self._watchdog.start()
        self.app.on_before_shutdown.connect(self._before_shutdown, weak=False)
        try:
            worker.execute_from_commandline()
        except SystemExit as exit_:
            if exit_.code not in (0, None) and not self.exit_code:
                self.exit_code = EXIT_FAILED
        except Exception as error:
            log.exception("worker_failed", reason=str(error))
            self.exit_code = EXIT_FAILED
        finally:
            self.health.stop()
            self._watchdog.stop()
            if self._broadcast is not None:
                self._broadcast.stop()
            shutil.rmtree(self._folder, ignore_errors=True)
        return self.exit_code

    async def _before_shutdown(self, app: Any, **kwargs: Any) -> None:
        self._stop_soon()
        await self._close_tasks(list(self._tasks))

    def _stop_soon(self) -> None:
        """Whatever hangs, the process ends: what was not committed is as if it never was."""
        if not self._stopping:
            self._stopping = True
            timer = threading.Timer(_STOP_S, self._end)
            timer.daemon = True
            timer.start()

    def _end(self) -> None:
        log.error("stop_takes_too_long", seconds=_STOP_S)
        os._exit(self.exit_code or EXIT_FAILED)

    def ready(self) -> bool:
        """Whether the group has given us our partitions, if any, and all of them are open."""
        return self._assigned_once and all(t.status.ready for t in list(self._tasks.values()))

    # -- Faust calls

    async def _agent(self, stream: Any) -> None:
        async for event in stream.noack().events():
            part = event.message.value
            task = self._tasks.get(part.partition)
            if task is not None:
                task.offer(part)

    async def _assigned(self, app: Any, assigned: Iterable[Any], **kwargs: Any) -> None:
        # no heartbeat is sent until this returns, so nothing here may wait for long
        self.loop = asyncio.get_running_loop()
        await self._close_tasks(list(self._tasks))
        if self._stopping:
            return
        for partition in sorted({tp.partition for tp in assigned}):
            task = Task(self.wiring, partition, lambda task: WorkerSide(self, task), self._flood)
            self._tasks[partition] = task
            task.start()
        self._assigned_once = True
        log.info("assigned", partitions=sorted(self._tasks))
        if not self._tasks:  # there are more workers than partitions, or no partitions any more
            self.loop.run_in_executor(self._closers, self._check_inputs)

    def _check_inputs(self) -> None:
        inputs = [self.wiring.physical(t) for t in self.wiring.processor.inputs]
        try:
            found = self.wiring.broker.partitions(inputs)
        except RetryableError as error:
            log.warning("inputs_unknown", reason=str(error))
            return
        missing = [t for t in inputs if t not in found]
        if missing and not self._stopping:
            self.failed(
                ConfigurationError(
                    f"{', '.join(missing)} is gone; create it again (`leadstream topics create`)"
                )
            )

    async def _revoked(self, app: Any, revoked: Iterable[Any], **kwargs: Any) -> None:
        await self._close_tasks(list(self._tasks))

    async def _close_tasks(self, partitions: list[int]) -> None:
        tasks = [self._tasks.pop(p) for p in partitions if p in self._tasks]
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._closers, t.close) for t in tasks))

    async def _look_at_lag(self) -> None:
        role, metrics, total = self.wiring.processor.role, self.wiring.metrics, dict[str, int]()
        for task in list(self._tasks.values()):
            behind = self.consumer.behind(task.partition, task.positions)
            task.status.behind = sum(behind.values())
            for topic, count in behind.items():
                total[topic] = total.get(topic, 0) + count
            if behind:
                total[next(iter(behind))] += task.waiting_rows
        for topic, count in total.items():
            metrics.lag_records.labels(role, topic).set(count)

    # -- the transport and the tasks call

    @property
    def consumer(self) -> EngineConsumer:
        """The consumer; call it on the loop only."""
        return cast(EngineConsumer, self.app.consumer)

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop."""
        return self._stopping

    def has(self, task: Task) -> bool:
        """Whether the task is one of today's, not of an earlier assignment."""
        return self._tasks.get(task.partition) is task

    def prepare(self) -> None:
        """Wait until the broadcast topics were read."""
        if self._broadcast is not None:
            self._broadcast.start()

    def position_lost(self, partition: int) -> None:
        """The consumer cannot read on where a task wants to."""
        task = self._tasks.get(partition)
        if task is not None:
            task.position_lost()

    def slice_dropped(self, topic: str, partition: int) -> None:
        """Records that were fetched across a rebalance were not handed over."""
        task = self._tasks.get(partition)
        if task is not None:
            task.fetch_again(topic)

    def failed(self, error: BaseException) -> None:
        """Stop the process, so that its supervisor and people notice."""
        self.exit_code = EXIT_FAILED
        log.error("worker_stops", reason=str(error))
        self._stop_soon()
        # what Faust does on SIGTERM closes the tasks and leaves the group
        os.kill(os.getpid(), 15)
