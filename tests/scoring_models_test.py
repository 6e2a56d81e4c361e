"""Which weights and champion score, and that a batch is scored as river would score each row."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from river import linear_model, optim
from scoring_support import (
    CATALOGUE,
    EPOCH_US,
    START,
    Scoring,
    config,
    rows_of,
    story,
    tick,
    timeline,
    weights_row,
)

from models.champion.artifact import artifact_sha256
from models.champion.graph import build_linear_champion
from models.features.encoding import Encoding
from streams.app import model_store
from streams.engine.columns import Outputs
from streams.engine.errors import ConfigurationError
from streams.engine.local import LocalRunner
from streams.learning.processor import LearningProcessor
from streams.scoring.processor import ScoringProcessor

ENCODING = Encoding(CATALOGUE)


def champion_row(seed: int, version: str, **fields: Any) -> dict[str, Any]:
    weights = np.random.default_rng(seed).normal(0, 0.5, ENCODING.size)
    artifact = build_linear_champion(ENCODING, weights, version)
    named = {"artifact": artifact, "artifact_sha256": artifact_sha256(artifact)}
    return weights_row(config(), slot="champion", weights=[], **{**named, **fields})


def give(scoring: Scoring, row: dict[str, Any] | None, slot: str = "champion") -> None:
    scoring.models.apply("models.current", f"acme/conversion/{slot}".encode(), row)


@pytest.mark.parametrize(
    "foreign", [{"catalogue_version": "1-000000000000"}, {"weights": [0.0, 1.0]}]
)
def test_weights_of_another_catalogue_are_refused_and_the_former_go_on(
    foreign: dict[str, Any],
) -> None:
    scoring = Scoring()
    scoring.publish(1)
    scoring.publish(2, **foreign)
    scoring.feed(*story(1))
    assert {s["weights_version"] for s in scoring.scores()} == {1}


def test_weights_of_an_unknown_workspace_do_no_harm_and_a_tombstone_takes_them_away() -> None:
    scoring = Scoring()
    scoring.models.apply("models.current", b"nobody/conversion/online", {})
    scoring.publish(1)
    give(scoring, None, "online")
    scoring.feed(*story(1))
    assert {s["weights_version"] for s in scoring.scores()} == {0}


def test_a_champion_enters_the_mean_and_the_parts_still_add_up() -> None:
    alone, champion, both = Scoring(), Scoring(), Scoring()
    plain = {"calibration_a": 1.0, "calibration_b": 0.0}
    zero = [0.0] * ENCODING.size
    alone.publish(1, **plain)
    for scoring in (champion, both):
        give(scoring, champion_row(5, "c1"))
    with_it = {**plain, "champion_version": "c1"}
    champion.publish(1, weights=zero, **{**with_it, "calibration_a": 2.0})  # 2 · mean(0, c) = c
    both.publish(1, **with_it)
    for scoring in (alone, champion, both):
        scoring.feed(*story(2))
    for a, c, b in zip(alone.scores(), champion.scores(), both.scores(), strict=True):
        assert b["logit"] == pytest.approx((a["logit"] + c["logit"]) / 2, abs=1e-12)
        told = sum(part["contribution"] for part in b["contributions"])
        assert b["bias"] + told + b["other"] == pytest.approx(b["logit"], abs=1e-12)
        assert (a["champion_version"], b["champion_version"]) == (None, "c1")
    assert len({c["logit"] for c in champion.scores()}) > 5


def test_a_corrupted_champion_is_refused_and_the_former_one_goes_on() -> None:
    scoring = Scoring()
    give(scoring, champion_row(5, "good"))
    scoring.publish(1, champion_version="good")
    bad = champion_row(6, "bad")
    give(scoring, {**bad, "artifact": bad["artifact"][:-1] + b"\x00"})
    give(scoring, {**bad, "artifact": b"no graph", "artifact_sha256": artifact_sha256(b"no graph")})
    give(scoring, {**bad, "artifact_sha256": None})
    scoring.publish(2, champion_version="bad")
    scoring.feed(*story(3))
    assert {s["champion_version"] for s in scoring.scores()} == {"good"}
    assert {s["weights_version"] for s in scoring.scores()} == {2}
    scoring.publish(3)
    scoring.out.records.clear()
    scoring.feed(*story(4))
    assert {s["champion_version"] for s in scoring.scores()} == {None}


@pytest.mark.parametrize("model", ["ftrl", "river_ftrl"])
def test_the_whole_path_scores_as_river_does_row_by_row(model: str) -> None:
    """Learn, publish, score; river learns the same labels and predicts the same rows."""
    from models.workspaces import OnlineSettings

    acme = config("acme", online=OnlineSettings(model=model))
    configs = {"acme": acme}
    seen = Outputs()
    runner = LocalRunner(
        [ScoringProcessor(configs), LearningProcessor(configs)],
        {"lead.timeline": 1, "lead.labels": 1},
        models=model_store(configs),
        broadcast=("models.current",),
        policy="barrier",
        sink=lambda topic, keys, values: seen.records.append(_output(topic, keys, values)),
    )
    batch = timeline([*story(8, 200, 60), *_final_tick()])
    runner.feed("lead.timeline", batch.keys, batch.values)
    assert not runner.waiting

    river = linear_model.LogisticRegression(
        optim.FTRLProximal(alpha=0.05, beta=1.0, l1=0.0, l2=1.0), intercept_lr=0.0
    )
    labels = [r for r in rows_of(seen, "lead.labels") if r["record_kind"] == "label"]
    compared, learned = 0, -1
    for weights in rows_of(seen, "models.current"):
        due = [r for r in labels if learned < r["epoch"] <= weights["epoch"]]
        learned = weights["epoch"]
        for label in sorted(due, key=lambda r: (r["resolved_at"], r["lead_id"], r["row_time"])):
            river.learn_one(ENCODING.as_dict(_features(label)), label["positive"])
        a, b = weights["calibration_a"], weights["calibration_b"]
        for label in labels:
            if label["weights_version"] != weights["version"]:
                continue
            p = river.predict_proba_one(ENCODING.as_dict(_features(label)))[True]
            logit = a * math.log(p / (1 - p)) + b
            assert label["logit"] == pytest.approx(logit, abs=1e-9)
            compared += abs(logit) > 0.01
    assert compared > 20


def _output(topic: str, keys: Any, values: Any) -> Any:
    from streams.engine.columns import OutputBatch

    return OutputBatch(topic, keys, values)


def _final_tick() -> list[dict[str, Any]]:
    from scoring_support import DAY

    end = (START + 200 * DAY) // EPOCH_US * EPOCH_US
    return [tick(end)]


def _features(label: dict[str, Any]) -> Any:
    return np.array(label["features"], np.float32)


@pytest.mark.parametrize(("partitions", "refused"), [(1, False), (8, True)])
def test_barrier_refuses_workspaces_whose_ticks_have_no_common_order(
    partitions: int, refused: bool
) -> None:
    """With 8 partitions of crm.events, acme and beta come from two identity tasks."""
    both = Scoring(config("acme"), config("beta"), policy="barrier")
    counts = {"lead.timeline": 1, "crm.events": partitions}
    both.context = replace(both.context, partitions=counts)
    both.feed(tick(START + EPOCH_US, "acme"), tick(START + 2 * EPOCH_US, "acme"))
    if not refused:
        both.feed(tick(START + EPOCH_US, "beta"))
        return
    with pytest.raises(ConfigurationError, match=r"beta and acme .*--policy live"):
        both.feed(tick(START + EPOCH_US, "beta"))
    both.context = replace(both.context, policy="live")
    both.feed(tick(START + EPOCH_US, "beta"))
