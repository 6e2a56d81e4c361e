"""Throughput and CPU: a full ``lead.timeline`` and one scoring worker that works it off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.workspaces import WorkspaceConfig
from streams.app import group_of
from streams.bench.measure import Sampler, calibration_ms
from streams.bench.outputs import Outputs, RunFailed
from streams.bench.own_broker import BenchBroker
from streams.bench.scoring.load import send_all
from streams.bench.scoring.messages import Messages
from streams.bench.scoring.models import MadeUpModels
from streams.bench.scoring.scores import Scores, read_scores
from streams.bench.scoring.setup import run_topics
from streams.bench.scoring.traffic import SourceEvents, TimelineEvents
from streams.bench.scoring.workers import BenchWorker
from streams.settings import Settings

_TIMEOUT_S = 600.0


def measure(
    settings: Settings,
    broker: BenchBroker,
    config: WorkspaceConfig,
    folder: Path,
    *,
    events: int,
    leads: int,
    partitions: int,
    models: MadeUpModels,
    weights_per_s: float,
) -> dict[str, Any]:
    """Preload ``events``, start one worker, measure until every score can be read.

    Raises:
        RunFailed: the worker ended or stood still.
    """
    source = TimelineEvents(config, SourceEvents(config, leads), partitions)
    messages = Messages.encode("timeline_event", source.take(events))
    with run_topics(settings, partitions, models, weights_per_s) as own:
        topic_in = f"{own.topic_prefix}lead.timeline"
        topic_out = f"{own.topic_prefix}leads.scored"
        send_all(own.kafka_bootstrap, topic_in, messages)
        outputs = Outputs(own.kafka_bootstrap, partitions)
        calibration = calibration_ms()
        log = folder / "throughput.log"
        with (
            BenchWorker("scoring", own, log) as worker,
            Sampler([worker.pid], broker.pid) as sampler,
        ):
            try:
                outputs.watch(
                    topic_in=topic_in,
                    topic_out=topic_out,
                    group=group_of(own, "scoring"),
                    end_in=outputs.ends(topic_in, committed=False),
                    alive=lambda: worker.alive,
                    timeout_s=_TIMEOUT_S,
                )
            except RunFailed as error:
                raise RunFailed(f"{error}\n{worker.last_lines()}") from error
            sampler.sample()
            metrics = worker.metrics()
        scores = read_scores(own.kafka_bootstrap, topic_out, partitions)
        calibration = (calibration + calibration_ms()) / 2
        figures = _figures(scores, outputs, sampler, worker.started, messages.events)
    return figures | _by_stage(metrics, len(messages)) | {"calib_ms": round(calibration)}


def _figures(
    scores: Scores, outputs: Outputs, sampler: Sampler, started: float, expected: int
) -> dict[str, Any]:
    n, times = scores.distinct, np.sort(scores.appended_ms) / 1000
    if not n:
        raise RunFailed("no score was written")
    first, half = float(times[0]), float(times[len(times) // 2])
    end = outputs.visible_at(scores.last_offset)
    return {
        "events": expected,
        "missing": expected - n,
        "duplicate": len(scores) - n,
        "sum_error": scores.sums.sum_error,
        "delta_error": scores.sums.delta_error,
        "model_parts": scores.sums.model_parts,
        "events_per_s": round(n / (end - first)),
        "second_half_per_s": round(n / 2 / (end - half)),
        "seconds": round(end - first, 2),
        "start_s": round(first - started, 2),
        "cpu_us_per_event": round(sampler.app_s() / n * 1e6, 2),
        "cpu_us_run": round(sampler.app_s(first, end) / n * 1e6, 2),
        "cpu_us_run_client": round(sampler.client_s(first, end) / n * 1e6, 2),
        "broker_cpu_us": round(sampler.broker_s(first, end) / n * 1e6, 2),
        "rss_mb": round(sampler.peak_mb),
        "other_cores": round(sampler.other_cores(first, end), 2),
    }


def _by_stage(metrics: dict[str, dict[tuple[str, ...], float]], events: int) -> dict[str, Any]:
    """Time an event by stage, from the worker's own metrics."""
    stages = metrics.get("leadstream_stage_seconds_total", {})
    commits = sum(metrics.get("leadstream_commits_total", {}).values())
    return {
        "stage_us": {labels[0]: round(s / events * 1e6, 2) for labels, s in sorted(stages.items())},
        "events_per_commit": round(events / max(commits, 1)),
    }
