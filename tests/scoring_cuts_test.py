"""However the timeline is cut into batches, and wherever a worker restarts: the same bits."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_support import Scoring, config, contents, restored, story, target

from streams.engine.changelog import ChangeRecords

CONFIG = config(
    "acme",
    target(max_pending=2, stage_kinds=("call",)),
    target("upsell", 2.0, every_days=0.5),
    state_ttl="3d",
)
ROWS = story(11, 60, 6)


def scoring() -> Scoring:
    made = Scoring(CONFIG)
    made.publish(3)
    return made


def outputs(run: Scoring) -> dict[str, list[str]]:
    """Scores and labels of each target in the order in which a subscriber reads them."""
    return {
        f"{topic}/{name}": [repr(row) for row in run.rows(topic, target=name)]
        for topic in ("leads.scored", "lead.labels")
        for name in ("conversion", "upsell")
    }


@cache
def whole() -> tuple[dict[str, list[str]], dict[str, Any]]:
    run = scoring().cut(ROWS, [])
    return outputs(run), contents(run.state)


cuts = st.sets(st.integers(1, len(ROWS) - 1), max_size=12)


@settings(max_examples=25, deadline=None)
@given(cuts)
def test_cuts_change_neither_scores_nor_labels_nor_state(places: set[int]) -> None:
    run = scoring().cut(ROWS, places)
    assert (outputs(run), contents(run.state)) == whole()


def test_one_event_at_a_time_gives_the_same() -> None:
    run = scoring().cut(ROWS, range(1, len(ROWS)))
    assert (outputs(run), contents(run.state)) == whole()


@settings(max_examples=15, deadline=None)
@given(cuts)
def test_restarts_between_batches_change_nothing(places: set[int]) -> None:
    run, log = scoring(), ChangeRecords()
    for start, stop in zip([0, *sorted(places)], [*sorted(places), len(ROWS)], strict=True):
        run.feed(*ROWS[start:stop])
        run.state = restored(run.processor, run.state, log)
    assert (outputs(run), contents(run.state)) == whole()


def test_the_story_holds_what_makes_this_worth_proving() -> None:
    run = scoring().cut(ROWS, [])
    labels = run.labels()
    assert {label["outcome"] for label in labels} == {"won", "lost", "matured"}
    assert {label["target"] for label in labels} == {"conversion", "upsell"}
    first = [s for s in run.scores(target="upsell") if s["previous_logit"] is None]
    assert len(first) > 6, "no lead was forgotten and came back"
