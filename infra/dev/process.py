"""A background process that any later command can find again, wait for and stop.

The process inherits an open file with a lock on it, which the operating system gives back when
the process ends, however it ends. So "does it run?" never mistakes a recycled process id for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

POLL_S = 0.02


class BackgroundProcess:
    """One process per folder; the folder holds its lock, its state file and its log."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._alive = folder / f"{name}.alive"
        self._guard = folder / f"{name}.lock"
        self._state = folder / f"{name}.json"
        self._child: subprocess.Popen[bytes] | None = None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the right to start or stop; a second command waits here for the first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._guard.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def alive(self) -> bool:
        """Tell whether the process runs (or is paused)."""
        if self._child is not None:
            self._child.poll()  # reaps it if it ended
        try:
            with self._alive.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def remembered(self) -> dict[str, int]:
        """Return what `start` wrote down, of the process that runs or of the last one."""
        try:
            state: dict[str, int] = json.loads(self._state.read_text())
        except FileNotFoundError:
            return {}
        return state

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self.remembered().get("pid") if self.alive() else None

    def start(
        self, command: Sequence[str], facts: dict[str, int], *, die_with_parent: bool = False
    ) -> None:
        """Start `command` in a session of its own, with its output appended to the log.

        Call it in `exclusive()`, with nothing alive. `facts` are kept in the state file beside
        the process id. `die_with_parent` (Linux only, ignored elsewhere) ends the process with the
        thread that called this, even after `kill -9` of it: for tests, never for daemons.
        """
        tie = shutil.which("setpriv") if die_with_parent else None
        if tie:
            command = [tie, "--pdeathsig", "KILL", "--", *command]
        with self._alive.open("wb") as lock, self.log.open("ab") as log:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
            self._remember({**facts, "pid": self._child.pid})

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process runs."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, number)

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait for the end; False if it still runs after `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        if self._child is not None:
            self._child.wait()
            self._child = None
        return True

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the log, for error messages."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(lines[-count:])

    def _remember(self, state: dict[str, int]) -> None:
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps(state))
        new.replace(self._state)
