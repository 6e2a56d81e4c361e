"""What watches over a worker: dead letter headers, the flood guard, the watchdog, health."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass, field

import pytest

from schemas.registry import load_schema
from streams.engine.background import Background
from streams.engine.dead_letter import DeadLetter, FloodGuard
from streams.engine.errors import DeadLetterFlood
from streams.engine.health import HealthServer
from streams.engine.task import TaskStatus
from streams.engine.watchdog import EXIT_STALLED, Watchdog
from streams.metrics import EngineMetrics


def test_headers_are_those_of_the_schema() -> None:
    letter = DeadLetter("crm.events", 3, 17, b"k", b"v", "decode", "Undecodable", "no", "identity")
    headers = dict(letter.headers(123))
    fields = {f["name"] for f in load_schema("dead_letter")["fields"]}
    assert set(headers) <= fields
    assert headers["offset"] == b"17"
    assert headers["failed_at"] == b"123"


def test_messages_in_headers_are_short_and_any_text() -> None:
    letter = DeadLetter("t", 0, 0, None, None, "process", "E", "\ud800" + "x" * 5000, "r")
    assert len(dict(letter.headers(0))["error_message"]) == 2000


def test_the_flood_guard_counts_a_minute() -> None:
    now = 0.0
    guard = FloodGuard(10, lambda: now)
    guard.add(6)
    now = 30.0
    guard.add(4)
    now = 61.0
    guard.add(6)  # the first six are over a minute old
    with pytest.raises(DeadLetterFlood, match="dead_letter_limit_per_minute"):
        guard.add(1)
    now = 200.0
    guard.add(10)
    guard.add(0)


@dataclass
class FakeTask:
    partition: int = 0
    lag: int = 0
    status: TaskStatus = field(default_factory=lambda: TaskStatus(ready=True))


def test_the_watchdog_wants_a_step_from_who_has_work() -> None:
    task = FakeTask()
    dog = Watchdog(60, lambda: [task])
    assert not dog.stalled(0)
    task.lag = 5  # after a long idle time: the clock starts now
    assert not dog.stalled(1000)
    assert not dog.stalled(1050)
    task.status.steps += 1
    assert not dog.stalled(1061)
    assert not dog.stalled(1121)
    task.status.waiting = True  # for a barrier: that is no stall
    assert not dog.stalled(1200)
    task.status.waiting = False
    assert not dog.stalled(1201)
    assert dog.stalled(1262) == [task]


def test_the_watchdog_sees_an_opening_that_does_not_come_to_an_end() -> None:
    task = FakeTask()
    task.status.ready = False
    dog = Watchdog(60, lambda: [task])
    assert not dog.stalled(0)
    task.status.steps += 1  # it reads its changelog
    assert not dog.stalled(61)
    assert dog.stalled(122) == [task]


def test_a_stalled_task_ends_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    statuses: list[int] = []
    dog = Watchdog(0.02, lambda: [stuck], statuses.append)
    stuck = FakeTask(lag=1)
    dog.start()
    dog._thread.join(10)
    assert statuses == [EXIT_STALLED]
    assert "Thread" in capfd.readouterr().err  # where everybody was


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_answers() -> None:
    ready = False
    metrics = EngineMetrics()
    metrics.commits.labels("identity").inc(3)
    server = HealthServer("127.0.0.1", 0, metrics, lambda: ready)
    server.start()
    try:
        assert get(server.port, "/livez")[0] == 200
        assert get(server.port, "/readyz")[0] == 503
        ready = True
        assert get(server.port, "/readyz") == (200, "ready\n")
        assert 'leadstream_commits_total{role="identity"} 3.0' in get(server.port, "/metrics")[1]
        assert get(server.port, "/")[0] == 404
    finally:
        server.stop()


def test_background_calls_run_in_order_and_keep_their_errors() -> None:
    seen: list[int] = []
    background = Background("test")

    def fail() -> None:
        raise KeyError("x")

    first = background.submit(seen.append, 1)
    second = background.submit(fail)
    third = background.submit(seen.append, 3)
    background.stop()
    assert third.result(10) is None
    assert first.done()
    assert isinstance(second.exception(10), KeyError)
    assert seen == [1, 3]
