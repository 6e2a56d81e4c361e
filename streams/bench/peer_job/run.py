"""Measures the peer job on our engine: a process of its own, timed from outside, verified after.

- ``events_per_s``: distinct outputs / (first time all of them were visible to ``read_committed``,
  asked every 0.1 s, minus LogAppendTime of the first); ``second_half_per_s`` from the middle on.
- ``cpu_us_per_event``: user and system CPU of the process tree from its start to the end / distinct
  outputs; ``cpu_us_run`` from the first output on.
- ``broker_cpu_us``: CPU of the broker over the run; ``rss_mb``: sum of peak resident memory;
  ``other_cores``: cores that anything else used meanwhile; ``calib_ms``: CPU time of a fixed loop.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from streams.bench.measure import Sampler, calibration_ms
from streams.bench.outputs import Outputs, RunFailed
from streams.bench.own_broker import BenchBroker, broker
from streams.bench.peer_job.generate import generate
from streams.bench.peer_job.schemas import MODEL_VERSION, PARTITIONS
from streams.bench.peer_job.verify import Verdict, verify
from streams.bench.topics import create, delete

COMMAND = (sys.executable, "-m", "streams.bench.peer_job.app")
_TIMEOUT_S = 600.0
_STOP_S = 30.0


def run(
    bootstrap: str | None,
    events: int,
    repeat: int,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Generate the input once, run the job ``repeat`` times, return the medians.

    Args:
        bootstrap: A broker to use; without it one of its own, on this machine.
        events: Messages of the input; 2 % of them are duplicates.
        repeat: Runs, each on an output topic of its own.
        say: Takes lines of progress.

    Raises:
        RunFailed: the job ended, stood still or took too long.
    """
    topic = f"peer.events.{uuid.uuid4().hex[:8]}"
    with broker(bootstrap) as where:
        say(f"generating {events:,} events …")
        generate(where.bootstrap, topic, events)
        try:
            runs = []
            for number in range(repeat):
                runs.append(one_run(where, topic))
                say(f"run {number + 1} of {repeat}: {summary(runs[-1])}")
        finally:
            delete(where.bootstrap, topic)
    return {"bench": "peer-job", "runs": repeat, **medians(runs)}


def one_run(where: BenchBroker, topic_in: str) -> dict[str, Any]:
    """Run the job over a topic; measure and verify it."""
    app_id = f"peer-leadstream-{uuid.uuid4().hex[:8]}"
    topic_out = f"peer.scores.{app_id}"
    create(where.bootstrap, {topic_out: PARTITIONS}, {"message.timestamp.type": "LogAppendTime"})
    outputs = Outputs(where.bootstrap, PARTITIONS)
    env = {
        "KAFKA_BOOTSTRAP": where.bootstrap,
        "PEER_INPUT": topic_in,
        "PEER_OUTPUT": topic_out,
        "PEER_APP_ID": app_id,
        "PEER_MODEL_VERSION": MODEL_VERSION,
    }
    calibration = calibration_ms()
    with tempfile.TemporaryFile() as log:
        started = time.time()
        process = subprocess.Popen(COMMAND, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            with Sampler([process.pid], where.pid) as sampler:
                outputs.watch(
                    topic_in=topic_in,
                    topic_out=topic_out,
                    group=app_id,
                    end_in=outputs.ends(topic_in, committed=False),
                    alive=lambda: process.poll() is None,
                    timeout_s=_TIMEOUT_S,
                )
                sampler.sample()
        except RunFailed as error:
            log.seek(0)
            raise RunFailed(f"{error}\n{log.read()[-3000:].decode(errors='replace')}") from error
        finally:
            _stop(process)
        calibration = (calibration + calibration_ms()) / 2
        verdict = verify(where.bootstrap, topic_in, topic_out)
        ends = outputs.ends(topic_out)
        delete(where.bootstrap, app_id)
    end = outputs.visible_at({p: offset - 1 for p, offset in ends.items()})
    return {
        "ok": verdict.ok,
        **_figures(verdict, sampler, started, end),
        "calib_ms": round(calibration),
        **{k: v for k, v in verdict.as_json().items() if k != "ok" and not k.endswith("_ms")},
    }


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _figures(verdict: Verdict, sampler: Sampler, started: float, end: float) -> dict[str, Any]:
    n = max(verdict.distinct - verdict.missing, 1)
    first, half = verdict.first_ms / 1000, verdict.half_ms / 1000
    per_event = 1e6 / n
    return {
        "events_per_s": round(n / (end - first)),
        "second_half_per_s": round(n / 2 / (end - half)),
        "seconds": round(end - first, 2),
        "start_s": round(first - started, 2),
        "cpu_us_per_event": round(sampler.app_s() * per_event, 2),
        "cpu_us_run": round(sampler.app_s(first, end) * per_event, 2),
        "broker_cpu_us": round(sampler.broker_s(first, end) * per_event, 2),
        "rss_mb": round(sampler.peak_mb),
        "other_cores": round(sampler.other_cores(first, end), 2),
    }


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Median of each figure; ``ok`` only if every run was."""
    found: dict[str, Any] = {"ok": all(run["ok"] for run in runs)}
    for name, value in runs[0].items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            middle = statistics.median(run[name] for run in runs)
            whole = isinstance(value, int) and middle == int(middle)
            found[name] = int(middle) if whole else float(f"{middle:.6g}")
    return found


def summary(row: Mapping[str, Any]) -> str:
    """One run or median in a line."""
    return (
        f"{row['events_per_s']:,.0f} events/s (second half {row['second_half_per_s']:,.0f}), "
        f"{row['cpu_us_run']:.2f} us CPU an event, {row['rss_mb']:.0f} MB, other load "
        f"{row['other_cores']:.2f} cores, {'correct' if row['ok'] else 'WRONG'}"
    )


def project_root() -> Path:
    """Folder that holds our packages."""
    return Path(__file__).resolve().parents[3]
