"""``leadstream rebuild``: state that cannot be trusted is recomputed, output is not repeated.

For each partition the changelog gets a mark that makes everything before it void, and progress at
the start of the source logs. Workers that start then work through the sources once more, silently
up to where their outputs had come: the greatest of the stored progress, the group's offset, and
the source offsets that the outputs and dead letters themselves carry. The last one is exact when
the changelog is lost, since the group's offset may be a second behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from streams.engine.changelog import (
    LAYOUT_PREFIX,
    PROGRESS_KEY,
    RESET_KEY,
    ChangeRecords,
    Progress,
)
from streams.engine.errors import ChangelogLost, SourceRecreated, StateError
from streams.engine.opening import Broker, TaskWiring
from streams.engine.producer import TransactionalProducer
from streams.engine.records import RecordSlice

log = structlog.get_logger(__name__)

_TOMBSTONES = 50_000
_KEPT = (RESET_KEY, PROGRESS_KEY)
_PARTITION_COLUMNS = ("source_partition", "timeline_partition")


class RebuildBroker(Broker, Protocol):
    """What a rebuild asks the broker beyond what a task does."""

    def group_members(self, group: str) -> int:
        """Members of a consumer group."""
        ...

    def headers(self, topic: str) -> Iterator[dict[str, str]]:
        """Headers of all committed records of a topic; none when there is no such topic."""
        ...


class WorkerAlive(StateError):
    """A worker of the role runs; a rebuild would pull its state away."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was done for one partition.

    Attributes:
        start: Where each input is read from now.
        silent_below: Below these offsets nothing is written.
        expired: Records of each input that are gone and will not be in the new state.
    """

    partition: int
    start: dict[str, int]
    silent_below: dict[str, int]
    expired: dict[str, int]


def rebuild(
    wiring: TaskWiring,
    broker: RebuildBroker,
    outputs: Iterable[str],
    *,
    from_start: bool = False,
    skip_expired: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> list[Rebuilt]:
    """Make workers of a role recompute their state.

    Args:
        wiring: As for a worker of the role.
        broker: The same broker as in ``wiring``.
        outputs: Logical topics that the role writes; those whose records carry
            ``source_partition`` and ``source_offset`` tell how far it had come.
        from_start: The sources were made anew: write output for all their records.
        skip_expired: Keep the state, and go on behind records that expired unprocessed.
        say: Gets a line of text when a step takes long.

    Raises:
        WorkerAlive: a worker of the role runs.
    """
    members = broker.group_members(wiring.group)
    if members:
        raise WorkerAlive(
            f"{members} workers of {wiring.processor.role} run (group {wiring.group}); stop them, "
            "wait for the session timeout if they were killed, and run this again"
        )
    count = wiring.partitions[wiring.processor.inputs[0]]
    evidence: Mapping[tuple[str, int], int] = {}
    if not from_start and not skip_expired:
        say("reading how far the outputs had come")
        evidence = _evidence(wiring, broker, outputs)
    done = []
    for partition in range(count):
        done.append(_rebuild(wiring, partition, evidence, from_start, skip_expired))
        log.info("rebuilt", partition=partition, silent_below=done[-1].silent_below)
    return done


def _rebuild(
    wiring: TaskWiring,
    partition: int,
    evidence: Mapping[tuple[str, int], int],
    from_start: bool,
    skip_expired: bool,
) -> Rebuilt:
    role, broker = wiring.processor.role, wiring.broker
    name = f"{wiring.settings.topic_prefix}{role}-{partition}"
    producer = TransactionalProducer(name, wiring.settings.producer_config())
    try:
        producer.open(_never)  # whoever still writes is fenced from here on
        stored, keys = _read(wiring, partition)
        if stored is None and skip_expired:
            raise ChangelogLost(
                f"{wiring.changelog_topic}-{partition} holds no progress: there is no state to go "
                "on with. Run this without --skip-expired"
            )
        start, silent, expired, ids = {}, {}, {}, {}
        for topic in wiring.processor.inputs:
            physical = wiring.physical(topic)
            start[topic] = broker.start_offset(physical, partition)
            ids[topic] = broker.topic_id(physical)
            end = broker.end_offset(physical, partition)
            former = stored.topic_ids.get(topic, ids[topic]) if stored else ids[topic]
            if former != ids[topic] and not from_start:
                raise SourceRecreated(
                    f"{physical} was deleted and created again; run this with --from-start to "
                    "begin anew with today's records"
                )
            hint = broker.group_offset(wiring.group, physical, partition) or 0
            known = max(hint, evidence.get((topic, partition), 0))
            had = known
            if stored is not None and topic in stored.offsets:
                # after a rebuild that did not come to its end, what it was silent below counts
                had = max(stored.offsets[topic], stored.suppress.get(topic, 0))
            if skip_expired:
                expired[topic] = max(0, start[topic] - had)
                start[topic] = max(start[topic], had)
                continue
            expired[topic] = start[topic]
            silent[topic] = 0 if from_start else min(max(had, start[topic]), end)
        suppress = {t: o for t, o in silent.items() if o > start[t]}
        progress = Progress(start, ids, suppress=suppress)
        if skip_expired:
            only = ChangeRecords([PROGRESS_KEY], [progress.to_bytes()])
            _write(producer, wiring, partition, only)
        else:
            mark = ChangeRecords([*_KEPT], [b"rebuilt", progress.to_bytes()])
            _write(producer, wiring, partition, mark)
            # from here on the old rows are void; to remove them only saves room
            for at in range(0, len(keys), _TOMBSTONES):
                chunk = keys[at : at + _TOMBSTONES]
                _write(producer, wiring, partition, ChangeRecords(chunk, [None] * len(chunk)))
    finally:
        producer.close()
    return Rebuilt(partition, start, suppress, {t: n for t, n in expired.items() if n})


def _never() -> bool:
    return False


def _write(
    producer: TransactionalProducer, wiring: TaskWiring, partition: int, records: ChangeRecords
) -> None:
    producer.begin()
    for keys, values in records.runs():
        producer.send(wiring.changelog_topic, keys, values, partition)
    producer.commit(_never)


def _read(wiring: TaskWiring, partition: int) -> tuple[Progress | None, list[bytes]]:
    """Stored progress, and the keys of all rows and blobs, without looking into the rows."""
    progress: Progress | None = None
    found: dict[bytes, None] = {}

    def apply(records: RecordSlice) -> None:
        nonlocal progress
        lengths = records.value_length.tolist()
        for at, (key, length) in enumerate(zip(records.keys(), lengths, strict=True)):
            if key == PROGRESS_KEY and length >= 0:
                progress = Progress.from_bytes(records.rows(at, at + 1).values()[0] or b"{}")
            elif key is None or key in _KEPT or key.startswith(LAYOUT_PREFIX):
                continue
            elif length < 0:
                found.pop(key, None)
            else:
                found[key] = None

    end = wiring.broker.end_offset(wiring.changelog_topic, partition)
    wiring.broker.read(wiring.changelog_topic, partition, end, apply, _never)
    return progress, list(found)


def _evidence(
    wiring: TaskWiring, broker: RebuildBroker, outputs: Iterable[str]
) -> dict[tuple[str, int], int]:
    """Offset behind the last record, per input and partition, that outputs or letters name."""
    found: dict[tuple[str, int], int] = {}
    inputs = wiring.processor.inputs

    def note(topic: str, partitions: pa.Array, offsets: pa.Array) -> None:
        where = partitions.to_numpy(zero_copy_only=False)
        behind = offsets.to_numpy(zero_copy_only=False)
        for partition in np.unique(where).tolist():
            last = int(behind[where == partition].max()) + 1
            found[topic, partition] = max(found.get((topic, partition), 0), last)

    def apply(records: RecordSlice) -> None:
        rows = wiring.codec(wiring.logical(records.topic)).decode(records).values
        column = next(c for c in _PARTITION_COLUMNS if c in rows.schema.names)
        topics = rows.column("source_topic") if "source_topic" in rows.schema.names else None
        for topic in inputs:
            if topics is not None:
                mine = rows.filter(pc.equal(topics, topic))
            elif topic == inputs[0]:
                mine = rows
            else:
                continue
            note(topic, mine.column(column), mine.column("source_offset"))

    named = [t for t in outputs if _carries_offsets(wiring, t)]
    counts = broker.partitions([wiring.physical(t) for t in named])
    for topic in named:
        physical = wiring.physical(topic)
        for partition in range(counts.get(physical, 0)):
            end = wiring.broker.end_offset(physical, partition)
            wiring.broker.read(physical, partition, end, apply, _never)
    for topic in inputs:
        for letter in broker.headers(f"{wiring.physical(topic)}.dlq"):
            if letter.get("role") == wiring.processor.role:
                at = topic, int(letter["partition"])
                found[at] = max(found.get(at, 0), int(letter["offset"]) + 1)
    return found


def _carries_offsets(wiring: TaskWiring, topic: str) -> bool:
    names = wiring.codec(topic).arrow_schema.names
    return "source_offset" in names and any(c in names for c in _PARTITION_COLUMNS)
