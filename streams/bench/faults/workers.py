"""Worker processes of the peer job that can be killed, frozen and woken."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

STOP_S = 30.0


class Workers:
    """A changing set of worker processes.

    Args:
        command: Arguments of the Python interpreter that run one.
        environment: Added to this process's.
        folder: Where their logs go.
        rng: Chooses the victims.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        folder: Path,
        rng: random.Random,
    ) -> None:
        self.started = 0
        self.failed: list[str] = []
        self._command, self._environment = command, dict(environment)
        self._folder, self._rng = folder, rng
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self) -> None:
        """Start one more."""
        log = self._folder / f"worker-{self.started:03d}.log"
        self.started += 1
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *self._command],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._running.append((process, log))

    def revive(self, count: int) -> None:
        """Start as many as are missing to ``count``; one that ended by itself has failed."""
        for process, log in [*self._running]:
            if process.poll() is not None:
                self._running.remove((process, log))
                self.failed.append(f"exit status {process.returncode}: {_tail(log)}")
        while len(self._running) < count:
            self.start()

    def kill(self) -> None:
        """Kill -9 one."""
        process, _ = self._take()
        process.kill()
        process.wait(STOP_S)

    def stop_one(self) -> None:
        """Stop one in order."""
        process, log = self._take()
        process.send_signal(signal.SIGTERM)
        if process.wait(STOP_S) != 0:
            self.failed.append(f"exit status {process.returncode} of a stop: {_tail(log)}")

    def freeze(self) -> subprocess.Popen[bytes]:
        """SIGSTOP one; it stays in the set."""
        process, _ = self._rng.choice(self._running)
        process.send_signal(signal.SIGSTOP)
        return process

    def stop(self) -> None:
        """Stop all in order."""
        for process, _ in self._running:
            process.send_signal(signal.SIGTERM)
        for process, log in self._running:
            if process.wait(STOP_S) != 0:
                self.failed.append(f"exit status {process.returncode} of a stop: {_tail(log)}")
        self._running = []

    def end(self) -> None:
        """Kill -9 whatever is left."""
        for process, _ in self._running:
            process.kill()
            process.wait(STOP_S)
        self._running = []

    def _take(self) -> tuple[subprocess.Popen[bytes], Path]:
        chosen = self._rng.choice(self._running)
        self._running.remove(chosen)
        return chosen


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
