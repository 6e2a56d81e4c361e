"""Opening a task: fence the former owner, restore the state, decide where to go on, or refuse.

Order matters. ``init_transactions`` comes first: from then on no former owner can commit, so the
end of the changelog, asked for afterwards, is final.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from streams.engine.changelog import Changelog, Progress
from streams.engine.codec import Codec
from streams.engine.errors import ChangelogLost, SourceExpired, SourceRecreated
from streams.engine.processor import Processor
from streams.engine.producer import TransactionalProducer
from streams.engine.records import RecordSlice
from streams.engine.state import State
from streams.metrics import EngineMetrics
from streams.settings import Settings

log = structlog.get_logger(__name__)


class Broker(Protocol):
    """Questions to the broker; see ``broker.py``."""

    def start_offset(self, topic: str, partition: int) -> int:
        """First offset that the log still has."""
        ...

    def end_offset(self, topic: str, partition: int, *, committed: bool = True) -> int:
        """End of the log, or its last stable offset."""
        ...

    def topic_id(self, topic: str) -> str:
        """Kafka's id of the topic."""
        ...

    def partitions(self, topics: list[str]) -> dict[str, int]:
        """Partition counts of the topics that exist."""
        ...

    def group_offset(self, group: str, topic: str, partition: int) -> int | None:
        """What a consumer group has committed."""
        ...

    def read(
        self,
        topic: str,
        partition: int,
        end: int,
        apply: Callable[[RecordSlice], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Hand the committed records below ``end`` to ``apply``."""
        ...


@dataclass(slots=True)
class TaskWiring:
    """What all tasks of a worker share.

    Attributes:
        partitions: Partition count of each logical topic.
        codecs: One codec a logical topic; filled on first use.
        models: Snapshot of the broadcast topics, or ``None`` for roles without.
        turn: Held by the task that works on a small batch.
    """

    settings: Settings
    processor: Processor
    broker: Broker
    metrics: EngineMetrics
    partitions: Mapping[str, int]
    new_codec: Callable[[str], Codec]
    group: str
    changelog_topic: str
    models: Any = None
    codecs: dict[str, Codec] | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)
    _changed: threading.Condition | None = None

    def __post_init__(self) -> None:
        self.codecs = {}
        self._changed = threading.Condition()

    def physical(self, topic: str) -> str:
        """Name of a topic on the broker."""
        return self.settings.topic_prefix + topic

    def logical(self, topic: str) -> str:
        """Name of a topic without the prefix."""
        return topic.removeprefix(self.settings.topic_prefix)

    def codec(self, topic: str) -> Codec:
        """Codec of a logical topic."""
        assert self.codecs is not None
        found = self.codecs.get(topic)
        if found is None:
            found = self.codecs[topic] = self.new_codec(topic)
        return found

    def models_changed(self) -> None:
        """Wake every task that waits for a broadcast."""
        assert self._changed is not None
        with self._changed:
            self._changed.notify_all()

    def wait_for_models(self, timeout: float) -> None:
        """Wait for :meth:`models_changed`, or ``timeout`` seconds."""
        assert self._changed is not None
        with self._changed:
            self._changed.wait(timeout)


@dataclass(slots=True)
class OpenTask:
    """A task that may work: its producer, restored state and where it goes on."""

    producer: TransactionalProducer
    state: State
    changelog: Changelog
    progress: Progress
    seconds: float


def open_task(
    wiring: TaskWiring,
    partition: int,
    cancelled: Callable[[], bool] = lambda: False,
    alive: Callable[[], None] = lambda: None,
) -> OpenTask:
    """Open a task.

    Args:
        wiring: What the tasks of the worker share.
        partition: Which task.
        cancelled: Asked while it waits for the broker; true ends the opening.
        alive: Called now and then while the state is read.

    Raises:
        TaskFenced: a newer owner exists.
        BrokerUnavailable: no answer in time, or cancelled.
        SourceExpired, SourceRecreated, ChangelogLost, LayoutChanged: the state cannot be trusted;
            the message says what to do.
    """
    started = time.monotonic()
    role = wiring.processor.role
    name = f"{wiring.settings.topic_prefix}{role}-{partition}"
    producer = TransactionalProducer(name, wiring.settings.producer_config())
    try:
        producer.open(cancelled)
        state = wiring.processor.new_state()
        changelog = Changelog(state)
        end = wiring.broker.end_offset(wiring.changelog_topic, partition)

        def apply(records: RecordSlice) -> None:
            changelog.apply(records)
            alive()

        wiring.broker.read(wiring.changelog_topic, partition, end, apply, cancelled)
        changelog.finish()
        progress = _checked_progress(wiring, partition, changelog.progress)
        layouts = changelog.layout_records()
        if len(layouts):
            producer.begin()
            for keys, values in layouts.runs():
                producer.send(wiring.changelog_topic, keys, values, partition)
            producer.commit(cancelled)
    except BaseException:
        producer.close()
        raise
    seconds = time.monotonic() - started
    wiring.metrics.restored(role, partition, seconds, sum(map(len, state.tables.values())))
    return OpenTask(producer, state, changelog, progress, round(seconds, 3))


def _checked_progress(wiring: TaskWiring, partition: int, stored: Progress | None) -> Progress:
    broker, role = wiring.broker, wiring.processor.role
    stored = stored or Progress()
    offsets, ids = {}, {}
    for topic in wiring.processor.inputs:
        name = wiring.physical(topic)
        start = broker.start_offset(name, partition)
        ids[topic] = broker.topic_id(name)
        at = stored.offsets.get(topic)
        if at is None:
            hint = broker.group_offset(wiring.group, name, partition)
            if hint is not None and hint > start:
                raise ChangelogLost(
                    f"{wiring.changelog_topic}-{partition} holds no progress for {name}, but the "
                    f"group {wiring.group} had come to offset {hint}: the changelog was lost. Run "
                    f"`leadstream rebuild {role}`: it recomputes the state and repeats no output"
                )
            offsets[topic] = start
            continue
        end = broker.end_offset(name, partition, committed=False)
        if stored.topic_ids.get(topic, ids[topic]) != ids[topic] or at > end:
            raise SourceRecreated(
                f"{name}-{partition} was deleted and created again: progress {at} belongs to its "
                f"former records (it ends at {end} now). Run `leadstream rebuild {role} "
                "--from-start` to begin anew with today's records"
            )
        if at < start:
            raise SourceExpired(
                f"{name}-{partition}: progress is {at} but the log begins at {start}; records "
                f"expired before they were processed. Raise the topic's retention; run `leadstream "
                f"rebuild {role} --skip-expired` to go on without them"
            )
        offsets[topic] = at
    return Progress(offsets, ids, stored.attempts, stored.suspect, stored.suppress)
