"""What people see of models, without a broker: labels, training, versions, words, metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from learning_champion_test import acme, command, epochs, offer
from learning_support import FIRST, Learning, label
from prometheus_client import CollectorRegistry
from scoring_models_test import champion_row, give
from scoring_support import CATALOGUE, START, Scoring, batch_of, config, event, rows_of

from models.champion.artifact import artifact_sha256
from models.champion.runtime import ChampionModel
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue
from models.lifecycle.history import LifecycleEvent, slot_history
from models.lifecycle.lineage import Lineage
from models.lifecycle.subscribers import Subscriber, Threshold
from streams.engine.errors import ConfigurationError
from streams.governance.explain import in_words
from streams.governance.labels import CurrentLabels
from streams.governance.preview import compare, proposed
from streams.governance.state import Leads
from streams.governance.training import train
from streams.governance.versions import lineages_of, resolve, term_words
from streams.learning.metrics import LearningMetrics
from streams.learning.records import Published
from streams.learning.window import Labels
from streams.scoring.metrics import ModelMetrics

WHERE = ("acme", "conversion")


def collected(*rows: dict[str, Any]) -> CurrentLabels:
    found = CurrentLabels(config(), "conversion")
    found.add(batch_of("lead.labels", "label", rows).values)
    return found


def labels_of(rows: list[dict[str, Any]]) -> Labels:
    return collected(*rows).labels()[0]


def log_of(run: Learning) -> list[LifecycleEvent]:
    rows = rows_of(run.out, "models.lifecycle")
    return [LifecycleEvent.of_record(row) for row in rows if row["slot"] == "champion"]


def test_labels_that_were_taken_back_or_mean_something_else_are_left_out() -> None:
    back = {**label(3), "record_kind": "retraction", "outcome": "retracted"}
    other = [label(7, catalogue_version="1-other"), label(8, target="churn")]
    found = collected(*(label(n) for n in range(5)), back, *other, command("refit", 0))
    labels, leads = found.labels()
    assert sorted(leads) == sorted(label(n)["lead_id"] for n in (0, 1, 2, 4))
    assert (found.taken_back, found.other_catalogues) == (1, 1)
    assert (np.diff(labels.resolved_at) >= 0).all()


def test_training_by_hand_is_the_same_each_time_and_judged_on_the_newest_fifth() -> None:
    rows = [label(n, FIRST + n // 5) for n in range(400)]
    made = [train(acme(), "conversion", labels_of(some)) for some in (rows, rows[::-1])]
    assert made[0].artifact == made[1].artifact and made[0].lineage == made[1].lineage
    trained = made[0]
    assert trained.gate is not None and trained.alone is not None
    assert trained.alone.labels == trained.gate.figures["labels"] == 80
    model = ChampionModel(trained.artifact, artifact_sha256(trained.artifact), CATALOGUE)
    assert np.ptp(model.predict_logit(labels_of(rows).features)) > 0.1
    assert trained.lineage.labels == 400 and trained.lineage.metrics == trained.gate.figures


@pytest.mark.parametrize(
    "rows", [[], [label(n) for n in range(90)], [label(n, positive=True) for n in range(300)]]
)
def test_too_few_labels_or_one_outcome_say_what_is_needed(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigurationError, match="needs 100 and both outcomes"):
        train(acme(), "conversion", labels_of(rows))


def test_a_champion_slower_than_the_gate_allows_is_not_made() -> None:
    slow = acme()
    gate = msgspec.structs.replace(slow.workspace.lifecycle.gate, latency_us=1e-6)
    lifecycle = msgspec.structs.replace(slow.workspace.lifecycle, gate=gate)
    workspace = msgspec.structs.replace(slow.workspace, lifecycle=lifecycle)
    rows = [label(n, FIRST + n // 5) for n in range(400)]
    with pytest.raises(ConfigurationError, match="a row, at most 1e-06 are allowed"):
        train(replace(slow, workspace=workspace), "conversion", labels_of(rows))


def test_what_a_command_caused_carries_its_id_and_nothing_else_does() -> None:
    run = Learning(acme())
    run.feed(*epochs(0, 3))
    before = len(log_of(run))
    run.feed(command("refit", 3, id="one"), command("rollback", 3, id="two"), *epochs(3, 3))
    after = log_of(run)
    assert all("command" not in e.details for e in after[:before])
    by_id = {i: [e.action for e in after if e.details.get("command") == i] for i in ("one", "two")}
    assert by_id["one"][:2] == ["trained", "gated"]
    assert len(by_id["two"]) >= 1
    assert any("command" not in e.details for e in after[before:]), "what came later by itself"
    lineages = dict(lineages_of(after))
    assert set(lineages) == {e.version for e in after if e.action == "trained"}
    assert all(isinstance(each, Lineage) for each in lineages.values())


def test_a_refit_where_nothing_is_trained_is_refused_with_what_to_do() -> None:
    run = Learning(acme(None))
    run.feed(command("refit", 0, id="x"))
    (refused,) = log_of(run)
    assert (refused.action, refused.actor, refused.details["command"]) == ("refused", "ada", "x")
    assert "workspace.yaml has no `champion:`" in refused.reason


def test_a_command_given_while_another_champion_was_in_use_is_refused() -> None:
    run = Learning(acme(None))
    given, version = offer(1, 0)
    promote = command("promote", 0, version=version, champion="")
    run.feed(*epochs(0, 1), given, promote)
    assert log_of(run)[-1].action == "promoted"
    other, second = offer(2, 1)
    run.feed(other, command("promote", 1, version=second, champion=""))
    refused = log_of(run)[-1]
    assert refused.action == "refused" and f"{version} is in use by now, not none" in refused.reason
    assert rows_of(run.out, "models.current")[-1]["mixture"] == [0.5, 0.5], "the default share"


def test_versions_are_found_by_their_beginning_or_place() -> None:
    run = Learning(acme(None))
    first, one = offer(1, 0)
    second, two = offer(2, 0)
    run.feed(*epochs(0, 1), first, command("promote", 1, version=one), second)
    history = slot_history(log_of(run))
    names = ("champion", "challenger", one[:5], two)
    assert [resolve(history, "here", name) for name in names] == [one, two, one, two]
    for unknown in ("", "zzz"):
        with pytest.raises(ConfigurationError, match=f"{one}, {two}"):
            resolve(history, "here", unknown)


def test_a_preview_counts_what_the_promotion_then_does() -> None:
    sellers = Subscriber("sellers", "conversion", Threshold(score=50))
    own = config("acme", subscribers=(sellers,))
    run = Learning(own)
    given, version = offer(5, 0)
    run.feed(*epochs(0, 2), given)
    scoring = Scoring(own)
    scoring.publish(1)
    draw = np.random.default_rng(0)
    rows = draw.normal(1, 1, (300, len(CATALOGUE.columns))).astype(np.float32)
    leads = Leads(draw.integers(0, 2**63, (300, 2)).astype(np.uint64), rows, rows, START)
    learner = run.state.learners[WHERE]  # type: ignore[attr-defined]
    current = scoring.models.newest(*WHERE)
    then = proposed(own, learner, current, version)
    seen = compare(own, "conversion", leads, current, then)
    (impact,) = seen.impacts
    assert seen.leads == 300 and impact.now + impact.up - impact.down == impact.then
    assert impact.up + impact.down > 0
    row = rows_of(run.out, "models.current")
    artifact = learner.champion.artifact(version)
    assert artifact is not None and row
    named = {"artifact": artifact, "artifact_sha256": artifact_sha256(artifact)}
    give(scoring, {**champion_row(5, ""), **named})
    scoring.publish(1, champion_version=version, mixture=[0.5, 0.5])
    promoted = compare(own, "conversion", leads, scoring.models.newest(*WHERE), then)
    assert promoted.regraded == 0 and promoted.probability_change == 0
    with pytest.raises(ConfigurationError, match="keeps no version nobody"):
        proposed(own, learner, current, "nobody")


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_score_in_words_adds_up_and_hints_are_what_raises_it(language: str) -> None:
    age = Attribute("age", "numeric", "numbers.age", actionable="increase")
    own = config(
        "acme",
        catalogue=FeatureCatalogue(
            1, (age,), Behaviour(kinds=("visit",), actionable={"visit": "invite"})
        ),
    )
    scoring = Scoring(own)
    scoring.publish(1)
    for number in range(2):
        at = START + number * 3_600_000_000
        scoring.feed(event(f"e{number}", 1, at, numbers={"age": 2.0 + number}))
    score = scoring.scores()[-1]
    row = np.zeros(len(own.catalogue.columns), np.float32)
    key = np.array([[int(score["lead_id"][:16], 16), int(score["lead_id"][16:], 16)]], np.uint64)
    leads = Leads(key, row[None], row[None], START)
    told = in_words(own, score, leads, scoring.models.newest(*WHERE), language, 2)
    total = score["bias"] + sum(r.contribution for r in told.reasons) + score["other"]
    assert total == pytest.approx(score["logit"], abs=1e-9)
    assert any("age: 3" in r.words for r in told.reasons)
    assert len(told.moved) >= 2
    nothing = in_words(own, {**score, "lead_id": "0" * 32}, leads, scoring.models.newest(*WHERE),
                       language, 2)  # fmt: skip
    assert nothing.hints == () and nothing.reasons[0].feature == told.reasons[0].feature


def test_terms_are_said_by_the_words_of_their_columns() -> None:
    said = term_words(CATALOGUE, "age*plan")
    words = {c.name: c.words for c in CATALOGUE.columns}
    assert said == f"{words['age']} and {words['plan']}"
    assert term_words(CATALOGUE, "some.River") == "some.River"


def test_scoring_metrics_show_the_champion_in_use_and_count_what_is_refused() -> None:
    scoring, registry = Scoring(), CollectorRegistry()
    metrics = ModelMetrics(registry)

    def info(version: str) -> float | None:
        labels = {"workspace": "acme", "target": "conversion", "slot": "champion"}
        return registry.get_sample_value("leadstream_champion_info", {**labels, "version": version})

    for number, version in enumerate(("one", "two", "one")):
        give(scoring, champion_row(5 + number % 2, version))
        scoring.publish(number, champion_version=version)
        metrics.observe(scoring.models)
        other = "two" if version == "one" else "one"
        assert (info(version), info(other)) == (1, None)
    give(scoring, {**champion_row(9, "bad"), "artifact_sha256": "00"})
    for _ in range(2):
        metrics.observe(scoring.models)
    refused = {"workspace": "acme", "target": "conversion"}
    assert registry.get_sample_value("leadstream_artifacts_refused_total", refused) == 1


def test_learning_metrics_tell_what_was_published() -> None:
    registry, run = CollectorRegistry(), Learning(acme())
    metrics = LearningMetrics(registry)
    run.processor = type(run.processor)(run.configs, None, metrics.observe)
    run.now_us = 1_700_000_000_000_000
    run.feed(*epochs(0, 5))
    where = {"workspace": "acme", "target": "conversion"}
    for action in ("trained", "promoted"):
        labels = {**where, "slot": "champion", "action": action}
        expected = sum(e.action == action for e in log_of(run))
        name = "leadstream_lifecycle_events_total"
        assert registry.get_sample_value(name, labels) == expected > 0
    since = registry.get_sample_value("leadstream_champion_promoted_timestamp_seconds", where)
    assert since == 1_700_000_000
    delay = {**where, "quantile": "0.5"}
    newest = run.metrics()[-1]
    assert (
        registry.get_sample_value("leadstream_label_delay_seconds", delay)
        == newest["label_delay_s_p50"]
    )
    metrics.observe(Published(champions={WHERE: None}))
    name = "leadstream_champion_promoted_timestamp_seconds"
    assert registry.get_sample_value(name, where) == 0
