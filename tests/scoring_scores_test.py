"""What a subscriber of leads.scored and leads.latest may rely on."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from scoring_support import (
    CATALOGUE,
    HOUR,
    START,
    Scoring,
    config,
    event,
    lead,
    story,
    target,
    tick,
)

TWO_TARGETS = config("acme", target(), target("upsell", 60.0, every_days=1.0))


def test_every_event_gives_one_score_for_each_target() -> None:
    scoring = Scoring(TWO_TARGETS)
    rows = story(1)
    scoring.feed(*rows)
    events = [r["event_id"] for r in rows if r["record_kind"] == "event"]
    for name in ("conversion", "upsell"):
        scores = scoring.scores(target=name)
        assert [s["event_id"] for s in scores] == events
        assert {s["key"] for s in scores} == {f"acme/{s['lead_id']}/{name}" for s in scores}
    offsets = [i for i, r in enumerate(rows) if r["record_kind"] == "event"]
    assert [s["source_offset"] for s in scoring.scores(target="upsell")] == offsets
    assert not scoring.out.rejections


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_parts_of_a_score_add_up_to_its_logit(version: int) -> None:
    scoring = Scoring()
    scoring.publish(version)
    scoring.feed(*story(2))
    scores = scoring.scores()
    for score in scores:
        told = [c["contribution"] for c in score["contributions"]]
        assert score["bias"] + sum(told) + score["other"] == pytest.approx(
            score["logit"], abs=1e-12
        )
        assert score["probability"] == pytest.approx(1 / (1 + math.exp(-score["logit"])), rel=1e-14)
        assert [abs(t) for t in told] == sorted((abs(t) for t in told), reverse=True)
        assert 0.0 not in told
        assert {c["feature"] for c in score["contributions"]} <= set(CATALOGUE.column_names)
    assert any(len(s["contributions"]) == 5 for s in scores)


def test_a_lead_is_scored_from_its_first_event_on_and_says_how_little_is_known() -> None:
    scoring = Scoring()
    scoring.feed(event("e1", 1), event("e2", 1, START + HOUR))
    first, second = scoring.scores()
    assert (first["evidence_count"], second["evidence_count"]) == (1, 2)
    assert first["probability"] == 0.5  # the base rate of nothing: nobody has learned yet
    assert (first["score"], first["grade"], first["percentile"]) == (50, "C", None)
    assert first["weights_version"] == 0
    assert first["previous_logit"] is None
    assert first["contributions"] == []


def test_scores_and_grades_stay_in_their_ranges_and_rise_with_the_logit() -> None:
    scoring = Scoring()
    scoring.publish(1)
    scoring.feed(*story(3))
    quantiles = np.sort([s["logit"] for s in scoring.scores()] * 2)[:101].tolist()
    scoring.publish(2, quantiles=quantiles)
    scoring.feed(*story(4))
    for version in (1, 2):
        scores = sorted(scoring.scores(weights_version=version), key=lambda s: s["logit"])
        points = [s["score"] for s in scores]
        assert points == sorted(points)
        assert 1 <= points[0] < points[-1] <= 100
        for s in scores:
            mark = "A" if s["score"] >= 80 else "B" if s["score"] >= 60 else "C"
            assert s["grade"] == (mark if s["score"] >= 40 else "D")
            assert (s["percentile"] is None) == (version == 1)


def test_each_score_names_the_logit_before_it_also_over_batches_and_versions() -> None:
    scoring = Scoring(TWO_TARGETS)
    for part in range(3):
        scoring.publish(part + 1)
        scoring.feed(*story(part))
    for name in ("conversion", "upsell"):
        last: dict[str, float] = {}
        for score in scoring.scores(target=name):
            assert score["previous_logit"] == last.get(score["lead_id"])
            last[score["lead_id"]] = score["logit"]


def test_latest_holds_the_last_score_of_each_lead_of_a_batch() -> None:
    scoring = Scoring(TWO_TARGETS)
    scoring.publish(1)
    rows = [r for r in story(5) if r["record_kind"] == "event"]
    for start in range(0, len(rows), 20):
        scoring.out.records.clear()
        scoring.feed(*rows[start : start + 20])
        last = {s["key"]: s for s in scoring.scores()}
        latest = scoring.rows("leads.latest")
        assert len(latest) == len(last) < 2 * 20
        assert {s["key"]: s for s in latest} == last


def test_two_workspaces_with_their_own_catalogues_share_a_batch() -> None:
    smaller = msgspec.structs.replace(CATALOGUE, attributes=CATALOGUE.attributes[:1])
    shop = config("shop", target("purchase"), catalogue=smaller)
    rows = [r for pair in zip(story(6), story(7, workspace="shop"), strict=False) for r in pair]
    both = Scoring(config(), shop)
    both.publish(1)
    both.publish(2, "shop")
    both.feed(*rows)
    for name in ("acme", "shop"):
        alone = Scoring(both.configs[name])
        alone.publish(1 if name == "acme" else 2, name)
        alone.feed(*[r for r in rows if r["workspace"] == name])
        assert len(alone.labels()) > 3
        for mine, other in (
            (both.scores(workspace=name), alone.scores()),
            (both.labels(workspace=name), alone.labels()),
        ):
            assert [_without_place(row) for row in mine] == [_without_place(row) for row in other]
    assert len({s["catalogue_version"] for s in both.scores()}) == 2


def _without_place(row: dict[str, object]) -> str:
    return repr({k: v for k, v in row.items() if k != "source_offset"})


def test_an_unknown_workspace_is_refused_and_the_others_are_not_disturbed() -> None:
    scoring = Scoring()
    rows = [
        event("a", 1),
        event("b", 2, workspace="nobody"),
        tick(START + HOUR, "nobody"),
        event("c", 1, START + HOUR),
    ]
    made = scoring.feed(*rows)
    assert [s["event_id"] for s in scoring.scores()] == ["a", "c"]
    assert [(r.row, r.error_class) for r in made.rejections] == [
        (1, "UnknownWorkspace"),
        (2, "UnknownWorkspace"),
    ]
    assert "'nobody'" in made.rejections[0].message


def test_records_that_say_nothing_of_a_lead_give_no_score() -> None:
    scoring = Scoring()
    link = event("e2", 1, record_kind="link", other_lead_id=lead(2))
    made = scoring.feed(event("e1", 1), link)
    assert [s["event_id"] for s in scoring.scores()] == ["e1"]
    assert not made.rejections
    assert not scoring.feed().records


def test_a_tick_of_a_workspace_without_events_ends_its_epoch_all_the_same() -> None:
    scoring = Scoring(config(), config("shop"))
    scoring.feed(event("a", 1), tick(START + HOUR, "shop"))
    (end,) = scoring.rows("lead.labels")
    assert (end["record_kind"], end["workspace"], end["label_id"]) == ("epoch_end", "shop", "")
    assert end["epoch"] == START // HOUR
