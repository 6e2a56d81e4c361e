"""What moved a score: the event, passing time and the model, adding up to the change, always."""

from __future__ import annotations

import numpy as np
import pytest
from scoring_models_test import champion_row, give
from scoring_support import DAY, START, Scoring, event, story


def test_parts_add_up_to_the_change_of_every_score_with_models_that_change() -> None:
    scoring = Scoring()
    rows = story(3, 200)
    give(scoring, champion_row(5, "c1"))
    give(scoring, champion_row(6, "c2"))
    champions = [None, "c1", "c1", "c2"]
    for number, start in enumerate(range(0, len(rows), 40)):
        scoring.publish(number + 1, champion_version=champions[number % 4])
        scoring.feed(*rows[start : start + 40])
    scores = scoring.scores()
    again = [s for s in scores if s["previous_logit"] is not None]
    assert len(again) > 100
    for score in again:
        parts = score["delta_event"] + score["delta_time"] + score["delta_model"]
        assert parts == pytest.approx(score["logit"] - score["previous_logit"], abs=1e-9)
    for part in ("delta_event", "delta_time", "delta_model"):
        assert sum(s[part] != 0 for s in again) > 10, part
    first = [s for s in scores if s["previous_logit"] is None]
    assert first
    assert all(s["delta_event"] is s["delta_time"] is s["delta_model"] is None for s in first)


def test_each_part_is_what_its_cause_alone_changes() -> None:
    scoring = Scoring()
    scoring.publish(1)
    scoring.feed(event("a", 1), event("b", 1, kind="call"))
    scoring.feed(event("c", 1, START + 3 * DAY, kind="unknown", texts={"plan": "pro"}))
    scoring.publish(2)
    scoring.feed(event("d", 1, START + 3 * DAY, kind="unknown"))
    _, call, later, relearned = scoring.scores()
    assert call["delta_time"] == call["delta_model"] == 0
    assert call["delta_event"] == pytest.approx(call["logit"] - call["previous_logit"])
    assert later["delta_model"] == 0
    assert later["delta_time"] != 0
    assert later["delta_event"] != 0
    assert relearned["delta_time"] == 0
    assert abs(relearned["delta_model"]) > 0.1


def test_a_part_of_the_leads_is_scored_by_the_challenger() -> None:
    scoring, alone = Scoring(), Scoring()
    for run in (scoring, alone):
        give(run, champion_row(5, "c1"))
        give(run, champion_row(6, "c2"), "challenger")
    scoring.publish(1, champion_version="c1", challenger_version="c2", canary_share=0.3)
    alone.publish(1, champion_version="c2")
    rows = [event(str(n), n, START + n) for n in range(1000)]
    scoring.feed(*rows)
    alone.feed(*rows)
    mine = [s["champion_version"] == "c2" for s in scoring.scores()]
    assert 250 < sum(mine) < 350
    for chosen, score, challenger in zip(mine, scoring.scores(), alone.scores(), strict=True):
        assert chosen == (score["logit"] == challenger["logit"])
        told = sum(part["contribution"] for part in score["contributions"])
        assert score["bias"] + told + score["other"] == pytest.approx(score["logit"], abs=1e-12)


def test_contributions_come_with_the_value_behind_them() -> None:
    scoring = Scoring()
    scoring.publish(1)
    scoring.feed(event("a", 1, numbers={"age": 31.0}), event("b", 2, numbers={}))
    known, unknown = (
        {c["feature"]: c["value"] for c in s["contributions"]} for s in scoring.scores()
    )
    assert known["age"] == np.float32(31.0)
    assert unknown.get("age") is None
