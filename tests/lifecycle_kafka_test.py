"""The story of a champion on a real broker: drift, alarm, refit, shadow, gate, people, rollback."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from lifecycle_support import Acme, Terminal, eventually, running
from scoring_support import CATALOGUE

from models.champion.artifact import artifact_sha256, artifact_version
from models.champion.graph import build_linear_champion
from models.features.encoding import Encoding
from models.lifecycle.registry import ModelRegistry
from models.lifecycle.signing import Signer, ensure_development_key
from streams.app import new_codec, signer_of
from streams.arrow_schemas import arrow_schema, record
from streams.engine.errors import ConfigurationError
from streams.governance.log import model_in_use
from streams.replay import replay

WHERE = ("acme", "conversion")


@pytest.fixture
def acme(kafka: str, prefix: str, tmp_path: Path) -> Iterator[Acme]:
    yield from running(kafka, prefix, tmp_path, "identity", "scoring", "learning")


@pytest.fixture
def terminal(
    acme: Acme, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    return Terminal(acme, monkeypatch, capsys)


class Trickle:
    """Sends a lead every few ms while a command is at work."""

    def __init__(self, acme: Acme) -> None:
        self._acme, self._ended = acme, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            self._acme.send(1, outcomes=False)


def until_scored(acme: Acme, version: str, after_ms: int) -> None:
    """Wait for a score by a version that was appended after a moment."""

    def there() -> bool:
        return any(
            row["champion_version"] == version and row["appended"] >= after_ms
            for row in acme.rows("leads.scored")
        )

    eventually(there, f"a score by {version}")


def newest_command_ms(acme: Acme) -> int:
    rows = acme.rows("lead.labels")
    return int([row["appended"] for row in rows if row["record_kind"] == "command"][-1])


def kill(acme: Acme, role: str) -> None:
    was = acme.workers.pids[role]
    os.kill(was, signal.SIGKILL)
    eventually(lambda: acme.workers.pids.get(role) not in (None, was), f"{role} again")


def test_drift_alarm_refit_shadow_gate_preview_promotion_and_rollback(
    acme: Acme, terminal: Terminal, tmp_path: Path
) -> None:
    for _ in range(4):
        acme.learn(150)
    file = tmp_path / "champion.onnx"
    trained = terminal.json("train", "champion", *WHERE, "--promote", f"--out={file}")
    first = str(trained["version"])
    assert artifact_version(file.read_bytes()) == first
    assert trained["lineage"]["labels"] == 600 and trained["alone"]["auc"] > 0.8
    assert [e["action"] for e in trained["events"]] == ["trained", "shadow", "promoted"]

    acme.turned = True
    while "alarm" not in acme.actions():
        acme.learn(100)
    raised = ("leadstream_lifecycle_events_total", 'slot="online"', 'action="alarm"')
    assert acme.sample("learning", *raised) == 1
    kill(acme, "learning")  # wherever it is: training, publishing, or done

    def status() -> dict[str, Any]:
        found: dict[str, Any] = terminal.json("models", "list")["targets"][0]
        return found

    while status()["state"] != "ready":
        acme.learn(100)
    hasty = str(status()["challenger"])  # fitted on few labels of the turned world
    told = [r for r in acme.rows("models.lifecycle") if r["version"] == hasty]
    assert [r["action"] for r in told] == ["trained", "gated", "shadow", "gated"]
    assert told[0]["reason"].startswith("drift:")
    before = terminal.json("models", "shadow-report", *WHERE)["gate"]["figures"]
    for _ in range(2):
        acme.learn(150)
    asked = terminal.json("models", "refit", *WHERE, "--reason=more labels by now")
    assert [e["action"] for e in asked["events"]] == ["trained", "retired", "gated", "shadow"]
    second = asked["events"][0]["version"]
    while status()["state"] != "ready":
        acme.learn(100)
    report = terminal.json("models", "shadow-report", *WHERE)
    assert report["challenger"] == second and report["judged"] >= 100
    assert report["gate"]["passed"] and report["gate"]["figures"]["auc"] > before["auc"]
    assert {s["segment"] for s in report["segments"]} == {"free", "pro"}
    assert "log-loss" in terminal.run("models", "shadow-report", *WHERE)

    seen = terminal.json("models", "preview", *WHERE, second[:6])
    assert seen["leads"] == acme.leads and seen["champion"] == first
    assert {i["subscriber"] for i in seen["impacts"]} == {"sellers", "mailing"}
    assert sum(i["up"] + i["down"] for i in seen["impacts"]) > 0
    refused = terminal.run("models", "promote", *WHERE, first, "--yes", status=1)
    assert f"refused {first}: promote: version {first} is the champion already" in refused

    with Trickle(acme):
        promoted = terminal.json("models", "promote", *WHERE, second, "--yes")
        assert [e["action"] for e in promoted["events"]] == ["promoted", "retired"]
        until_scored(acme, second, newest_command_ms(acme))
        kill(acme, "scoring")
        back = terminal.json("models", "rollback", *WHERE, "--yes", "--reason=complaints")
        assert back["events"][0]["version"] == first
        until_scored(acme, first, newest_command_ms(acme))  # once scoring is up again

    told = terminal.json("models", "history", *WHERE)
    assert [p["version"] for p in told["in_production"]] == [first, second, first]
    assert told["champion"] == first
    assert {"alarm", "trained", "gated", "shadow", "promoted", "rolled_back"} <= set(acme.actions())
    assert "complaints" in terminal.run("models", "history", *WHERE)
    info = ("leadstream_champion_info", 'slot="champion"', f'version="{first}"')
    assert eventually(lambda: acme.sample("scoring", *info), "the champion in /metrics") == 1
    assert acme.sample("scoring", info[0], info[1], f'version="{second}"') is None
    counted = ("leadstream_lifecycle_events_total", 'slot="champion"')
    for action in ("trained", "gated", "shadow", "promoted", "rolled_back"):
        assert (acme.sample("learning", *counted, f'action="{action}"') or 0) >= 1, action
    since = acme.sample("learning", "leadstream_champion_promoted_timestamp_seconds")
    assert since == told["in_production"][-1]["since"] / 1e6

    shown = terminal.json("models", "show", *WHERE, second)
    assert shown["state"] == "retired" and shown["lineage"]["parent"] == first
    assert max(shown["terms"], key=shown["terms"].get) == "budget"
    assert "budget" in terminal.run("models", "diff", *WHERE, first, second)
    words = terminal.run("explain", acme.rows("leads.latest")[-1]["lead_id"][:8], "--language=de")
    assert "ohne jedes Merkmal" in words and "budget: " in words

    registry = f"sqlite:///{tmp_path / 'registry.db'}"
    pytest.importorskip("mlflow")
    brought = terminal.json("models", "mirror", f"--registry={registry}")
    assert brought["versions"] == 2 and not brought["refused"]
    entries = {e.version: e for e in ModelRegistry(registry).entries()}
    assert {v: e.aliases for v, e in entries.items()} == {first: ("champion",), second: ()}
    assert terminal.json("models", "mirror", f"--registry={registry}")["versions"] == 0

    result = replay(acme.settings, None, None)
    assert result.equal and result.compared == len(acme.rows("leads.scored")), result.examples


class Forger:
    """Writes to models.current as a learner does, with what it likes."""

    def __init__(self, acme: Acme) -> None:
        self._acme, self._codec = acme, new_codec(acme.settings)("models.current")
        self._producer = Producer({"bootstrap.servers": acme.settings.kafka_bootstrap})
        self._encoding, self._version = Encoding(acme.config.catalogue), 0
        self.signer = signer_of(acme.settings)

    def artifact(self, seed: int) -> bytes:
        weights = np.random.default_rng(seed).normal(0, 1, self._encoding.size)
        return build_linear_champion(self._encoding, weights)

    def sign(self, artifact: bytes, signer: Signer | None = None) -> str:
        return (signer or self.signer).sign(artifact, *WHERE, self._acme.config.catalogue.hash)

    def publish(self, artifact: bytes, signature: str | None, version: str) -> None:
        """An artifact, and weights that go with it."""
        named = {
            "artifact": artifact,
            "artifact_sha256": artifact_sha256(artifact),
            "artifact_signature": signature,
            "artifact_version": version,
        }
        self._version += 1
        self._send("champion", weights=[], **named)
        zeros = [0.0] * self._encoding.size
        self._send("online", weights=zeros, champion_version=version, mixture=[0.5, 0.5])
        assert self._producer.flush(30) == 0

    def _send(self, slot: str, **fields: Any) -> None:
        catalogue = self._acme.config.catalogue.catalogue_version
        row = record(
            "model_weights", workspace=WHERE[0], target=WHERE[1], slot=slot, version=self._version,
            epoch=0, labels_learned=0, catalogue_version=catalogue, calibration_a=1.0,
            calibration_b=0.0, base_rate=0.5, quantiles=[], published_at=self._version, **fields,
        )  # fmt: skip
        batch = pa.RecordBatch.from_pylist([row], schema=arrow_schema("model_weights"))
        topic = self._acme.settings.topic_prefix + "models.current"
        value = self._codec.pack(batch).to_list()[0]
        self._producer.produce(topic, value, "/".join((*WHERE, slot)))


@pytest.fixture
def scoring(kafka: str, prefix: str, tmp_path: Path) -> Iterator[Acme]:
    yield from running(kafka, prefix, tmp_path, "identity", "scoring")


def test_artifacts_that_are_not_to_be_believed_leave_the_former_champion_scoring(
    scoring: Acme, tmp_path: Path
) -> None:
    forger = Forger(scoring)
    good = forger.artifact(0)
    forger.publish(good, forger.sign(good), artifact_version(good))
    scoring.send(20, outcomes=False)
    eventually(lambda: len(scoring.rows("leads.scored")) == 20, "20 scores")
    stranger = Signer.from_file(ensure_development_key(tmp_path / "stranger"))
    other = forger.artifact(1)
    signature, middle = forger.sign(other), len(other) // 2
    altered = other[:middle] + bytes([other[middle] ^ 1]) + other[middle + 1 :]
    foreign = build_linear_champion(Encoding(CATALOGUE), np.ones(Encoding(CATALOGUE).size))
    bad = [
        (altered, signature),
        (other[:middle], signature),
        (other, None),
        (other, forger.sign(other, stranger)),
        (foreign, forger.sign(foreign)),
    ]
    name = "leadstream_artifacts_refused_total"
    for number, (artifact, signed) in enumerate(bad, 1):
        forger.publish(artifact, signed, artifact_version(other))
        eventually(lambda n=number: scoring.sample("scoring", name) == n, f"{number} refused")
    scoring.send(20, outcomes=False)
    eventually(lambda: len(scoring.rows("leads.scored")) == 40, "40 scores")
    newest = scoring.rows("leads.scored")[-20:]
    assert {row["champion_version"] for row in newest} == {artifact_version(good)}
    assert {row["weights_version"] for row in newest} == {6}
    with pytest.raises(ConfigurationError, match="LEADSTREAM_TRUSTED_KEYS"):
        model_in_use(scoring.settings, scoring.config, "conversion")
    said = ("cut short", "changed after it was signed", "is not signed", "unknown key",
            "made for catalogue")  # fmt: skip
    for words in said:
        assert words in scoring.log_file.read_text()


def test_without_a_learning_worker_nothing_is_sent_and_the_command_says_so(
    scoring: Acme, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal(scoring, monkeypatch, capsys)
    said = terminal.run("models", "refit", *WHERE, status=1)
    assert "no learning worker runs" in said and "leadstream worker learning" in said
    assert scoring.rows("lead.labels") == []
    assert terminal.json("models", "list")["targets"][0]["champion"] is None
    said = terminal.run("models", "promote", *WHERE, "champion", "--yes", status=2)
    assert "has no champion now" in said
    assert "is unknown" in terminal.run("models", "show", *WHERE, "abc", status=2)
    said = terminal.run("train", "champion", *WHERE, status=2)
    assert "0 labels" in said and "wait for more labels" in said
