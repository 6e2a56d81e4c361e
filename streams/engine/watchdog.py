"""Ends a process that has work and makes no progress; its supervisor starts it again."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from streams.engine.task import Task

log = structlog.get_logger(__name__)

EXIT_STALLED = 70


class Watchdog:
    """Looks at the tasks every few seconds.

    Args:
        timeout_s: Waiting records without a commit for so long end the process.
        tasks: Returns the tasks to look at.
        exit_: How to end the process; exchanged in tests.
    """

    def __init__(
        self,
        timeout_s: float,
        tasks: Callable[[], Sequence[Task]],
        exit_: Callable[[int], None] = os._exit,
    ) -> None:
        self._timeout_s, self._tasks, self._exit = timeout_s, tasks, exit_
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def stalled(self, now: float) -> list[Task]:
        """Tasks that have records, wait for nothing and made no progress."""
        return [
            t
            for t in self._tasks()
            if t.lag and not t.status.waiting and now - t.status.last_progress > self._timeout_s
        ]

    def _run(self) -> None:
        while not self._stop.wait(min(5.0, self._timeout_s / 4)):
            stalled = self.stalled(time.monotonic())
            if stalled:
                log.error("stalled", partitions=[t.partition for t in stalled], alarm=True)
                faulthandler.dump_traceback()
                self._exit(EXIT_STALLED)
                return
