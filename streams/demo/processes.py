"""The demo's worker processes: start, find their metrics ports, stop, and clear away leftovers."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from streams.demo.worker_log import WorkerLog
from streams.engine.errors import ConfigurationError
from streams.settings import Settings
from streams.supervisor import Supervisor, worker_command

_STOP_S = 15.0
_POLL_S = 0.1


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two demos would delete each other's topics.

    Raises:
        ConfigurationError: another demo holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                "another demo runs in this clone; end it with Ctrl-C there first"
            ) from error
        yield


class Workers:
    """One process a role, each with a log file of its own.

    Args:
        settings: Broker, prefix and policy.
        roles: Which.
        folder: Of the logs and of the note who runs.
    """

    def __init__(self, settings: Settings, roles: Sequence[str], folder: Path) -> None:
        self.roles = tuple(roles)
        self._folder = folder
        self._files = ExitStack()
        self._logs: dict[str, IO[bytes]] = {
            role: self._files.enter_context(self.log(role).open("wb")) for role in roles
        }
        self._supervisor = Supervisor(
            {role: worker_command(role, settings) for role in roles}, self._logs
        )
        self._followed = {role: WorkerLog(self.log(role)) for role in roles}

    def start(self) -> None:
        """Start all."""
        self._supervisor.start()
        note(self._folder, {"workers": self._supervisor.pids})

    def stop(self) -> None:
        """Stop all in good order, and wait."""
        self._supervisor.stop()
        note(self._folder, {"workers": {}})
        self._files.close()

    def leave(self) -> None:
        """Let them run on; nobody restarts them from now on."""
        self._supervisor.leave()
        note(self._folder, {"workers": self._supervisor.pids})
        self._files.close()

    def log(self, role: str) -> Path:
        """Log file of a role."""
        return self._folder / f"{role}.log"

    def restarts(self, role: str) -> int:
        """How often the role's process had to be started again."""
        return self._supervisor.restarts_of(role)

    def port(self, role: str) -> int | None:
        """Where the role's newest process serves its metrics; None before it does."""
        return self._followed[role].port

    def complaint(self, role: str) -> str:
        """What the role's log complained about last; empty if it did not."""
        return self._followed[role].complaint


def note(folder: Path, facts: dict[str, object]) -> None:
    """Write down what runs, for the next demo."""
    file = folder / "processes.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **facts}))


def noted(folder: Path) -> dict[str, object]:
    """What :func:`note` wrote."""
    file = folder / "processes.json"
    if not file.exists():
        return {}
    found: dict[str, object] = json.loads(file.read_text())
    return found


def stop_leftovers(folder: Path) -> int:
    """Stop the workers that a former demo left (``--keep``, or it was killed); returns how many."""
    workers = noted(folder).get("workers")
    pids = [pid for pid in workers.values() if _is_worker(pid)] if isinstance(workers, dict) else []
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while any(_is_worker(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for pid in pids:
        if _is_worker(pid):
            os.kill(pid, signal.SIGKILL)
    note(folder, {"workers": {}})
    return len(pids)


def _is_worker(pid: int) -> bool:
    """Whether the process is one of our workers; numbers of processes are used again."""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "streams.cli.main worker" in shown.stdout
