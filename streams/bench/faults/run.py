"""``leadstream bench faults``: is every event scored exactly once, whatever happens?

The input is appended in pieces, and in the middle of each something goes wrong: a worker is killed
with kill -9, frozen until its partitions have moved and woken again, stopped and replaced, or the
broker is restarted or killed. At the end every record is compared with a reference.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.dev.kafka import DevKafka

JOBS = ("peer-job", "scoring")


def run(
    kills: int = 25,
    events: int = 1_000_000,
    seed: int = 1,
    jobs: tuple[str, ...] = JOBS,
    partitions: tuple[int, ...] = (1, 4),
    *,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the test on a broker of its own.

    Args:
        kills: How often a worker is killed in each run; a fifth as many freezes and replacements,
            a tenth as many broker restarts and crashes each come on top.
        events: Input messages of each run, 2 % of them duplicates (2 % more for scoring).
        seed: Decides what goes wrong when, and the input.
        jobs: ``peer-job``: a single processor, compared with an independent reference.
            ``scoring``: all roles under ``barrier``, compared bit for bit with an undisturbed run.
        partitions: Of the runs of ``scoring``.
        say: Gets a line of progress now and then.

    Returns:
        ``ok`` and the ``runs`` behind it: ``missing``, ``duplicate``, ``unknown``, ``wrong`` or
        ``different`` records, faults by kind, ``restarts``.
    """
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="leadstream-faults-"))
    runs: list[dict[str, Any]] = []
    with DevKafka(folder / "kafka", die_with_parent=True) as broker:
        if "peer-job" in jobs:
            from streams.bench.faults import peer_job

            runs.append(peer_job.run(broker, folder, kills, events, seed, say))
        if "scoring" in jobs:
            from streams.bench.faults import scoring

            runs += scoring.run(broker, folder, kills, events, seed, say, partitions)
    ok = all(r["ok"] for r in runs)
    for each in runs:
        for failure in each.pop("failures"):
            say(f"{each['job']} on {each['partitions']} partitions: {failure}")
    if ok:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"logs: {folder}")
    seconds = round(time.monotonic() - started, 1)
    return {"bench": "faults", "ok": ok, "seed": seed, "seconds": seconds, "runs": runs}
