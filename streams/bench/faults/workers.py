"""Worker processes that can be killed, frozen and woken."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_S = 30.0


class Workers:
    """One process for each name, while nothing goes wrong.

    Args:
        commands: Command line by name.
        environment: Added to this process's.
        folder: Where their logs go.
        rng: Chooses the victims.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        environment: Mapping[str, str],
        folder: Path,
        rng: random.Random,
    ) -> None:
        self.started = 0
        self.failed: list[str] = []
        self._commands, self._environment = commands, dict(environment)
        self._folder, self._rng = folder, rng
        self._running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    def _start(self, name: str) -> None:
        log = self._folder / f"{name}-{self.started:03d}.log"
        self.started += 1
        with log.open("wb") as out:
            process = subprocess.Popen(
                self._commands[name],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._running[name] = (process, log)

    def revive(self) -> None:
        """Start those that do not run; one that ended by itself has failed."""
        for name, (process, log) in [*self._running.items()]:
            if process.poll() is not None:
                del self._running[name]
                self.failed.append(f"exit status {process.returncode}: {_tail(log)}")
        for name in self._commands:
            if name not in self._running:
                self._start(name)

    def kill(self) -> None:
        """Kill -9 one."""
        process, _ = self._running.pop(self._chosen())
        process.kill()
        process.wait(STOP_S)

    def stop_one(self) -> None:
        """Stop one in order."""
        process, log = self._running.pop(self._chosen())
        self._stopped(process, log)

    def freeze(self) -> subprocess.Popen[bytes]:
        """SIGSTOP one; it stays in the set."""
        process, _ = self._running[self._chosen()]
        process.send_signal(signal.SIGSTOP)
        return process

    def stop(self) -> None:
        """Stop all in order."""
        running, self._running = self._running, {}
        for process, _ in running.values():
            process.send_signal(signal.SIGTERM)
        for process, log in running.values():
            self._stopped(process, log)

    def end(self) -> None:
        """Kill -9 whatever is left."""
        running, self._running = self._running, {}
        for process, _ in running.values():
            process.kill()
            process.wait(STOP_S)

    def _chosen(self) -> str:
        return self._rng.choice([*self._running])

    def _stopped(self, process: subprocess.Popen[bytes], log: Path) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        # one that is still starting has no handler yet and ends by the signal itself
        if status not in (0, -signal.SIGTERM):
            self.failed.append(f"exit status {status} of a stop: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
