"""`leadstream dev up | status | down` as a person types it, each in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from infra.dev.kafka_settings import free_port

Run = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = Path(sys.executable).with_name("leadstream")


@pytest.fixture
def leadstream(tmp_path: Path) -> Iterator[Run]:
    environment = {**os.environ, "LEADSTREAM_HOME": str(tmp_path / "home"), "COLUMNS": "200"}

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=Path(__file__).resolve().parents[1],
            env={**environment, **more},
        )

    yield run
    run("dev", "down")


def status(leadstream: Run) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(leadstream("dev", "status", "--json").stdout)
    return facts


def create_topic(leadstream: Run, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": status(leadstream)["bootstrap"], "log_level": 0})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)


def topics(leadstream: Run) -> set[str]:
    admin = AdminClient({"bootstrap.servers": status(leadstream)["bootstrap"], "log_level": 0})
    return set(admin.list_topics(timeout=30).topics)


def test_up_status_down(leadstream: Run) -> None:
    nothing = leadstream("dev", "status")
    assert nothing.returncode == 3
    assert "leadstream dev up" in nothing.stdout

    port = free_port()
    up = leadstream("dev", "up", "--port", str(port))
    assert up.returncode == 0, up.stderr
    assert f"127.0.0.1:{port}" in up.stdout
    first = status(leadstream)
    assert first["running"]
    assert first["answers"]
    create_topic(leadstream, "kept")

    again = leadstream("dev", "up")
    assert "runs already" in again.stdout
    assert status(leadstream)["pid"] == first["pid"]

    elsewhere = leadstream("dev", "up", "--port", str(free_port(other_than=port)))
    assert elsewhere.returncode == 1
    assert "leadstream dev down" in elsewhere.stderr

    assert leadstream("dev", "down").returncode == 0
    assert not status(leadstream)["running"]
    assert leadstream("dev", "down").returncode == 0

    assert leadstream("dev", "up").returncode == 0
    assert status(leadstream)["bootstrap"] == first["bootstrap"]
    assert "kept" in topics(leadstream)

    assert leadstream("dev", "up", "--fresh").returncode == 0
    assert status(leadstream)["bootstrap"] == first["bootstrap"]
    assert "kept" not in topics(leadstream)


def test_two_ups_at_once_start_one_broker(leadstream: Run) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: leadstream("dev", "up"), range(2)))
    assert [one.returncode for one in both] == [0, 0]
    pid = status(leadstream)["pid"]
    assert all(f"(process {pid})" in one.stdout for one in both)


def test_errors_say_what_to_do(leadstream: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other:
        port = str(other.getsockname()[1])
        taken = leadstream("dev", "up", "--port", port)
    assert taken.returncode == 1
    assert port in taken.stderr
    assert "--port" in taken.stderr
    assert "Traceback" not in taken.stderr

    no_jars = leadstream(
        "dev",
        "up",
        LEADSTREAM_CACHE=str(tmp_path / "cache"),
        LEADSTREAM_MAVEN_REPOSITORY=f"http://127.0.0.1:{free_port()}",
    )
    assert no_jars.returncode == 1
    assert "network" in no_jars.stderr
    assert "Traceback" not in no_jars.stderr
