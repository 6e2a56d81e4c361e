"""Workers as processes on a real broker: whatever happens to them, nothing is lost or doubled."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from streams.engine.errors import SourceRecreated
from streams.engine.rebuilding import WorkerAlive
from tests.faults.chain import EVENT, EVENT_ID
from tests.faults.lab import Lab, event, eventually, headers_of


@pytest.fixture
def lab(kafka: str, prefix: str, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(kafka, prefix, tmp_path)
    yield lab
    lab.close()


def test_a_stop_loses_nothing_and_a_restart_repeats_nothing(lab: Lab) -> None:
    lab.send(range(3000), duplicates=50)
    first = lab.worker().wait_ready()
    lab.wait_outputs(1)
    assert first.stop() == 0
    lab.send(range(3000, 5000), duplicates=50)
    lab.worker().wait_ready()
    assert lab.verify() == 5000


def test_kill_9(lab: Lab) -> None:
    for round_ in range(4):
        lab.send(range(round_ * 3000, (round_ + 1) * 3000), duplicates=50)
        worker = lab.worker()
        if round_ < 3:
            lab.wait_outputs(round_ * 3000 + 500)
            worker.kill()
    assert lab.verify() == 12000


def test_partitions_move_between_two_workers(lab: Lab) -> None:
    lab.send(range(2000))
    first = lab.worker().wait_ready()
    second = lab.worker()
    second.says('"event": "task_open"')
    lab.send(range(2000, 4000))
    first.kill()
    lab.send(range(4000, 6000))
    third = lab.worker()
    third.says('"event": "task_open"')
    assert second.stop() == 0
    lab.send(range(6000, 7000))
    assert lab.verify() == 7000


def test_a_frozen_worker_that_wakes_after_its_partitions_moved_writes_nothing(lab: Lab) -> None:
    lab.send(range(1000))
    zombie = lab.worker().wait_ready()
    lab.wait_outputs(100)
    zombie.send(signal.SIGSTOP)
    lab.send(range(1000, 2000))
    owner = lab.worker().wait_ready()
    lab.wait_outputs(2000)
    zombie.send(signal.SIGCONT)
    lab.send(range(2000, 3000))
    assert lab.verify() == 3000
    assert owner.text().count("task_fenced") <= 2


def test_a_fenced_worker_that_still_owns_its_partitions_goes_on(lab: Lab) -> None:
    lab.send(range(1000))
    worker = lab.worker().wait_ready()
    lab.wait_outputs(1000)
    for partition in range(lab.partitions):
        name = f"{lab.prefix}chain-{partition}"
        intruder = Producer(
            {"bootstrap.servers": lab.kafka, "transactional.id": name, "log_level": 0}
        )
        intruder.init_transactions(30)
    lab.send(range(1000, 2000))
    assert lab.verify() == 2000
    assert "task_fenced" in worker.text()


def test_bad_records_alone_become_dead_letters(lab: Lab) -> None:
    good = event(1)
    bad = {
        b"\x01\x02": "WireFormat",
        b"": "WireFormat",
        b"\x05" + good[1:]: "WireFormat",
        event(1, schema_id=999): "UnknownSchemaId",
        good[:-1]: "Undecodable",
        good[:6] + b"\x04\xff\xfe": "Undecodable",  # invalid UTF-8
        good[:5] + b"\xff" * 11: "Undecodable",
    }
    lab.send(range(100), keys=1)
    for value in bad:
        lab.put(b"bad", value, partition=0)
    lab.put(b"tombstone", None, partition=0)
    lab.put(None, event(5, "reject"), partition=0)
    lab.send(range(100, 200), keys=1)
    lab.send(range(50), keys=7)
    lab.worker()
    assert lab.verify() == 242
    letters = lab.letters()
    causes = [*(("decode", c) for c in bad.values()), ("decode", "NullValue")]
    assert headers_of(letters) == [*causes, ("validate", "NotWanted")]
    assert [e["value"] for e in letters] == [*bad, None, event(5, "reject")]
    assert [e["key"] for e in letters] == [b"bad"] * len(bad) + [b"tombstone", None]
    assert {e["topic"] for e in letters} == {lab.source}
    assert all(e["error_message"] and e["role"] == "chain" for e in letters)


def test_a_batch_of_bad_records_only(lab: Lab) -> None:
    for _ in range(200):
        lab.put(b"bad", b"no avro", partition=1)
    lab.flush()
    lab.worker()
    eventually(lambda: len(lab.read(lab.dlq)) == 200)
    lab.send(range(20))
    assert lab.verify() == 20
    assert len(lab.letters()) == 200


def test_poisonous_records_alone_become_dead_letters(lab: Lab) -> None:
    poison = {700: "boom", 701: "boom", 1500: "huge2000000"}
    lab.send(range(3000), text=lambda n: poison.get(n, ""))
    lab.worker(compression="none")
    assert lab.verify() == 2997
    letters = lab.letters()
    assert sorted(headers_of(letters)) == [
        ("process", "ProcessingError"),
        ("process", "ProcessingError"),
        ("write", "OutputTooLarge"),
    ]
    assert {"ValueError: cannot take 700" in e["error_message"] for e in letters} == {True, False}
    assert {int(e["attempt"]) for e in letters} <= {4, 5, 6, 7}


def test_a_record_too_large_even_for_the_dead_letters_is_named_there(lab: Lab) -> None:
    lab.send(range(10))
    lab.put(b"large", b"no avro" * 200_000)
    lab.flush()
    lab.send(range(10, 20))
    lab.worker(compression="none")
    assert lab.verify() == 20
    (letter,) = lab.letters()
    assert (letter["key"], letter["value"]) == (b"large", None)
    assert letter["value_omitted"] == "1400000"


def test_on_poison_halt_stops_and_loses_nothing(lab: Lab) -> None:
    lab.send(range(500), text=lambda n: "boom" if n == 250 else "")
    worker = lab.worker(on_poison="halt")
    assert worker.ended() == 1
    assert "on_poison: halt" in worker.text()
    assert lab.letters() == []
    lab.worker()  # isolates
    assert lab.verify() == 499
    assert headers_of(lab.letters()) == [("process", "ProcessingError")]


def test_a_flood_of_dead_letters_stops_the_worker(lab: Lab) -> None:
    for _ in range(300):
        lab.put(b"bad", b"no avro")
    lab.flush()
    worker = lab.worker(dead_letter_limit_per_minute=100)
    assert worker.ended() == 1
    assert "dead_letter_limit_per_minute" in worker.text()


def test_a_small_producer_queue_loses_nothing(lab: Lab) -> None:
    lab.send(range(2000), duplicates=50)
    lab.worker(producer_queue_messages=16)
    assert lab.verify() == 2000


def test_a_registry_that_does_not_answer_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    registry = tmp_path / "schema.json"
    lab.send(range(100))
    lab.put(b"later", event(1, schema_id=EVENT_ID + 100))
    lab.send(range(100, 200))
    worker = lab.worker(registry=str(registry))
    worker.says("the registry does not answer")
    registry.write_text(EVENT)
    lab.wait_outputs(201)
    assert len(lab.got()[b"later"]) == 1
    assert lab.letters() == []
    assert "task_restarts" not in worker.text()


def test_lost_changelog_is_refused(lab: Lab) -> None:
    lab.send(range(200))
    lab.worker().wait_ready()
    lab.verify()
    lab.delete(lab.changelog)
    lab.create_changelog()
    worker = lab.worker()
    assert worker.ended() == 1
    assert "leadstream rebuild chain" in worker.text()
    assert sum(map(len, lab.got().values())) == 200
    lab.rebuild()
    lab.send(range(200, 300))
    lab.worker()
    assert lab.verify() == 300


def test_a_rebuild_repeats_nothing_although_the_group_was_behind(lab: Lab) -> None:
    lab.send(range(200), keys=2)
    lab.put(b"bad", b"no avro", partition=0)
    lab.flush()
    worker = lab.worker().wait_ready()
    with pytest.raises(WorkerAlive, match="stop them"):
        lab.rebuild()
    lab.wait_outputs(200)
    eventually(lab.letters)
    worker.stop()
    lab.admin.delete_consumer_groups([lab.group])[lab.group].result(30)
    lab.delete(lab.changelog)
    lab.create_changelog()
    done = lab.rebuild()
    assert sum(sum(r.silent_below.values()) for r in done) == 201
    lab.send(range(200, 300), keys=2)
    lab.worker()
    assert lab.verify() == 300
    assert len(lab.letters()) == 1


def test_a_rebuild_of_state_that_is_there_begins_anew(lab: Lab) -> None:
    lab.send(range(300))
    lab.worker().wait_ready()
    lab.verify()
    for _ in range(2):
        lab.rebuild()
    lab.send(range(300, 400))
    lab.worker()
    assert lab.verify() == 400


def test_recreated_source_is_refused(lab: Lab) -> None:
    lab.send(range(200))
    lab.worker().wait_ready()
    lab.verify()
    lab.delete(lab.source)
    lab.create(lab.source, lab.partitions)
    lab.send(range(1000))
    worker = lab.worker()
    assert worker.ended() == 1
    assert "--from-start" in worker.text()
    assert sum(map(len, lab.got().values())) == 200
    with pytest.raises(SourceRecreated, match="--from-start"):
        lab.rebuild()
    lab.rebuild(from_start=True)
    lab.worker()
    lab.wait_outputs(1200)


def test_recreated_source_is_refused_by_a_running_worker(lab: Lab) -> None:
    lab.send(range(200))
    worker = lab.worker().wait_ready()
    lab.wait_outputs(200)
    lab.delete(lab.source)
    lab.create(lab.source, lab.partitions)
    lab.send(range(100))
    assert worker.ended() == 1
    assert "--from-start" in worker.text() or "is gone" in worker.text()
    again = lab.worker()
    assert again.ended() == 1
    assert "--from-start" in again.text()
    assert sum(map(len, lab.got().values())) == 200


def test_expired_source_is_refused(lab: Lab) -> None:
    lab.send(range(200))
    lab.worker().wait_ready()
    lab.verify()
    lab.send(range(200, 400))
    expire(lab)
    worker = lab.worker()
    assert worker.ended() == 1
    assert "--skip-expired" in worker.text()
    done = lab.rebuild(skip_expired=True)
    assert sum(sum(r.expired.values()) for r in done) == 200
    lab.send(range(400, 500))
    lab.worker()
    lab.wait_outputs(300)
    assert {row["count"] for rows in lab.got().values() for row in rows} == set(range(1, 31))


def test_source_that_expires_under_a_running_worker_is_refused(lab: Lab) -> None:
    lab.send(range(100), keys=1, text=lambda n: "slow0.05")
    worker = lab.worker(batch_rows=1).wait_ready()
    lab.wait_outputs(1)
    worker.send(signal.SIGSTOP)
    lab.send(range(100, 40_000), keys=1, text=lambda n: "x" * 200)
    expire(lab)
    worker.send(signal.SIGCONT)
    assert worker.ended() == 1
    assert "--skip-expired" in worker.text()


def expire(lab: Lab) -> None:
    """As if retention had passed over all records."""
    everything = [TopicPartition(lab.source, p, -1) for p in range(lab.partitions)]
    for future in lab.admin.delete_records(everything).values():
        future.result(30)
