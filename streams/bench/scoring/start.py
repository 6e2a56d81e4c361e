"""How long a worker takes from its start to its first commit, caches warm and state kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.workspaces import WorkspaceConfig
from streams.app import group_of
from streams.bench.outputs import Outputs
from streams.bench.scoring.load import send_all
from streams.bench.scoring.messages import Messages
from streams.bench.scoring.models import MadeUpModels
from streams.bench.scoring.scores import read_scores
from streams.bench.scoring.setup import run_topics
from streams.bench.scoring.traffic import SourceEvents, TimelineEvents
from streams.bench.scoring.workers import BenchWorker
from streams.settings import Settings

_TIMEOUT_S = 180.0


def measure(
    settings: Settings, config: WorkspaceConfig, folder: Path, *, events: int, partitions: int
) -> dict[str, Any]:
    """Start a worker, stop it in order, and start it again with events waiting."""
    source = TimelineEvents(config, SourceEvents(config, events), partitions)
    with run_topics(settings, partitions, MadeUpModels.of(config, 0)) as own:
        topic_in = f"{own.topic_prefix}lead.timeline"
        topic_out = f"{own.topic_prefix}leads.scored"
        outputs = Outputs(own.kafka_bootstrap, partitions)
        started = before = 0.0
        for number in range(2):
            before = float(sum(outputs.ends(topic_out).values()))
            messages = Messages.encode("timeline_event", source.take(events))
            send_all(own.kafka_bootstrap, topic_in, messages)
            with BenchWorker("scoring", own, folder / f"start-{number}.log") as worker:
                started = worker.started
                outputs.watch(
                    topic_in=topic_in,
                    topic_out=topic_out,
                    group=group_of(own, "scoring"),
                    end_in=outputs.ends(topic_in, committed=False),
                    alive=lambda: worker.alive,
                    timeout_s=_TIMEOUT_S,
                )
        scores = read_scores(own.kafka_bootstrap, topic_out, partitions)
    assert before
    second = scores.appended_ms[scores.appended_ms >= started * 1000]
    return {"start_to_first_commit_s": round(float(second.min()) / 1000 - started, 2)}
