"""Latency: paced events in, and when a ``read_committed`` subscriber holds their scores.

The load comes from a process of its own. An event's latency counts from its append on the input
topic (the broker's LogAppendTime) to the wall time at which the subscriber received its score;
``from_send_ms`` counts from when the sender handed it to its client.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, TopicPartition
from numpy.typing import NDArray

from streams.bench.measure import Sampler
from streams.bench.outputs import Outputs
from streams.bench.own_broker import BenchBroker
from streams.bench.scoring.load import PacedLoad
from streams.bench.scoring.messages import Messages
from streams.bench.scoring.scores import Sums, appended_ms, event_ids
from streams.bench.scoring.workers import BenchWorker
from streams.settings import Settings

_IDLE_S = 10.0
_CHUNK = 4096


class Subscriber:
    """Receives every new score and notes when; a context manager.

    Args:
        bootstrap: ``host:port,…``.
        topic: Physical name.
        start: Offset of each partition to begin at.
    """

    def __init__(self, bootstrap: str, topic: str, start: Mapping[int, int]) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "leadstream-bench-subscriber",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.min.bytes": 1,
                "queued.min.messages": 1_000_000,
            }
        )
        self._consumer.assign([TopicPartition(topic, p, o) for p, o in start.items()])
        self._received: list[tuple[float, list[bytes | None]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)
        self.count, self.newest = 0, time.time()

    def __enter__(self) -> Subscriber:
        gc.collect()
        gc.disable()  # a pause of this process is no latency of the scores
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        gc.enable()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            first = self._consumer.poll(0.2)
            if first is None:
                continue
            messages = [first, *self._consumer.consume(_CHUNK, 0)]
            now = time.time()
            values = [m.value() for m in messages if not m.error()]
            self._received.append((now, values))
            self.count += len(values)
            self.newest = now

    @property
    def batches(self) -> int:
        """How many were received at once, so often."""
        return len(self._received)

    def since(self, batch: int) -> list[tuple[float, list[bytes | None]]]:
        """What was received from a batch on: seconds of wall time, and encoded scores."""
        return self._received[batch:]

    def wait_for(self, count: int) -> None:
        """Wait until so many came, or nothing came for 10 s."""
        while self.count < count and time.time() - self.newest < _IDLE_S:
            time.sleep(0.05)

    def received(self) -> tuple[Any, NDArray[np.float64], Sums]:
        """Event ids, seconds of wall time, in the order in which they came ``[n]``; their sums."""
        sums = Sums()
        ids = [event_ids(values, sums) for _, values in self._received]
        times = [np.full(len(values), at) for at, values in self._received]
        if not ids:
            return pa.array([], pa.string()), np.empty(0), sums
        return pa.concat_arrays(ids), np.concatenate(times), sums


def measure(
    settings: Settings,
    broker: BenchBroker,
    running: Mapping[str, BenchWorker],
    messages: Messages,
    folder: Path,
    *,
    source: str,
    rate: float,
    partitions: int,
    skip_s: float,
    linger_ms: float,
) -> dict[str, Any]:
    """Send messages to ``source`` at a rate while workers run; the first seconds do not count."""
    bootstrap, prefix = settings.kafka_bootstrap, settings.topic_prefix
    outputs = Outputs(bootstrap, partitions)
    path = folder / f"{source}-{rate:.0f}.arrow"
    messages.write(path)
    base = outputs.ends(prefix + source, committed=False)
    load = PacedLoad(bootstrap, prefix + source, path, rate, linger_ms)
    start = outputs.ends(prefix + "leads.scored")
    pids = [w.pid for w in running.values()]
    with Subscriber(bootstrap, prefix + "leads.scored", start) as subscriber:
        with Sampler(pids, broker.pid) as sampler:
            began = time.time()
            sent, report = load.run()
            subscriber.newest = time.time()
            subscriber.wait_for(messages.events)
            ended = time.time()
            sampler.sample()
        ids, visible, sums = subscriber.received()
    appended = appended_ms(bootstrap, prefix + source, base, messages.partition) / 1000
    path.unlink()
    path.with_suffix(".sent.npy").unlink()
    number = pc.index_in(ids, value_set=messages.event_ids).to_numpy(zero_copy_only=False)
    seen, at = _first_seen(number, visible)
    counted = sent[seen] >= sent[0] + skip_s
    seen, at = seen[counted], at[counted]
    n = max(len(visible), 1)
    during = at[at <= sent[-1]]
    return {
        "from": source,
        "rate_per_s": round(report["rate_per_s"]),
        "counted": len(seen),
        "visible_per_s": _rate(during),
        "missing": messages.events - len(np.unique(number)),
        "duplicate": len(number) - len(np.unique(number)),
        **_percentiles("latency_ms", at - appended[seen]),
        **_percentiles("from_send_ms", at - sent[seen]),
        "sum_error": sums.sum_error,
        "delta_error": sums.delta_error,
        "model_parts": sums.model_parts,
        "late_ms_p99": round(report["late_ms_p99"], 1),
        "cpu_us_per_event": round(sampler.app_s(began, ended) / n * 1e6, 1),
        "other_cores": round(
            sampler.other_cores(began, ended) - report["cpu_s"] / (ended - began), 2
        ),
    }


def _first_seen(
    number: NDArray[np.int64], visible: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    seen, first = np.unique(number, return_index=True)
    return seen, visible[first]


def _rate(times: NDArray[np.float64]) -> int:
    return round((len(times) - 1) / float(np.ptp(times))) if len(np.unique(times)) > 1 else 0


def _percentiles(name: str, seconds: NDArray[np.float64]) -> dict[str, float | None]:
    if not len(seconds):
        return {f"{name}_p50": None, f"{name}_p99": None}
    p50, p99 = np.percentile(1000 * seconds, [50, 99])
    return {f"{name}_p50": round(float(p50), 1), f"{name}_p99": round(float(p99), 1)}
