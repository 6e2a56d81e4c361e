"""Leads of which nothing was heard for ``state_ttl`` are forgotten, once a day of event time."""

from __future__ import annotations

from scoring_support import (
    DAY,
    HOUR,
    START,
    Scoring,
    config,
    contents,
    event,
    lead,
    restored,
    target,
    tick,
)

from streams.engine.changelog import ChangeRecords
from streams.engine.hashing import keys_to_hex


def scoring(ttl: str = "5d", horizon_days: float = 1.0) -> Scoring:
    return Scoring(config("acme", target("conversion", horizon_days), state_ttl=ttl))


def known(run: Scoring) -> set[str]:
    table = run.state.table("leads/acme")
    return set(keys_to_hex(table.keys[table.live_rows()]))


def day(number: float) -> int:
    return START + round(number * DAY)


def test_an_idle_lead_is_forgotten_and_one_that_moves_is_not() -> None:
    run = scoring()
    run.feed(event("a", 1), event("b", 2), event("c", 2, day(3)), tick(day(5)))
    assert known(run) == {lead(1), lead(2)}
    run.feed(tick(day(6)))
    assert known(run) == {lead(2)}


def test_a_lead_whose_outcome_is_awaited_stays() -> None:
    run = scoring(horizon_days=8.0)
    run.feed(event("a", 1), tick(day(7)))
    assert known(run) == {lead(1)}
    run.feed(tick(day(8)))
    assert known(run) == set()
    assert [label["outcome"] for label in run.labels()] == ["matured"]


def test_it_looks_once_a_day_only() -> None:
    run = scoring()
    run.feed(event("a", 1, day(0.5)), tick(day(5.25)), tick(day(5.75)))
    assert known(run) == {lead(1)}
    run.feed(tick(day(6)))
    assert known(run) == set()


def test_a_forgotten_lead_that_comes_back_begins_anew() -> None:
    run = scoring()
    run.feed(event("a", 1), event("end", 1, day(0.5), "won"), tick(day(6)), event("b", 1, day(6)))
    first, _, back = run.scores()
    assert (back["evidence_count"], back["previous_logit"]) == (1, None)
    assert back["logit"] == first["logit"]
    assert run.waiting() == 1


def test_forgetting_is_told_to_the_changelog() -> None:
    run, log = scoring(), ChangeRecords()
    run.feed(event("a", 1), event("b", 2, day(4)), tick(day(5) - HOUR))
    run.state = restored(run.processor, run.state, log)
    run.feed(tick(day(6)))
    again = restored(run.processor, run.state, log)
    assert contents(again) == contents(run.state)
    assert sum(
        value is None and len(key) == 24 for key, value in zip(log.keys, log.values, strict=True)
    )
    assert known(run) == {lead(2)}


def test_other_workspaces_keep_their_own_time() -> None:
    run = Scoring(
        config(
            "acme",
            state_ttl="5d",
        ),
        config("shop", state_ttl="5d"),
    )
    run.feed(event("a", 1, kind="won"), tick(day(9), "shop"))
    assert known(run) == {lead(1)}
