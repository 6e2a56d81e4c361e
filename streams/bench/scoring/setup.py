"""Topics of one run, and the models that its scores come from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from streams import topics
from streams.bench.scoring.models import MadeUpModels, ModelPublisher
from streams.bench.topics import create, delete
from streams.settings import Settings
from streams.topic_admin import TopicAdmin

_MEASURED = ("crm.events", "lead.timeline", "lead.labels", "leads.scored")


@contextmanager
def bench_topics(settings: Settings, partitions: int) -> Iterator[Settings]:
    """Settings with a prefix of their own; its topics exist until the end.

    Measured topics carry the time of the append: latency is counted from it.
    """
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    own = settings.model_copy(update={"topic_prefix": prefix})
    for name in _MEASURED:
        kept = topics.config(topics.all_topics(partitions)[name])
        create(
            own.kafka_bootstrap,
            {prefix + name: partitions},
            {**kept, "message.timestamp.type": "LogAppendTime"},
        )
    TopicAdmin(own.kafka_bootstrap, prefix=prefix, partitions=partitions).create()
    try:
        yield own
    finally:
        delete(own.kafka_bootstrap, prefix)


@contextmanager
def run_topics(
    settings: Settings, partitions: int, models: MadeUpModels, weights_per_s: float = 0.0
) -> Iterator[Settings]:
    """Topics of a scoring run, with models on them.

    Args:
        models: Published before anything else.
        weights_per_s: New versions of the weights while it lasts.
    """
    with (
        bench_topics(settings, partitions) as own,
        ModelPublisher(own, models).every(weights_per_s),
    ):
        yield own
