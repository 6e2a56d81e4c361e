"""The champion beside the online model: trained, tried, promoted, rolled back, all in the log."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from learning_support import COLUMNS, FIRST, Learning, epoch_end, label
from scoring_support import CATALOGUE, config, contents, restored, rows_of

from models.champion.artifact import artifact_sha256, artifact_version
from models.champion.graph import build_linear_champion
from models.champion.runtime import ChampionModel
from models.champion.settings import ChampionSettings
from models.features.encoding import Encoding
from models.lifecycle.settings import GateSettings, LifecycleSettings
from models.workspaces import WorkspaceConfig
from streams.engine.changelog import ChangeRecords
from streams.scoring.model_store import ModelStore

QUICK = ChampionSettings(trees=20, refit_labels=100, min_labels=100, window=400)
GATE = GateSettings(min_labels=50, draws=100, log_loss_margin=0.5, auc_margin=0.5, ece_margin=0.5)


def acme(champion: ChampionSettings | None = QUICK, **lifecycle: Any) -> WorkspaceConfig:
    settings = {"shadow_labels": 100, "canary_labels": 100, "watch_labels": 0, **lifecycle}
    return config("acme", champion=champion, lifecycle=LifecycleSettings(gate=GATE, **settings))


def epochs(first: int, count: int, size: int = 50, **fields: Any) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(first, first + count):
        rows += [label(epoch * size + n, FIRST + epoch, **fields) for n in range(size)]
        rows.append(epoch_end(FIRST + epoch))
    return rows


def command(action: str, epoch: int, **fields: Any) -> dict[str, Any]:
    text = json.dumps({"action": action, "actor": "ada", **fields})
    plain = {"lead_id": "", "outcome": "none", "features": []}
    return {**label(0, FIRST + epoch), **plain, "record_kind": "command", "command": text}


def log(run: Learning) -> list[tuple[str, str]]:
    return [(e["action"], e["version"]) for e in rows_of(run.out, "models.lifecycle")]


def slot(run: Learning, name: str) -> list[dict[str, Any]]:
    return [w for w in rows_of(run.out, "models.current") if w["slot"] == name]


def offer(seed: int, epoch: int, artifact: bytes | None = None) -> tuple[dict[str, Any], str]:
    weights = np.random.default_rng(seed).normal(0, 0.2, Encoding(CATALOGUE).size)
    artifact = artifact or build_linear_champion(Encoding(CATALOGUE), weights)
    return (
        command("offer", epoch, artifact=b64encode(artifact).decode()),
        artifact_version(artifact),
    )


def test_a_refit_by_schedule_goes_into_use_with_the_weights_of_its_epoch() -> None:
    run = Learning(acme())
    run.feed(*epochs(0, 5))
    actions = [action for action, _ in log(run)]
    assert actions[:3] == ["trained", "gated", "promoted"]
    assert actions.count("promoted") == 2
    current = rows_of(run.out, "models.current")
    champions, online = slot(run, "champion"), slot(run, "online")
    assert [c["artifact_version"] for c in champions] == [
        v for action, v in log(run) if action == "promoted"
    ]
    for champion in champions:
        assert artifact_sha256(champion["artifact"]) == champion["artifact_sha256"]
        place = current.index(champion)
        assert current[place + 1]["champion_version"] == champion["artifact_version"]
    assert [w["champion_version"] is None for w in online] == [True, False, False, False, False]
    assert online[-1]["mixture"] == [0.5, 0.5]
    model = ChampionModel(champions[-1]["artifact"], champions[-1]["artifact_sha256"], CATALOGUE)
    rows = np.random.default_rng(1).normal(1, 1, (10, COLUMNS)).astype(np.float32)
    assert np.ptp(model.predict_logit(rows)) > 0.1


def test_an_offer_goes_through_shadow_and_canary_and_can_be_rolled_back() -> None:
    run = Learning(acme(None))
    first, one = offer(1, 0)
    second, two = offer(2, 6)
    run.feed(*epochs(0, 1), first, *epochs(1, 5))
    assert [a for a, v in log(run) if v == one] == [
        "trained", "shadow", "gated", "canary", "gated", "promoted",
    ]  # fmt: skip
    shares = [(w["champion_version"], w["challenger_version"]) for w in slot(run, "online")]
    assert shares == [(None, None)] * 3 + [(None, one)] * 2 + [(one, None)] * 2
    assert slot(run, "challenger")[0]["artifact_version"] == one
    run.feed(second, command("promote", 6, version=two), *epochs(6, 1))
    assert slot(run, "online")[-1]["champion_version"] == two
    versions = len(slot(run, "online"))
    run.feed(command("rollback", 7, reason="complaints"))
    assert len(slot(run, "online")) == versions + 1, "what a person wants does not wait"
    assert slot(run, "online")[-1]["champion_version"] == one
    assert slot(run, "champion")[-1]["artifact_version"] == one
    entry = [e for e in rows_of(run.out, "models.lifecycle") if e["action"] == "rolled_back"]
    assert (entry[0]["actor"], entry[0]["reason"]) == ("ada", "complaints")
    run.feed(command("retire", 7, version=one))
    assert slot(run, "online")[-1]["champion_version"] is None


@pytest.mark.parametrize("damage", ["truncated", "text", "foreign"])
def test_an_offer_that_is_no_champion_is_refused_and_the_former_one_stays(damage: str) -> None:
    run = Learning(acme(None))
    good, version = offer(1, 0)
    run.feed(*epochs(0, 1), good, command("promote", 1, version=version))
    artifact = build_linear_champion(Encoding(CATALOGUE), np.ones(Encoding(CATALOGUE).size))
    other = config("acme").catalogue
    foreign = type(other)(2, other.attributes[:1], other.behaviour)
    made = {
        "truncated": artifact[: len(artifact) // 2],
        "text": b"no graph",
        "foreign": build_linear_champion(Encoding(foreign), np.ones(Encoding(foreign).size)),
    }[damage]
    bad, refused = offer(0, 1, made)
    run.feed(bad, command("promote", 1, version=refused), *epochs(1, 1))
    assert log(run)[-2:] == [("refused", refused), ("refused", refused)]
    assert slot(run, "online")[-1]["champion_version"] == version


def test_commands_that_cannot_be_done_say_why() -> None:
    run = Learning(acme(None))
    run.feed(command("rollback", 0), command("promote", 0, version="nobody"))
    reasons = [e["reason"] for e in rows_of(run.out, "models.lifecycle")]
    assert "no former champion" in reasons[0]
    assert "nobody is not kept here" in reasons[1]


def test_restarts_anywhere_end_in_the_same_models_log_and_state() -> None:
    first, version = offer(1, 0)
    rows = [
        *epochs(0, 2), first, *epochs(2, 5), command("rollback", 7),
        command("promote", 7, version=version), *epochs(7, 2),
    ]  # fmt: skip
    quiet = Learning(acme()).cut(rows, [])
    run, changes = Learning(acme()), ChangeRecords()
    for part in np.array_split(np.array(rows, object), 40):
        run.feed(*part)
        run.state = restored(run.processor, run.state, changes)
    assert log(run) == log(quiet)
    assert len(log(run)) > 10
    names = ("version", "weights", "champion_version", "challenger_version", "calibration_a")
    assert [[w[n] for n in names] for w in slot(run, "online")] == [
        [w[n] for n in names] for w in slot(quiet, "online")
    ]
    assert contents(run.state) == contents(restored(quiet.processor, quiet.state, ChangeRecords()))


def test_rising_loss_asks_for_a_refit() -> None:
    run = Learning(acme(ChampionSettings(trees=20, refit_labels=100_000, min_labels=100)))
    run.feed(*epochs(0, 30))
    assert log(run) == []
    # the world turns round: what was published is wrong from here on
    turned = [
        {**row, "logit": -row["logit"]} if row["record_kind"] == "label" else row
        for row in epochs(30, 30)
    ]
    run.feed(*turned)
    events = rows_of(run.out, "models.lifecycle")
    alarm = next(e for e in events if e["action"] == "alarm")
    assert "log-loss went from" in alarm["reason"]
    training = next(e for e in events if e["action"] == "trained")
    assert training["reason"].startswith("drift: log-loss")
    assert run.metrics()[-1]["alarms"] == ["loss_drift"]


@pytest.mark.parametrize("text", [None, "", "{", "[1]", '"refit"', '{"action": 3, "id": 7}'])
def test_a_command_that_cannot_be_read_is_refused(text: str | None) -> None:
    run = Learning(acme(None))
    run.feed({**command("refit", 0), "command": text})
    (entry,) = rows_of(run.out, "models.lifecycle")
    assert entry["action"] == "refused"
    assert "cannot be read" in entry["reason"]


def test_a_promoted_canary_is_still_found_when_the_next_one_took_its_slot() -> None:
    run = Learning(acme(None, canary_labels=1000))
    first, one = offer(1, 0)
    second, two = offer(2, 4)
    run.feed(*epochs(0, 1), first, *epochs(1, 3))
    assert slot(run, "challenger")[-1]["artifact_version"] == one
    run.feed(command("promote", 4, version=one), second, *epochs(4, 3))
    assert slot(run, "challenger")[-1]["artifact_version"] == two
    assert slot(run, "online")[-1]["champion_version"] == one
    assert slot(run, "champion")[-1]["artifact_version"] == one  # what compaction leaves


def test_a_champion_outlives_any_number_of_canaries_in_the_scorers() -> None:
    run = Learning(acme(None))
    good, version = offer(1, 0)
    run.feed(*epochs(0, 1), good, command("promote", 0, version=version))
    store = ModelStore(run.configs, {"acme": Encoding(CATALOGUE)})
    for row in rows_of(run.out, "models.current"):
        store.apply("models.current", f"acme/conversion/{row['slot']}".encode(), row)
    for seed in range(2, 10):
        weights = np.random.default_rng(seed).normal(0, 0.2, Encoding(CATALOGUE).size)
        other = build_linear_champion(Encoding(CATALOGUE), weights)
        row = {**slot(run, "champion")[0], "slot": "challenger", "artifact": other}
        row["artifact_sha256"] = artifact_sha256(other)
        store.apply("models.current", b"acme/conversion/challenger", row)
        store.apply("models.current", b"acme/conversion/online", slot(run, "online")[-1])
    assert store.newest("acme", "conversion").champion_version == version
