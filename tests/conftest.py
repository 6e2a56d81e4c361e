"""Fixtures that give tests a real Kafka broker."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from infra.dev.kafka import DevKafka


def pytest_configure() -> None:
    """Let an ended run (SIGTERM, for example of `timeout`) tear its fixtures down."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a broker that the whole run shares; isolate topics by `prefix`."""
    given = os.environ.get("LEADSTREAM_KAFKA_BOOTSTRAP")
    if given:
        yield given
        return
    with DevKafka(tmp_path_factory.mktemp("kafka"), die_with_parent=True) as broker:
        yield broker.bootstrap


@pytest.fixture
def prefix() -> str:
    """Prefix of this test's topics, groups and transactional ids."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[DevKafka]:
    """Give a running broker that this test may stop, kill, pause and restart."""
    with DevKafka(tmp_path / "kafka", die_with_parent=True) as broker:
        yield broker
