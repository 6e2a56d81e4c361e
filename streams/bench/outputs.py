"""Watches an output topic while a run writes to it: when was everything there to be read?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

_EVERY_S = 0.1
_TRIES = 25
_LOADING = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
)


class RunFailed(RuntimeError):
    """A run did not come to its end; the message says why and shows the end of its log."""


class Outputs:
    """Asks a broker how far a topic can be read, and how far one group has come.

    Args:
        bootstrap: ``host:port,…``.
        partitions: Partitions of the topics that are watched.
    """

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._where: dict[str, str | int] = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin = AdminClient(self._where)
        self._committed: Consumer | None = None
        self._partitions = range(partitions)
        self.seen: list[tuple[float, dict[int, int]]] = []

    def ends(self, topic: str, *, committed: bool = True) -> dict[int, int]:
        """End offset by partition, as a ``read_committed`` reader sees it or as written."""
        isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        wanted = {TopicPartition(topic, p): OffsetSpec.latest() for p in self._partitions}
        for attempt in range(_TRIES):  # a topic made just now may have no leader for a moment
            try:
                found = self._admin.list_offsets(
                    wanted, isolation_level=isolation, request_timeout=10
                )
                return {tp.partition: f.result().offset for tp, f in found.items()}
            except KafkaException:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.2)
        raise AssertionError("the loop returns or raises")

    def group_offsets(self, group: str, topic: str) -> dict[int, int]:
        """Offsets that a group committed, by partition; none while the group is being loaded."""
        if self._committed is None:
            # an AdminClient crashes the process when the coordinator is not there yet (librdkafka
            # 2.16: OffsetFetch asks a consumer group that an AdminClient does not have)
            self._committed = Consumer({**self._where, "group.id": group})
        try:
            found = self._committed.committed(
                [TopicPartition(topic, p) for p in self._partitions], timeout=5
            )
        except KafkaException as error:
            if error.args[0].code() not in _LOADING:
                raise
            return {}
        return {tp.partition: tp.offset for tp in found}

    def watch(
        self,
        *,
        topic_in: str,
        topic_out: str,
        group: str,
        end_in: Mapping[int, int],
        alive: Callable[[], bool],
        timeout_s: float,
        idle_s: float = 30.0,
    ) -> None:
        """Note every 0.1 s how far the output can be read, until all input is through.

        Raises:
            RunFailed: the program ended, stood still or took too long.
        """
        started = idle_since = time.time()
        last: dict[int, int] = {}
        while True:
            if not alive():
                raise RunFailed("the program ended by itself")
            now, committed = time.time(), self.ends(topic_out)
            self.seen.append((now, committed))
            if committed != last:
                last, idle_since = committed, now
            if len(self.seen) % 4 == 0 and self._through(
                topic_in, topic_out, group, end_in, committed
            ):
                return
            if now - idle_since > idle_s:
                raise RunFailed(f"no output for {idle_s:.0f} s while input was left")
            if now - started > timeout_s:
                raise RunFailed(f"not done within {timeout_s:.0f} s")
            time.sleep(_EVERY_S)

    def _through(
        self,
        topic_in: str,
        topic_out: str,
        group: str,
        end_in: Mapping[int, int],
        committed: dict[int, int],
    ) -> bool:
        done = self.group_offsets(group, topic_in)
        return all(done.get(p, -1) >= end_in[p] for p in self._partitions) and (
            committed == self.ends(topic_out, committed=False)
        )

    def visible_at(self, last_offset: Mapping[int, int]) -> float:
        """First noted time at which everything up to these offsets could be read."""
        for when, ends in self.seen:
            if all(ends[p] > offset for p, offset in last_offset.items()):
                return when
        return self.seen[-1][0]
