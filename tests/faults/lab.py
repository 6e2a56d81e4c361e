"""A place for fault tests: topics of one run, workers as processes, and what must come out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, IsolationLevel, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from streams import topics
from streams.engine.avro_rows import plain_schema, read, write
from streams.engine.broker import KafkaBroker
from streams.engine.codec import HEADER
from streams.engine.opening import TaskWiring
from streams.engine.rebuilding import Rebuilt, rebuild
from streams.settings import Settings
from tests.faults.chain import EVENT, EVENT_ID, NEW, RESULT, step
from tests.faults.worker import wiring

WORKER = Path(__file__).with_name("worker.py")
_EVENT, _RESULT = plain_schema(EVENT), plain_schema(RESULT)


def eventually(
    check: Callable[[], Any], timeout_s: float = 90.0, every_s: float = 0.1, what: str = ""
) -> Any:
    """Wait until ``check`` returns something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what or check}")
        time.sleep(every_s)


def event(number: int, text: str = "", schema_id: int = EVENT_ID) -> bytes:
    """One event on the wire."""
    return HEADER.pack(0, schema_id) + write(_EVENT, {"number": number, "text": text})


class WorkerProcess:
    """One worker in a process of its own."""

    def __init__(self, options: dict[str, Any], log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER), json.dumps({**options, "metrics_port": self.port})],
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            )

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        if self.process.poll() is not None:
            raise AssertionError(f"the worker ended ({self.process.returncode}):\n{self.text()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, timeout_s: float = 90.0) -> WorkerProcess:
        """Wait until it is ready."""
        eventually(self.ready, timeout_s, what=f"worker ready:\n{self.text()}")
        return self

    def text(self) -> str:
        """What it logged."""
        return self.log.read_text(errors="replace")

    def says(self, words: str, timeout_s: float = 90.0) -> None:
        """Wait until the log has these words."""
        eventually(lambda: words in self.text(), timeout_s, what=f"{words!r} in:\n{self.text()}")

    def send(self, number: int) -> None:
        """Send a signal if it runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        self.process.wait(30)

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM; returns the exit status."""
        self.send(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def ended(self, timeout_s: float = 90.0) -> int:
        """Wait for it to end by itself; returns the exit status."""
        return self.process.wait(timeout_s)


@dataclass
class Lab:
    """Topics with a prefix of their own on a broker; workers that end with the test."""

    kafka: str
    prefix: str
    folder: Path
    partitions: int = 2
    settings: dict[str, Any] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        self.producer = Producer(
            {
                "bootstrap.servers": self.kafka,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,  # a retry would change the order
                "linger.ms": 5,
                "message.max.bytes": 8 << 20,
                "log_level": 0,
            }
        )
        self.source, self.sink = self.prefix + "in", self.prefix + "out"
        self.dlq, self.changelog = self.prefix + "in.dlq", self.prefix + "chain-changelog"
        self.group = self.prefix + "chain"
        self.create(self.source, self.partitions)
        self.create(self.sink, self.partitions, **{"max.message.bytes": "1000000"})
        self.create(self.dlq, 1, **{"max.message.bytes": "1000000"})
        self.create_changelog()

    def create(self, name: str, partitions: int, **config: str) -> None:
        """Create a topic, also one that is about to be gone."""
        settings = {"message.timestamp.type": "LogAppendTime", **config}

        def done() -> bool:
            topic = NewTopic(name, partitions, 1, config=settings)
            return self.admin.create_topics([topic])[name].exception(30) is None

        eventually(done, what=f"topic {name} created")

    def create_changelog(self) -> None:
        """Create the changelog as a deployment does."""
        config = topics.config(topics.changelog_topic("chain", self.partitions))
        self.create(self.changelog, self.partitions, **config)

    def all_decided(self) -> bool:
        """Whether no transaction is open on partition 0 of the changelog."""
        spec = {TopicPartition(self.changelog, 0): OffsetSpec.latest()}
        ends = [
            next(iter(self.admin.list_offsets(spec, isolation_level=level).values())).result(30)
            for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
        ]
        return bool(ends[0].offset == ends[1].offset)

    def delete(self, name: str) -> None:
        """Delete a topic and wait until it is gone."""
        self.admin.delete_topics([name])[name].result(30)
        eventually(
            lambda: name not in self.admin.list_topics(timeout=10).topics, what=f"{name} gone"
        )

    def wiring(self) -> TaskWiring:
        """The test job's wiring, as its workers have it."""
        options = {"kafka_bootstrap": self.kafka, "topic_prefix": self.prefix}
        return wiring(Settings(**options), self.partitions)

    def rebuild(self, **flags: bool) -> list[Rebuilt]:
        """What ``leadstream rebuild`` does, for the test job."""
        return rebuild(self.wiring(), KafkaBroker(self.kafka), ["out"], **flags)

    # -- workers

    def worker(self, **settings: Any) -> WorkerProcess:
        """Start a worker."""
        options = {
            "kafka_bootstrap": self.kafka,
            "topic_prefix": self.prefix,
            "session_timeout_s": 3.0,
            "restart_backoff_s": 0.2,
            "partitions": self.partitions,
            **self.settings,
            **settings,
        }
        log = self.folder / f"worker-{len(self.workers)}.log"
        self.workers.append(WorkerProcess(options, log))
        return self.workers[-1]

    def close(self) -> None:
        """End what still runs."""
        for worker in self.workers:
            worker.kill()

    # -- input

    def send(
        self,
        numbers: Iterable[int],
        keys: int = 10,
        text: Callable[[int], str] = lambda n: "",
        duplicates: int = 0,
    ) -> None:
        """Send events ``number`` with key ``number % keys``; every ``duplicates``-th once more."""
        for number in numbers:
            value = event(number, text(number))
            for _ in range(2 if duplicates and number % duplicates == 0 else 1):
                self.put(f"k{number % keys}".encode(), value)
        self.flush()

    def put(self, key: bytes | None, value: bytes | None, partition: int | None = None) -> None:
        """Send one record as it is."""
        where = {} if partition is None else {"partition": partition}
        while True:
            try:
                self.producer.produce(self.source, value, key, **where)
                return
            except BufferError:
                self.producer.poll(0.1)

    def flush(self) -> None:
        """Wait until everything that was sent is in the log."""
        assert self.producer.flush(60) == 0

    # -- what came out

    def read(self, topic: str) -> list[Message]:
        """All committed records of a topic; those of a partition in order."""
        return list(committed(self.kafka, topic))

    def results(self) -> list[Message]:
        """Committed outputs."""
        return self.read(self.sink)

    def letters(self) -> list[dict[str, Any]]:
        """Headers, key and value of the dead letters, by offset of the original."""
        out = []
        for message in self.read(self.dlq):
            headers = {k: v.decode() for k, v in message.headers() or []}
            out.append({**headers, "key": message.key(), "value": message.value()})
        return sorted(out, key=lambda e: (int(e["partition"]), int(e["offset"])))

    def expected(self) -> dict[bytes, list[dict[str, Any]]]:
        """What the input must give, by key in order; what is bad or makes trouble is left out."""
        rows: dict[bytes, tuple[int, int, int]] = {}
        out = defaultdict(list)
        for message in self.read(self.source):
            value = message.value()
            if value is None or len(value) < 5 or value[:5] != HEADER.pack(0, EVENT_ID):
                continue
            try:
                row = read(value[5:], _EVENT, _EVENT)
            except Exception:
                continue
            if row["text"] in ("boom", "reject") or row["text"].startswith("huge"):
                continue
            key = message.key() or b""
            last, count, chain = rows.get(key) or (int(x) for x in NEW.tolist())
            new = step(last, count, chain, row["number"])
            if new is not None:
                rows[key] = new
                out[key].append({"number": new[0], "count": new[1], "chain": new[2], "text": ""})
        return out

    def got(self) -> dict[bytes, list[dict[str, Any]]]:
        """What came out, by key in order."""
        out = defaultdict(list)
        for message in self.results():
            row = read(message.value()[5:], _RESULT, _RESULT)
            out[message.key()].append({k: v for k, v in row.items() if "source" not in k})
        return out

    def wait_outputs(self, count: int, timeout_s: float = 40.0) -> None:
        """Wait for at least so many committed outputs."""
        eventually(
            lambda: committed_count(self.kafka, self.sink) >= count,
            timeout_s,
            0.2,
            f"{count} outputs, there are {committed_count(self.kafka, self.sink)}; "
            + "\n".join(w.text()[-3000:] for w in self.workers),
        )

    def verify(self, timeout_s: float = 40.0) -> int:
        """Wait until all has come out that must, stop the workers, compare; returns how many."""
        expected = self.expected()
        total = sum(map(len, expected.values()))
        self.wait_outputs(total, timeout_s)
        for worker in self.workers:
            worker.stop()
        got = self.got()
        for key in sorted({*expected, *got}):
            assert got[key] == expected[key], f"key {key!r}"
        return total


def committed(kafka: str, topic: str) -> Iterator[Message]:
    """Committed records of a topic; those of a partition in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "lab",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        open_partitions = set(partitions)
        while open_partitions:
            message = consumer.poll(30)
            assert message is not None, f"{topic}: nothing to read"
            if message.error() is None:
                yield message
                continue
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            open_partitions.discard(message.partition())
    finally:
        consumer.close()


def committed_count(kafka: str, topic: str) -> int:
    """How many committed records a topic has."""
    return sum(1 for _ in committed(kafka, topic))


def headers_of(letters: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Stage and error class of each letter."""
    return [(letter["stage"], letter["error_class"]) for letter in letters]


__all__ = ["Lab", "WorkerProcess", "event", "eventually", "fastavro", "headers_of"]
