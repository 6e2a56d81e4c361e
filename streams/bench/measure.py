"""What a run costs: CPU, peak memory and other load, sampled from ``/proc``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_EVERY_S = 0.2


def descendants(pid: int) -> list[int]:
    """``pid`` and all processes below it."""
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        found.append(at)
        try:
            for task in os.listdir(f"/proc/{at}/task"):
                todo += map(int, Path(f"/proc/{at}/task/{task}/children").read_text().split())
        except OSError:
            continue  # it ended meanwhile
    return found


def cpu_s(pid: int) -> float:
    """User and system CPU seconds of a process; 0 when it is gone."""
    return _cpu_of(Path(f"/proc/{pid}/stat"))


def rss_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process in MB; ``VmHWM`` for its peak."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    except OSError:
        pass  # it ended meanwhile
    return 0.0


def client_cpu_s(pid: int) -> float:
    """CPU seconds of librdkafka's own threads in a process: what is not ours to compute."""
    total = 0.0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            if (task / "comm").read_text().startswith("rdk:"):
                total += _cpu_of(task / "stat")
    except OSError:
        pass  # it ended meanwhile
    return total


def machine_busy_s() -> float:
    """CPU seconds used on the whole machine since it started."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    fields = list(map(int, line.split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / _TICK  # all but idle and iowait


def calibration_ms() -> float:
    """CPU ms of a fixed piece of work: how slow this machine is right now."""
    started, x = time.process_time(), 0
    for i in range(2_000_000):
        x = (x * 31 + i) & 0xFFFFFF
    return (time.process_time() - started) * 1000


def _cpu_of(stat: Path) -> float:
    try:
        fields = stat.read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


class Sampler:
    """Samples CPU and peak memory of process trees every 0.2 s while it is open.

    Args:
        pids: Roots of the process trees to measure.
        broker: The broker's process id, if it is on this machine.
    """

    def __init__(self, pids: Sequence[int], broker: int | None) -> None:
        self._pids, self._broker = list(pids), broker
        self._rows: list[tuple[float, float, float, float, float]] = []
        self._peaks: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self.sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def sample(self) -> None:
        """Take one sample now."""
        app = client = 0.0
        for root in self._pids:
            for pid in descendants(root):
                app += cpu_s(pid)
                client += client_cpu_s(pid)
                self._peaks[pid] = max(self._peaks.get(pid, 0.0), rss_mb(pid, "VmHWM"))
        broker = cpu_s(self._broker) if self._broker else 0.0
        self._rows.append((time.time(), app, broker, machine_busy_s(), client))

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.sample()

    @property
    def peak_mb(self) -> float:
        """Sum of the processes' peak resident memory."""
        return sum(self._peaks.values())

    def app_s(self, start: float | None = None, end: float | None = None) -> float:
        """CPU seconds of the processes between two wall times; all of them by default."""
        return self._between(1, start, end)

    def broker_s(self, start: float, end: float) -> float:
        """CPU seconds of the broker between two wall times."""
        return self._between(2, start, end)

    def client_s(self, start: float, end: float) -> float:
        """CPU seconds of the processes' librdkafka threads between two wall times."""
        return self._between(4, start, end)

    def other_cores(self, start: float, end: float) -> float:
        """Cores that anything but the processes and the broker used; 0 on a quiet machine."""
        used = self._between(3, start, end) - self.app_s(start, end) - self.broker_s(start, end)
        return used / max(end - start, 1e-9)

    def _between(self, column: int, start: float | None, end: float | None) -> float:
        first = 0.0 if start is None else self._at(start, column)
        last = self._rows[-1][column] if end is None else self._at(end, column)
        return last - first

    def _at(self, when: float, column: int) -> float:
        before = self._rows[0]
        for row in self._rows:
            if row[0] >= when:
                share = (when - before[0]) / (row[0] - before[0]) if row[0] > before[0] else 0.0
                return before[column] + max(0.0, min(1.0, share)) * (row[column] - before[column])
            before = row
        return self._rows[-1][column]


def wait_until(
    condition: Callable[[], bool], timeout_s: float, what: str, pause_s: float = 0.05
) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true in time; ``what`` says what was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(pause_s)
