"""Worker processes of a benchmark: started, waited for, asked for their metrics, stopped."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from streams.bench.measure import wait_until
from streams.bench.outputs import RunFailed
from streams.settings import Settings
from streams.supervisor import worker_command

_STOP_S = 30.0
_READY_S = 120.0


def free_port() -> int:
    """A free loopback port."""
    from infra.dev.kafka_settings import free_port as found

    return found()


class BenchWorker:
    """One worker process of a role; stopped when the block ends.

    Args:
        role: Its role.
        settings: Broker, prefix, workspaces.
        log: File that takes its output.
        instance: Its name; two of a role need two.
    """

    def __init__(
        self, role: str, settings: Settings, log: Path, instance: str | None = None
    ) -> None:
        self.role, self._log, self._port = role, log, free_port()
        command = worker_command(
            role,
            settings,
            **{
                "metrics-port": self._port,
                "log-level": "warning",
                "instance": instance or f"{role}-0",
            },
        )
        self.started = time.time()
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout_s: float = _READY_S) -> float:
        """Wait until all its tasks are open; returns seconds since the start.

        Raises:
            RunFailed: it ended by itself.
        """
        wait_until(self._is_ready, timeout_s, f"{self.role} worker ready", 0.02)
        return time.time() - self.started

    def _is_ready(self) -> bool:
        if not self.alive:
            raise RunFailed(f"the {self.role} worker ended: {self.last_lines()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2) as got:
                return bool(got.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Samples of ``/metrics``: name -> label values without the role -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as got:
            text = got.read().decode()
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(v for k, v in sample.labels.items() if k != "role")
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    def last_lines(self, count: int = 20) -> str:
        """End of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-count:])

    def stop(self) -> None:
        """SIGTERM, and wait; a worker that does not stop is killed."""
        if not self.alive:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def workers(roles: list[str], settings: Settings, folder: Path) -> Iterator[dict[str, BenchWorker]]:
    """One ready worker of each role."""
    running: dict[str, BenchWorker] = {}
    try:
        for role in roles:
            log = folder / f"{settings.topic_prefix}{role}.log"
            running[role] = BenchWorker(role, settings, log)
        for worker in running.values():
            worker.wait_ready()
        yield running
    finally:
        for worker in running.values():
            worker.stop()
