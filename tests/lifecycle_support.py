"""A made-up workspace on a real broker: leads whose outcomes follow a rule that may turn."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectors.files.kafka_sink import KafkaSink
from models.workspaces import load_workspaces
from streams.app import new_codec
from streams.arrow_schemas import arrow_schema
from streams.cli import main as cli
from streams.engine.broker import KafkaBroker
from streams.engine.reading import read_partition
from streams.settings import Settings
from streams.supervisor import Supervisor, worker_command
from streams.topic_admin import TopicAdmin

START_US = 1_700_000_000_000_000 // 3_600_000_000 * 3_600_000_000
_STEP_US = 20_000_000  # between two leads

WORKSPACE = """
name: acme
allowed_lateness: 5m
epoch: 1h
segment: plan
champion: {trees: 40, window: 600, refit_labels: 1000000, min_labels: 200, min_data_in_leaf: 10}
lifecycle:
  shadow_labels: 100
  canary_labels: 0
  auto_promote: false
  watch_labels: 0
  gate:
    {min_labels: 50, draws: 100, log_loss_margin: 0.1, auc_margin: 0.1, ece_margin: 0.1,
     segment_margin: 0.2, segment_min_labels: 20}
subscribers:
  - {name: sellers, target: conversion, threshold: {score: 60}}
  - {name: mailing, target: conversion, threshold: {grades: [A, B]}}
"""
FEATURES = """
version: 1
attributes:
  - {name: budget, type: numeric, words: budget, unit: EUR, actionable: increase}
  - {name: plan, type: categorical, words: plan asked for, values: [free, pro]}
behaviour:
  kinds: [visit]
  words: {visit: visits}
"""
TARGETS = """
targets:
  - {name: conversion, positive_kinds: [won], negative_kinds: [lost], horizon_days: 30}
"""


def eventually(check: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)
    return found


class Acme:
    """Workers of all roles on topics of their own, and traffic for them."""

    def __init__(self, kafka: str, prefix: str, folder: Path, roles: tuple[str, ...]) -> None:
        home = folder / "workspaces" / "acme"
        home.mkdir(parents=True)
        for name, text in (("workspace", WORKSPACE), ("features", FEATURES), ("targets", TARGETS)):
            (home / f"{name}.yaml").write_text(text)
        self.settings = Settings(
            kafka_bootstrap=kafka, topic_prefix=prefix, workspaces=home.parent, log_level="info"
        )
        self.config = load_workspaces(home.parent)["acme"]
        self._admin = TopicAdmin(kafka, prefix=prefix, partitions=1)
        self._admin.create()
        self._ports = {role: _free_port() for role in roles}
        self._log = (folder / "workers.log").open("ab")
        self.log_file = folder / "workers.log"
        options = {"metrics-port": 0}
        self.workers = Supervisor(
            {
                role: worker_command(role, self.settings, **{**options, "metrics-port": port})
                for role, port in self._ports.items()
            },
            self._log,
        )
        self.workers.start()
        self._sink = KafkaSink(kafka, ["crm.events"], prefix=prefix)
        self._codecs, self._broker = new_codec(self.settings), KafkaBroker(kafka)
        self._read: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self.leads, self.turned = 0, False

    def close(self) -> None:
        self.workers.stop()
        self._log.close()
        self._admin.delete()

    # -- traffic

    def send(self, count: int, outcomes: bool = True) -> None:
        """A visit of so many new leads, each followed by its outcome."""
        numbers = np.arange(self.leads, self.leads + count)
        self.leads += count
        rows: list[dict[str, Any]] = []
        for number in numbers.tolist():
            draw = np.random.default_rng(number)
            budget, plan = float(draw.normal()), ("free", "pro")[int(draw.integers(2))]
            sign = -1.0 if self.turned else 1.0
            won = draw.random() < 1 / (1 + np.exp(-sign * 2.5 * budget))
            at = START_US + number * _STEP_US
            visit = {"numbers": [("budget", budget)], "texts": [("plan", plan)]}
            rows.append(_event(f"v{number}", number, at, "visit", **visit))
            if outcomes:
                rows.append(_event(f"o{number}", number, at + 1, "won" if won else "lost"))
        batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema("source_event"))
        self._sink.send("crm.events", batch)
        self._sink.flush()

    def learn(self, count: int) -> None:
        """Traffic of so many leads, all learned before this returns."""
        self.send(count)
        eventually(lambda: self.learned() >= self.leads, f"{self.leads} labels learned")

    def learned(self) -> int:
        found = [m["labels"] for m in self.rows("models.metrics")]
        return found[-1] if found else 0

    # -- what can be seen

    def rows(self, topic: str) -> list[dict[str, Any]]:
        """All records of a topic so far, with the time of their append in ms as `appended`."""
        at, known = self._read.get(topic, (0, []))
        name, codec = self.settings.topic_prefix + topic, self._codecs(topic)
        end = self._broker.end_offset(name, 0)
        if end > at:
            bootstrap = self.settings.kafka_bootstrap
            for part in read_partition(bootstrap, name, 0, end, at):
                decoded = codec.decode_dicts(part)
                for row, ms in zip(decoded, part.timestamps.tolist(), strict=True):
                    if isinstance(row, dict):
                        known.append({**row, "appended": ms})
        self._read[topic] = (end, known)
        return known

    def actions(self) -> list[str]:
        return [row["action"] for row in self.rows("models.lifecycle")]

    def metrics(self, role: str) -> dict[str, float]:
        """Samples of a worker's /metrics by name with labels; none while it is down."""
        try:
            url = f"http://127.0.0.1:{self._ports[role]}/metrics"
            with urllib.request.urlopen(url, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        pairs = [line.rsplit(" ", 1) for line in lines if line and line[0] != "#"]
        return {name: float(value) for name, value in pairs}

    def sample(self, role: str, name: str, *parts: str) -> float | None:
        """The value of the one series of that name whose labels have all parts."""
        for full, value in self.metrics(role).items():
            if full.startswith(name + "{") and all(part in full for part in parts):
                return value
        return None


class Terminal:
    """Runs commands of the command line in this process."""

    def __init__(
        self, acme: Acme, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._acme, self._patch, self._capsys = acme, monkeypatch, capsys
        # loggers of this process would keep what is captured here, long after this test
        monkeypatch.setattr("streams.logs.configure", lambda level: None)

    def run(self, *arguments: str, status: int = 0) -> str:
        """What a command says; it ends with this exit status."""
        settings = self._acme.settings
        options = [
            f"--bootstrap={settings.kafka_bootstrap}", f"--prefix={settings.topic_prefix}",
            f"--workspaces={settings.workspaces}",
        ]  # fmt: skip
        self._patch.setattr("sys.argv", ["leadstream", *arguments, *options])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = self._capsys.readouterr()
        assert int(ended.value.code or 0) == status, told.out + told.err
        return told.out + (told.err if status else "")

    def json(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        return json.loads(self.run(*arguments, "--json", status=status).splitlines()[-1])


def running(kafka: str, prefix: str, folder: Path, *roles: str) -> Iterator[Acme]:
    acme = Acme(kafka, prefix, folder, roles)
    try:
        yield acme
    finally:
        acme.close()


def _event(event_id: str, lead: int, at: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "workspace": "acme",
        "source": "crm",
        "source_type": "crm",
        "kind": kind,
        "occurred_at": at,
        "received_at": at,
        "identifiers": [("crm_id", str(lead))],
        "numbers": [],
        "texts": [],
        **fields,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


__all__ = ["Acme", "Terminal", "eventually", "running"]
