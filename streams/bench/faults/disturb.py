"""What goes wrong in a fault test: input comes in pieces, and in the middle of each is a fault."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Protocol

from infra.dev.kafka import DevKafka
from streams.bench.faults.workers import Workers

SESSION_S = 3.0
ENVIRONMENT = {
    "LEADSTREAM_SESSION_TIMEOUT_S": str(SESSION_S),
    "LEADSTREAM_RESTART_BACKOFF_S": "0.2",
    "LEADSTREAM_BATCH_ROWS": "2000",  # many commits, so that many faults hit one
}
_MID_S = 20.0
_FINISH_S = 300.0


_COUNTS = {
    "kill": "kills",
    "freeze": "freezes",
    "replace": "replacements",
    "broker_restart": "broker_restarts",
    "broker_crash": "broker_crashes",
}


class Job(Protocol):
    """Input, and how far the workers have come with it."""

    def __len__(self) -> int:
        """Messages of the input."""
        ...

    def append(self, start: int, stop: int) -> None:
        """Send these messages and wait until the broker has them."""
        ...

    def written(self) -> int:
        """Offsets of the outputs; transaction markers count too, so it is for pacing only."""
        ...

    def processed(self) -> bool:
        """Whether all that was sent has been worked off."""
        ...


def faults(kills: int, rng: random.Random) -> list[str]:
    """What goes wrong, in order: kills, and what comes with so many of them."""
    found = ["kill"] * kills
    if kills:
        found += ["freeze"] * max(1, kills // 5) + ["replace"] * max(1, kills // 5)
        found += ["broker_restart"] * max(1, kills // 10) + ["broker_crash"] * max(1, kills // 10)
    rng.shuffle(found)
    return found


def counts(wrong: list[str]) -> dict[str, int]:
    """How often what went wrong."""
    return {words: wrong.count(name) for name, words in _COUNTS.items()}


class Disturbed:
    """One run of a job on workers and a broker that suffer.

    Args:
        broker: Restarted and killed.
        workers: Killed, stopped, frozen until their partitions have moved, and woken.
        job: What they work on.
        rng: Chooses the moments.
    """

    def __init__(self, broker: DevKafka, workers: Workers, job: Job, rng: random.Random) -> None:
        self._broker, self._workers, self._job, self._rng = broker, workers, job, rng

    def go(self, wrong: list[str], say: Callable[[str], None]) -> None:
        """Send all input, let everything go wrong, and wait until all of it is processed."""
        job, workers = self._job, self._workers
        piece = -(-len(job) // (len(wrong) + 1))
        workers.revive()
        for number, fault in enumerate(wrong):
            job.append(number * piece, min(len(job), (number + 1) * piece))
            self._wait_for(job.written() + self._rng.randrange(1, piece))
            say(f"{number + 1}/{len(wrong)} {fault} ({job.written():,} records written)")
            getattr(self, f"_{fault}")()
            workers.revive()
        job.append(min(len(job), len(wrong) * piece), len(job))
        deadline = time.monotonic() + _FINISH_S
        while not job.processed():
            if time.monotonic() > deadline:
                say("not all input was processed in time")
                break
            workers.revive()
            time.sleep(0.2)
        workers.stop()

    def _wait_for(self, offsets: int) -> None:
        deadline = time.monotonic() + _MID_S
        while self._job.written() < offsets and time.monotonic() < deadline:
            time.sleep(0.05)

    def _kill(self) -> None:
        self._workers.kill()

    def _replace(self) -> None:
        self._workers.stop_one()

    def _freeze(self) -> None:
        process = self._workers.freeze()
        time.sleep(SESSION_S + 2.0)  # its partitions have moved by then
        process.send_signal(signal.SIGCONT)

    def _broker_restart(self) -> None:
        self._broker.restart()

    def _broker_crash(self) -> None:
        self._broker.kill()
        self._broker.start()
