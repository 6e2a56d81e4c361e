"""Topics of a benchmark: made for one run, deleted after it."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from streams import topics


def create(
    bootstrap: str, names: Mapping[str, int], config: Mapping[str, str] | None = None
) -> None:
    """Create topics (name -> partitions) that are not there yet."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    new = [NewTopic(n, p, 1, config=dict(config or {})) for n, p in names.items()]
    for future in admin.create_topics(new).values():
        try:
            future.result(30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def create_changelog(bootstrap: str, name: str, partitions: int) -> None:
    """Create a changelog with the settings of :mod:`streams.topics`."""
    create(
        bootstrap, {name: partitions}, topics.config(topics.changelog_topic("bench", partitions))
    )


def delete(bootstrap: str, containing: str) -> None:
    """Delete all topics whose name contains a run's id."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    mine = [t for t in admin.list_topics(timeout=10).topics if containing in t]
    if mine:
        for future in admin.delete_topics(mine).values():
            future.result(30)
