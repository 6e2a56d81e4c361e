"""Keeps worker processes running: starts them, restarts what dies, stops them in good order."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import structlog

from streams.settings import Settings

log = structlog.get_logger(__name__)

_STOP_S = 20.0
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_HEALTHY_S = 30.0


def worker_command(role: str, settings: Settings, **options: Any) -> list[str]:
    """Command line of a worker of ``role`` with these settings."""
    given = {
        "bootstrap": settings.kafka_bootstrap,
        "workspaces": settings.workspaces,
        "policy": settings.policy,
        "log-level": settings.log_level,
        "instance": f"{role}-0",
        **options,
    }
    if settings.topic_prefix:
        given["prefix"] = settings.topic_prefix
    flags = [f"--{name}={value}" for name, value in given.items()]
    return [sys.executable, "-m", "streams.cli.main", "worker", role, *flags]


@dataclass(slots=True)
class _Child:
    command: Sequence[str]
    output: IO[bytes] | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff_s: float = _FIRST_BACKOFF_S
    start_at: float = 0.0
    restarts: int = 0


class Supervisor:
    """Runs one process a name until it is told to stop.

    Args:
        commands: Command line by name.
        output: Where the processes' standard output and error go, for all or by name; ours by
            default.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        output: IO[bytes] | Mapping[str, IO[bytes]] | None = None,
    ) -> None:
        outputs = output if isinstance(output, Mapping) else dict.fromkeys(commands, output)
        self._children = {n: _Child(c, outputs[n]) for n, c in commands.items()}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of those that run."""
        return {
            n: c.process.pid
            for n, c in self._children.items()
            if c.process is not None and c.process.poll() is None
        }

    @property
    def restarts(self) -> int:
        """How often a process had to be started again."""
        return sum(c.restarts for c in self._children.values())

    def restarts_of(self, name: str) -> int:
        """How often this process had to be started again."""
        return self._children[name].restarts

    def start(self) -> None:
        """Start everything and go on watching in a thread; see :meth:`stop`."""
        for child in self._children.values():
            self._launch(child)
        self._watcher.start()

    def run(self) -> int:
        """Start everything and watch until SIGINT or SIGTERM; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())
        for child in self._children.values():
            self._launch(child)
        self._watch()
        self.stop()
        return 0

    def leave(self) -> None:
        """Watch no more and let the processes run on."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()  # it may be starting one right now

    def stop(self) -> None:
        """Ask all to stop, wait, and end those that do not."""
        self.leave()
        running = [
            c.process
            for c in self._children.values()
            if c.process is not None and c.process.poll() is None
        ]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("killed", pid=process.pid, reason=f"still there after {_STOP_S:.0f} s")
                process.kill()
                process.wait()

    def _launch(self, child: _Child) -> None:
        child.started = time.monotonic()
        child.process = subprocess.Popen(
            child.command,
            stdout=child.output,
            stderr=child.output,
            start_new_session=True,  # Ctrl-C reaches us alone, so that we stop them in order
        )

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            now = time.monotonic()
            for name, child in self._children.items():
                assert child.process is not None
                if child.process.poll() is None:
                    if now - child.started > _HEALTHY_S:
                        child.backoff_s = _FIRST_BACKOFF_S
                    continue
                if not child.start_at:
                    child.start_at = now + child.backoff_s
                    log.warning(
                        "worker_died",
                        name=name,
                        status=child.process.returncode,
                        restart_in_s=child.backoff_s,
                    )
                    child.backoff_s = min(_LONGEST_BACKOFF_S, 2 * child.backoff_s)
                elif now >= child.start_at:
                    child.start_at = 0.0
                    child.restarts += 1
                    self._launch(child)
