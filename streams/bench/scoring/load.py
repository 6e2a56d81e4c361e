"""Sends messages: as fast as possible, or as a process of its own that keeps an exact pace.

The process (``python -m streams.bench.scoring.load``) reads the messages, prints ``ready``, waits
for a line, sends each message at its time and writes down when it did.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from streams.bench.scoring.messages import Messages

_PAUSE_S = 0.001
_FLUSH_S = 60.0


def producer(bootstrap: str, linger_ms: float) -> Any:
    """An idempotent producer, as identity's is, without transactions."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": linger_ms,
            "compression.type": "lz4" if linger_ms > 2 else "none",
            "batch.num.messages": 10_000,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 500_000,
        }
    )


def send_all(bootstrap: str, topic: str, messages: Messages) -> None:
    """Send everything at once, in large batches.

    Raises:
        RuntimeError: the broker did not take all of it.
    """
    out = producer(bootstrap, 50)
    for number, (key, value, partition) in enumerate(messages.rows()):
        _produce(out, topic, key, value, partition)
        if number % 1000 == 0:
            out.poll(0)
    _flush(out)


def _produce(out: Any, topic: str, key: bytes, value: bytes, partition: int) -> None:
    while True:
        try:
            out.produce(topic, value, key, partition=partition)
            return
        except BufferError:
            out.poll(0.05)


def _flush(out: Any) -> None:
    left = out.flush(_FLUSH_S)
    if left:
        raise RuntimeError(f"{left} messages were not delivered within {_FLUSH_S:.0f} s")


class PacedLoad:
    """The sending process, seen from outside.

    Args:
        path: File of the messages (:meth:`Messages.write`).
        rate: Messages a second.
        linger_ms: How long messages wait for company; real senders batch little.
    """

    def __init__(
        self, bootstrap: str, topic: str, path: Path, rate: float, linger_ms: float
    ) -> None:
        self._sent = path.with_suffix(".sent.npy")
        command = [
            sys.executable, "-m", "streams.bench.scoring.load", "--bootstrap", bootstrap,
            "--topic", topic, "--file", str(path), "--sent", str(self._sent),
            "--rate", str(rate), "--linger-ms", str(linger_ms),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the load generator did not start; its error is above")

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def run(self) -> tuple[Any, dict[str, float]]:
        """Send; returns the wall time in seconds at which each message was handed over ``[n]``."""
        out, _ = self._process.communicate("go\n")
        if self._process.returncode:
            raise RuntimeError("the load generator failed; its error is above")
        return np.load(self._sent), json.loads(out.strip().splitlines()[-1])


def _keep_pace(out: Any, topic: str, messages: Messages, rate: float) -> Any:
    rows = list(messages.rows())
    n = len(rows)
    sent = np.empty(n)
    print("ready", flush=True)
    sys.stdin.readline()
    gc.collect()
    gc.freeze()
    gc.disable()
    started = time.time()
    at = 0
    while at < n:
        now = time.time()
        due = min(n, int((now - started) * rate) + 1)
        for i in range(at, due):
            key, value, partition = rows[i]
            _produce(out, topic, key, value, partition)
        sent[at:due] = now
        at = due
        out.poll(0)
        time.sleep(max(_PAUSE_S, started + at / rate - time.time()) if at < n else 0)
    return started, sent


def main() -> None:
    """Read, wait, send, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--sent", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--linger-ms", type=float, default=1.0)
    given = parser.parse_args()
    out = producer(given.bootstrap, given.linger_ms)
    messages = Messages.read(given.file)
    started, sent = _keep_pace(out, given.topic, messages, given.rate)
    _flush(out)
    np.save(given.sent, sent)
    late_ms = 1000 * (sent - started - np.arange(len(sent)) / given.rate)
    report = {
        "rate_per_s": len(sent) / max(sent[-1] - started, 1e-9),
        "late_ms_p99": float(np.percentile(late_ms, 99)),
        "cpu_s": time.process_time(),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
