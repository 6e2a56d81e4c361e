"""Imports on a real broker: all arrives once and in order, also after a kill or a full queue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.files import kafka_sink
from connectors.files.errors import DeliveryError
from connectors.files.importer import Importer
from connectors.files.kafka_sink import KafkaSink
from connectors.files.mapping import parse_mapping
from connectors.files.pipeline import Pipeline, source_batches
from connectors.files.shipped import shipped_excerpt
from schemas.registry import parse_header, schema_id, schema_json

ROOT = Path(__file__).parents[1]
DEADLINE_S = 60.0


def make_topics(kafka: str, *names: str, **config: str) -> None:
    new = [NewTopic(name, 2, 1, config=config) for name in names]
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.create_topics(new).values():
        future.result(DEADLINE_S)


def read_all(kafka: str, topic: str) -> list[tuple[bytes, bytes]]:
    """(key, value) of all records of a topic of two partitions, each partition in order."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "none"})
    records: list[tuple[bytes, bytes]] = []
    for number in range(2):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), DEADLINE_S)
        consumer.assign([TopicPartition(topic, number, low)])
        deadline = time.monotonic() + DEADLINE_S
        got = 0
        while got < high - low and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.2):
                assert message.error() is None
                records.append((message.key(), message.value()))
                got += 1
        assert got == high - low
    consumer.close()
    return records


def decode(value: bytes, name: str = "source_event") -> dict[str, Any]:
    import io

    assert parse_header(value) == schema_id(name)
    schema = fastavro.parse_schema(json.loads(schema_json(name)))
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)  # type: ignore[return-value]


def expected_ids(mapping: str, file: Path) -> list[str]:
    return [i for _, b in source_batches(mapping, [file]) for i in b["event_id"].to_pylist()]


def command(kafka: str, prefix: str, *arguments: str) -> list[str]:
    code = (
        "import typer; from streams.cli import import_; app = typer.Typer();"
        "app.callback()(lambda: None); import_.register(app); app()"
    )
    where = ["--bootstrap", kafka, "--prefix", prefix]
    return [sys.executable, "-c", code, "import", *arguments, *where]


def test_events_arrive_in_order_and_readable_by_fastavro(kafka: str, prefix: str) -> None:
    make_topics(kafka, prefix + "crm.events")
    sink = KafkaSink(kafka, ["crm.events"], prefix)
    batches = [b for _, b in source_batches("online_retail", [shipped_excerpt("online_retail")])]
    for batch in batches:
        sink.send("crm.events", batch)
    sink.flush()
    records = read_all(kafka, prefix + "crm.events")
    assert {key for key, _ in records} == {b"retail"}
    got = [decode(value) for _, value in records]
    expected = [row for batch in batches for row in batch.to_pylist()]
    assert [e["event_id"] for e in got] == [e["event_id"] for e in expected]
    for one, other in zip(got, expected, strict=True):
        assert one["amount_minor"] == other["amount_minor"]
        assert one["identifiers"] == dict(other["identifiers"])
        assert one["occurred_at"].replace(tzinfo=None) == other["occurred_at"]


def test_indicators_have_keys_of_their_own(kafka: str, prefix: str, tmp_path: Path) -> None:
    make_topics(kafka, prefix + "market.indicators")
    file = tmp_path / "rates.csv"
    file.write_text("day,rate\n2025-01-01,2.5\n2025-01-02,2.6\n")
    mapping = parse_mapping(
        "workspace: w\nsource: s\ntime: {column: day}\n"
        "indicators: [{series: euribor, value: rate, unit: percent}]"
    )
    sink = KafkaSink(kafka, ["market.indicators"], prefix)
    result = Importer(Pipeline(mapping, [file]), [file], sink, tmp_path).run()
    assert result.progress.acknowledged == 2
    records = read_all(kafka, prefix + "market.indicators")
    assert {key for key, _ in records} == {b"w/euribor"}
    assert [decode(v, "market_indicator")["value"] for _, v in records] == [2.5, 2.6]


def test_a_full_producer_queue_loses_and_swaps_nothing(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_topics(kafka, prefix + "crm.events")
    # The sink believes in more room than the queue has, so produce_batch drops within a batch.
    sink = KafkaSink(kafka, ["crm.events"], prefix, {"queue.buffering.max.messages": 500})
    ids: list[str] = []
    for _, batch in source_batches("bank_marketing", [shipped_excerpt("bank_marketing")]):
        sink.send("crm.events", batch)
        ids += batch["event_id"].to_pylist()
    sink.flush()
    got = [decode(value)["event_id"] for _, value in read_all(kafka, prefix + "crm.events")]
    assert sorted(got) == sorted(ids)
    # With the room it believes in the sink waits before the batch, and the order stays.
    other = prefix + "b."
    make_topics(kafka, other + "crm.events")
    monkeypatch.setattr(kafka_sink, "QUEUE_MESSAGES", 500)
    sink = KafkaSink(kafka, ["crm.events"], other)
    for _, batch in source_batches("bank_marketing", [shipped_excerpt("bank_marketing")]):
        sink.send("crm.events", batch)
    sink.flush()
    got = [decode(value)["event_id"] for _, value in read_all(kafka, other + "crm.events")]
    assert got == ids


def test_what_the_broker_refuses_is_an_error(kafka: str, prefix: str) -> None:
    make_topics(kafka, prefix + "crm.events", **{"max.message.bytes": "300"})
    sink = KafkaSink(kafka, ["crm.events"], prefix)
    [(_, batch), *_] = source_batches("bank_marketing", [shipped_excerpt("bank_marketing")])
    with pytest.raises(DeliveryError, match="not delivered"):
        for _ in range(3):
            sink.send("crm.events", batch)
            sink.flush()


def test_a_missing_topic_is_told_with_the_command_that_makes_it(kafka: str, prefix: str) -> None:
    with pytest.raises(DeliveryError, match="leadstream topics create"):
        KafkaSink(kafka, ["crm.events"], prefix)


def test_a_killed_import_resumes_without_a_gap(kafka: str, prefix: str, tmp_path: Path) -> None:
    make_topics(kafka, prefix + "web.events")
    file = shipped_excerpt("online_shoppers")
    assert file is not None
    environment = {**os.environ, "LEADSTREAM_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    slow = command(kafka, prefix, "online_shoppers", "--rate", "1000")
    checkpoints = tmp_path / "imports"
    process = subprocess.Popen(slow, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not list(checkpoints.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
    [checkpoint] = checkpoints.glob("*.json")
    saved = json.loads(checkpoint.read_text())
    assert not saved["done"] and saved["records"] > 0

    stopped = subprocess.Popen(
        [*slow, "--json"], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + DEADLINE_S
    while json.loads(checkpoint.read_text()) == saved and time.monotonic() < deadline:
        time.sleep(0.02)
    stopped.send_signal(signal.SIGTERM)
    out, _ = stopped.communicate(timeout=DEADLINE_S)
    assert stopped.returncode == 143
    middle = json.loads(out.splitlines()[-1])
    assert middle["status"] == "stopped" and middle["events_resumed"] == saved["records"]
    assert middle["events_acknowledged"] == saved["records"] + middle["events"]

    fast = command(kafka, prefix, "online_shoppers", "--json")
    whole = {"env": environment, "cwd": ROOT, "capture_output": True, "text": True}
    done = subprocess.run(fast, check=False, **whole)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["status"] == "done" and last["events_resumed"] == middle["events_acknowledged"]

    ids = expected_ids("online_shoppers", file)
    got = [decode(value)["event_id"] for _, value in read_all(kafka, prefix + "web.events")]
    assert set(got) == set(ids)
    # Only what the killed run sent after its last checkpoint is there twice, with the same id.
    repeats = len(got) - len(ids)
    assert 0 <= repeats < len(ids) // 2
    first = list(dict.fromkeys(got))
    assert first == ids

    again = subprocess.run(fast, check=True, **whole)
    assert json.loads(again.stdout.splitlines()[-1])["status"] == "already_done"
