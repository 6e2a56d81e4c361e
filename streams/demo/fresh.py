"""A fresh start: no topics and groups of an earlier demo, and whether the kernels are compiled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.engine.errors import BrokerUnavailable
from streams.settings import Settings
from streams.topic_admin import TopicAdmin

QUIET = {"log_level": 0}
"""librdkafka writes to the terminal otherwise, across the view; errors are raised all the same."""

_DELETED_S = 20.0
_TURN_S = 0.1


def kernels_compiled() -> bool:
    """Whether numba has stored the kernels of scoring, so that a start is quick."""
    from streams import scoring

    return any((Path(str(scoring.__file__)).parent / "__pycache__").glob("*.nbi"))


def fresh_topics(settings: Settings, roles: Sequence[str]) -> dict[str, int]:
    """Delete what an earlier demo left and create all topics; partitions by logical name."""
    from streams.app import group_of

    prefix = settings.topic_prefix
    admin = TopicAdmin(settings.kafka_bootstrap, prefix=prefix)
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, **QUIET})
    try:
        known = client.list_topics(timeout=15).topics
        if any(name.startswith(prefix) for name in known):
            groups = [group_of(settings, role) for role in roles]
            for future in client.delete_consumer_groups(groups, request_timeout=15).values():
                future.exception(20)  # one that does not exist is as good as deleted
            admin.delete()
            deadline = time.monotonic() + _DELETED_S
            while any(n.startswith(prefix) for n in client.list_topics(timeout=15).topics):
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(f"topics {prefix}* were not deleted in time; try again")
                time.sleep(_TURN_S)
    except KafkaException as error:
        raise BrokerUnavailable(
            f"{settings.kafka_bootstrap} does not answer: {error.args[0].str()}"
        ) from error
    return {
        state.topic.name: state.partitions
        for state in admin.create().states
        if state.partitions is not None
    }
