"""Workers and a broker that goes away: nothing is lost, and a stop does not wait for it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.dev.kafka import DevKafka
from tests.faults.lab import Lab


@pytest.fixture
def lab(own_kafka: DevKafka, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(own_kafka.bootstrap, "outage.", tmp_path)
    yield lab
    lab.close()


def crash(broker: DevKafka) -> None:
    broker.kill()
    broker.start()


@pytest.mark.parametrize("fault", [DevKafka.restart, crash])
def test_a_broker_that_goes_away_in_mid_commit(
    lab: Lab, own_kafka: DevKafka, fault: Callable[[DevKafka], object]
) -> None:
    lab.send(range(6000), duplicates=50)
    worker = lab.worker(batch_rows=20)
    lab.wait_outputs(200)
    fault(own_kafka)
    lab.send(range(6000, 7000))
    assert lab.verify(100) == 7000
    assert worker.process.returncode == 0


def test_a_worker_started_while_the_broker_is_away_waits_for_it(
    lab: Lab, own_kafka: DevKafka
) -> None:
    lab.send(range(1000))
    own_kafka.kill()
    worker = lab.worker()
    worker.says("broker_unreachable")
    own_kafka.start()
    assert lab.verify(100) == 1000
    assert worker.process.returncode == 0


def test_a_stop_does_not_wait_for_a_broker_that_is_gone(lab: Lab, own_kafka: DevKafka) -> None:
    lab.send(range(4000))
    working = lab.worker(batch_rows=10).wait_ready()
    lab.wait_outputs(100)
    own_kafka.pause()
    opening = lab.worker()
    opening.says("metrics_served")
    working.send(signal.SIGTERM)
    opening.send(signal.SIGTERM)
    # no matter of speed: without a limit of its own it would be for ever
    working.ended(90)
    opening.ended(90)
    own_kafka.resume()
    lab.worker()
    assert lab.verify(60) == 4000
