"""Which feature rows become labels, when, and with which outcome."""

from __future__ import annotations

from typing import Any

import pytest
from scoring_support import DAY, HOUR, START, Scoring, config, event, lead, restored, target, tick

from streams.engine.changelog import ChangeRecords

ROW = ("event_id", "outcome", "positive", "row_time", "resolved_at", "resolved_by")


def ledger(horizon_days: float = 10.0, **rows: Any) -> Scoring:
    return Scoring(config("acme", target("conversion", horizon_days, **rows)))


def told(scoring: Scoring) -> list[tuple[Any, ...]]:
    """Labels with times as days since the start."""
    return [
        (
            row["event_id"],
            row["outcome"],
            row["positive"],
            (row["row_time"] - START) / DAY,
            (row["resolved_at"] - START) / DAY,
            row["resolved_by"],
        )
        for row in scoring.labels()
    ]


def day(number: float) -> int:
    return START + round(number * DAY)


@pytest.mark.parametrize(("kind", "positive"), [("won", True), ("lost", False)])
def test_an_outcome_resolves_the_row_of_the_first_score(kind: str, positive: bool) -> None:
    scoring = ledger()
    scoring.publish(1)
    scoring.feed(event("first", 1, numbers={"age": 33.0}), event("second", 1, day(1)))
    assert scoring.waiting() == 1
    scoring.feed(event("end", 1, day(2), kind))
    assert told(scoring) == [("first", kind, positive, 0, 2, "end")]
    (label,) = scoring.labels()
    first, *_ = scoring.scores()
    same = ("logit", "probability", "weights_version", "catalogue_version", "lead_id")
    assert [label[n] for n in same] == [first[n] for n in same]
    assert label["features"][0] == 33.0  # as of the first event
    assert label["source_offset"] == first["source_offset"] == 0
    assert label["key"] == "acme/conversion"
    assert scoring.waiting() == 0


def test_the_tick_after_the_deadline_makes_a_negative() -> None:
    scoring = ledger()
    scoring.feed(event("a", 1), event("b", 2, day(1)))
    scoring.feed(tick(day(10) - HOUR))
    assert told(scoring) == []
    scoring.feed(tick(day(10)))
    assert told(scoring) == [("a", "matured", False, 0, 10, None)]
    assert scoring.waiting() == 1


def test_an_outcome_after_the_deadline_counts_as_matured() -> None:
    scoring = ledger()
    scoring.feed(event("a", 1), event("end", 1, day(11), "won"))
    assert told(scoring) == [("a", "matured", False, 0, 10, "end")]


def test_an_outcome_on_the_deadline_is_in_time() -> None:
    scoring = ledger()
    scoring.feed(event("a", 1), event("end", 1, day(10), "won"), tick(day(10)))
    assert told(scoring) == [("a", "won", True, 0, 10, "end")]


def test_nothing_is_learned_from_features_that_came_after_the_outcome() -> None:
    scoring = ledger()
    scoring.feed(event("a", 1, day(2)), event("late", 1, day(1), "won"), tick(day(30)))
    assert told(scoring) == []
    assert scoring.waiting() == 0


def test_a_late_event_does_not_date_back_what_the_row_already_knows() -> None:
    """The row kept at the late call holds day 5's visit: an outcome of day 3 came before it."""
    scoring = ledger(first_score=False, stage_kinds=("call",))
    scoring.feed(event("a", 1), event("b", 1, day(5)), event("late", 1, day(2), "call"))
    assert scoring.waiting() == 1
    scoring.feed(event("end", 1, day(3), "won"))
    assert told(scoring) == []


@pytest.mark.parametrize("cut", [False, True])
def test_such_a_row_has_the_time_of_its_newest_event(cut: bool) -> None:
    scoring = ledger(first_score=False, stage_kinds=("call",))
    rows = [event("a", 1), event("b", 1, day(5)), event("late", 1, day(2), "call")]
    scoring.cut(rows, [1, 2] if cut else [])
    scoring.feed(tick(day(14)))
    assert told(scoring) == []
    scoring.feed(event("end", 1, day(15), "won"))
    assert told(scoring) == [("late", "won", True, 5, 15, "end")]


def test_a_lead_whose_outcome_comes_first_is_scored_but_never_learned() -> None:
    scoring = ledger()
    scoring.feed(event("end", 1, kind="won"), event("a", 1, day(1)), tick(day(40)))
    assert [s["event_id"] for s in scoring.scores()] == ["end", "a"]
    assert told(scoring) == []


def test_at_most_max_pending_rows_wait_and_slots_are_used_again() -> None:
    scoring = ledger(10.0, stage_kinds=("call",), max_pending=2)
    calls = [event(f"c{n}", 1, day(n), "call") for n in range(5)]
    scoring.feed(*calls)
    assert scoring.waiting() == 2
    scoring.feed(
        tick(day(10)), event("c10", 1, day(10.5), "call"), event("c10b", 1, day(10.6), "call")
    )
    assert scoring.waiting() == 2
    scoring.feed(event("end", 1, day(10.7), "lost"))
    assert [row[0] for row in told(scoring)] == ["c0", "c10", "c1"]
    ids = [row["label_id"] for row in scoring.labels()]
    assert len(set(ids)) == len(ids)


def test_stage_kinds_and_the_schedule_keep_more_rows() -> None:
    scoring = ledger(90.0, stage_kinds=("call",), every_days=2.0, max_pending=16)
    visits = [event(f"v{n}", 1, day(n)) for n in range(6)]
    scoring.feed(*visits, event("c", 1, day(5.5), "call"), event("end", 1, day(6), "won"))
    assert [row[0] for row in told(scoring)] == ["v0", "v2", "v4", "c"]


def test_without_a_first_score_row_only_stages_are_kept() -> None:
    scoring = ledger(90.0, first_score=False, stage_kinds=("call",))
    scoring.feed(event("v", 1), event("c", 1, day(1), "call"), event("end", 1, day(2), "won"))
    assert [row[0] for row in told(scoring)] == ["c"]


def test_no_feature_row_is_labelled_twice() -> None:
    scoring = ledger()
    ends = [event(f"end{n}", 1, day(1 + n), kind) for n, kind in enumerate(("won", "lost", "won"))]
    scoring.feed(event("a", 1), *ends, tick(day(20)), tick(day(40)))
    assert [row[0] for row in told(scoring)] == ["a"]


def test_targets_of_a_workspace_resolve_apart() -> None:
    other = target("upsell", 5.0)
    scoring = Scoring(config("acme", target("conversion", 10.0), other))
    scoring.feed(event("a", 1), tick(day(5)))
    assert [(r["target"], r["outcome"]) for r in scoring.labels()] == [("upsell", "matured")]
    scoring.feed(event("end", 1, day(6), "won"))
    assert [(r["target"], r["outcome"]) for r in scoring.labels()] == [
        ("upsell", "matured"),
        ("conversion", "won"),
    ]
    assert (scoring.waiting(), scoring.waiting("upsell")) == (0, 0)


def test_each_tick_ends_the_epoch_once_a_target_behind_its_labels() -> None:
    scoring = ledger(1.0)
    scoring.feed(event("a", 1), tick(day(1)), tick(day(2)))
    kinds = [(r["record_kind"], r["epoch"]) for r in scoring.rows("lead.labels")]
    last = day(1) // HOUR - 1
    assert kinds == [("label", last), ("epoch_end", last), ("epoch_end", last + 24)]


@pytest.mark.parametrize("by", ["outcome", "deadline"])
@pytest.mark.parametrize("restart", [False, True])
def test_long_event_ids_stay_whole_and_apart(by: str, restart: bool) -> None:
    ids = ["x" * 64, "x" * 65, "x" * 200 + "1", "x" * 200 + "2", "é" * 120]
    scoring = ledger()
    scoring.feed(*[event(name, n) for n, name in enumerate(ids)])
    if restart:
        scoring.state = restored(scoring.processor, scoring.state, ChangeRecords())
    if by == "outcome":
        scoring.feed(*[event(f"end{n}", n, day(1), "won") for n in range(len(ids))])
    else:
        scoring.feed(tick(day(10)))
    assert {row["lead_id"]: row["event_id"] for row in scoring.labels()} == {
        lead(n): name for n, name in enumerate(ids)
    }
    assert not sum(len(t) for n, t in scoring.state.tables.items() if n.startswith("pending"))


def test_rows_are_kept_after_so_many_events_of_a_lead_that_is_still_open() -> None:
    scoring = ledger(90.0, first_score=False, after_events=(2, 4))
    scoring.feed(*[event(f"a{n}", 1, day(n)) for n in range(5)], *[event("b", 2), event("c", 2)])
    scoring.feed(event("end2", 2, day(1), "lost"), *[event(f"d{n}", 2, day(2)) for n in range(3)])
    scoring.feed(event("end1", 1, day(9), "won"))
    assert [row[:3] for row in told(scoring)] == [
        ("c", "lost", False),
        ("a1", "won", True),
        ("a3", "won", True),
    ]
    counts = scoring.processor._workspaces["acme"].config.catalogue.column_names
    at = counts.index("event_count")
    assert [label["features"][at] for label in scoring.labels()] == [2, 2, 4]


def test_a_lead_decided_before_its_nth_event_gives_no_row() -> None:
    scoring = ledger(90.0, first_score=False, after_events=(3,))
    scoring.feed(
        event("a", 1), event("end", 1, day(1), "won"), event("b", 1, day(2)), tick(day(99))
    )
    assert told(scoring) == []


def test_a_late_event_does_not_date_back_the_row_after_so_many_events() -> None:
    scoring = ledger(first_score=False, after_events=(3,))
    scoring.feed(event("a", 1), event("b", 1, day(5)), event("late", 1, day(2)))
    scoring.feed(event("end", 1, day(3), "won"))
    assert told(scoring) == []
