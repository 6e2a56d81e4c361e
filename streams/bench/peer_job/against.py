"""Runs the job and its peers in turns, by the ``run.py`` of a folder of peers.

The folder may be read-only: a copy of it is used, with our job added as one more peer. Each peer is
one folder with a ``peer.json`` (command, modes, how to build it).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.bench.outputs import RunFailed
from streams.bench.own_broker import broker
from streams.bench.peer_job.run import medians, project_root, summary
from streams.bench.topics import delete

OURS = "leadstream/eos"
DEFAULT = (
    "kafka_streams/eos-rocksdb",
    "flink/eos-heap",
    "quix_streams/eos-rocksdb",
    "faust_plain/alo-table",
)
_MODULES = {"quix_streams": "quixstreams", "faust_plain": "faust"}
_SLOW = frozenset(_MODULES)
_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare and how.

    Attributes:
        peers: Folder with ``run.py``, ``generate.py`` and ``peers/``.
        against: ``peer/mode`` of each peer.
        python: Interpreter with the peers' requirements; ours runs on our own.
        events: Messages of the input; ``slow_events`` for peers in Python.
        repeat: Turns; each peer runs once a turn.
        build: Build peers that are not built, by the command in their ``peer.json``.
    """

    peers: Path
    against: Sequence[str] = DEFAULT
    python: str = sys.executable
    events: int = 1_000_000
    slow_events: int = 200_000
    repeat: int = 3
    build: bool = False


def compare(bootstrap: str | None, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Run everything in turns; returns our medians, those of the peers, and ratios.

    Raises:
        RunFailed: our own job could not be run. A peer that fails is reported and left out.
    """
    with tempfile.TemporaryDirectory(prefix="leadstream-peers-") as temporary:
        folder = Path(temporary) / "peers"
        _copy(plan.peers, folder)
        chosen = [name for name in plan.against if _usable(folder, name, plan, say)]
        with broker(bootstrap) as where:
            inputs = _Inputs(folder, plan, where.bootstrap)
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in (OURS, *chosen)}
            try:
                for turn in range(plan.repeat):
                    for name, found in runs.items():
                        row = inputs.run(name)
                        say(f"turn {turn + 1}, {name}: {summary(row) if row else 'failed'}")
                        if row:
                            found.append(row)
            finally:
                delete(where.bootstrap, inputs.prefix)
    if not runs[OURS]:
        raise RunFailed("our own job failed; its output is above")
    own = medians(runs[OURS])
    peers = {name: medians(found) for name, found in runs.items() if found and name != OURS}
    return {
        "bench": "peer-job",
        "runs": plan.repeat,
        **own,
        "peers": peers,
        "ratios": {name: _ratios(own, row) for name, row in peers.items()},
    }


class _Inputs:
    """Input topics by size, made when they are first needed, and runs over them."""

    def __init__(self, folder: Path, plan: Plan, bootstrap: str) -> None:
        self._folder, self._plan = folder, plan
        self._env = {
            **os.environ,
            "KAFKA_BOOTSTRAP": bootstrap,
            "PEER_CACHE": str(folder / "cache"),
        }
        self.prefix = f"peer.events.{uuid.uuid4().hex[:8]}"
        self._made: set[int] = set()

    def _topic(self, events: int) -> str:
        topic = f"{self.prefix}.{events}"
        if events not in self._made:
            command = [self._plan.python, "generate.py", "--topic", topic, "--n", str(events)]
            subprocess.run(
                command, cwd=self._folder, env=self._env, check=True, stdout=subprocess.DEVNULL
            )
            self._made.add(events)
        return topic

    def run(self, name: str) -> dict[str, Any] | None:
        """One run; ``None`` when it failed, with its output shown."""
        peer, mode = name.split("/", 1)
        events = self._plan.slow_events if peer in _SLOW else self._plan.events
        command = [
            self._plan.python, "run.py", "--peer", peer, "--mode", mode,
            "--input", self._topic(events), "--out", str(self._folder / "runs.jsonl"),
            "--timeout", str(_TIMEOUT_S),
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=self._folder, env=self._env, capture_output=True, text=True, check=False
        )
        rows = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not rows or "events_per_s" not in (row := json.loads(rows[-1])):
            print(done.stdout[-2000:], done.stderr[-3000:], sep="\n", file=sys.stderr)
            return None
        found: dict[str, Any] = {**row, **row["verify"], "ok": row["ok"], "messages": events}
        return found


def _copy(peers: Path, folder: Path) -> None:
    shutil.copytree(peers, folder, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    ours = folder / "peers" / "leadstream"
    ours.mkdir(exist_ok=True)
    spec = {
        "cmd": f"{sys.executable} -m streams.bench.peer_job.app",
        "modes": {"eos": {"PYTHONPATH": str(project_root())}},
    }
    (ours / "peer.json").write_text(json.dumps(spec))


def _usable(folder: Path, name: str, plan: Plan, say: Callable[[str], None]) -> bool:
    """Whether a peer can run; if not, says what to do about it."""
    peer, _, mode = name.partition("/")
    home = folder / "peers" / peer
    if not (home / "peer.json").is_file():
        say(f"skipped {name}: {plan.peers} has no peer {peer}")
        return False
    spec = json.loads((home / "peer.json").read_text())
    if mode not in spec["modes"]:
        say(f"skipped {name}: its modes are {', '.join(spec['modes'])}")
        return False
    if "build" in spec and not (home / "target").is_dir():
        if not plan.build:
            say(
                f"skipped {name}: not built; run `{spec['build']}` in {plan.peers}/peers/{peer}, "
                "or give --build"
            )
            return False
        built = subprocess.run(
            spec["build"].split(), cwd=home, capture_output=True, text=True, check=False
        )
        if built.returncode:
            say(f"skipped {name}: `{spec['build']}` failed: {built.stdout[-500:]}")
            return False
    module = _MODULES.get(peer)
    if module is not None and not _imports(plan.python, module):
        say(
            f"skipped {name}: {plan.python} has no {module}; make an environment with "
            f"{plan.peers}/requirements.txt and give its interpreter with --python"
        )
        return False
    return True


def _imports(python: str, module: str) -> bool:
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


def _ratios(own: Mapping[str, Any], peer: Mapping[str, Any]) -> dict[str, float]:
    """How many times as much CPU the peer takes, and how many times as fast we are."""
    return {
        "cpu_us_run": round(peer["cpu_us_run"] / own["cpu_us_run"], 2),
        "events_per_s": round(own["events_per_s"] / peer["events_per_s"], 2),
        "second_half_per_s": round(own["second_half_per_s"] / peer["second_half_per_s"], 2),
    }
