"""Ends a process that has work and makes no progress; its supervisor starts it again."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

EXIT_STALLED = 70


class _Status(Protocol):
    ready: bool
    waiting: bool
    steps: int


class Watched(Protocol):
    """What the watchdog looks at; a :class:`~streams.engine.task.Task`."""

    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def lag(self) -> int: ...  # noqa: D102
    @property
    def status(self) -> _Status: ...  # noqa: D102


class Watchdog:
    """Looks at the tasks every few seconds.

    Args:
        timeout_s: Records that wait, or an opening, without a step for so long end the process.
        tasks: Returns the tasks to look at.
        exit_: How to end the process; exchanged in tests.
    """

    def __init__(
        self,
        timeout_s: float,
        tasks: Callable[[], Sequence[Watched]],
        exit_: Callable[[int], None] = os._exit,
    ) -> None:
        self._timeout_s, self._tasks, self._exit = timeout_s, tasks, exit_
        self._seen: dict[int, tuple[int, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def stalled(self, now: float) -> list[Watched]:
        """Tasks that should work and made no step since they were first seen so, too long ago."""
        seen, self._seen = self._seen, {}
        out = []
        for task in self._tasks():
            status = task.status
            if status.waiting or (status.ready and not task.lag):
                continue
            steps, since = seen.get(id(task), (-1, now))
            if steps != status.steps:
                since = now
            self._seen[id(task)] = (status.steps, since)
            if now - since > self._timeout_s:
                out.append(task)
        return out

    def _run(self) -> None:
        while not self._stop.wait(min(5.0, self._timeout_s / 4)):
            stalled = self.stalled(time.monotonic())
            if stalled:
                log.error("stalled", partitions=[t.partition for t in stalled], alarm=True)
                faulthandler.dump_traceback()
                self._exit(EXIT_STALLED)
                return
