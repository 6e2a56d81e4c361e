"""Event time: what moves the watermark, what is late, and where the ticks stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from identity_support import (
    CONTEXT,
    HOUR,
    MINUTE,
    PARTITIONS,
    START,
    Reading,
    batch,
    event,
    processor,
    run,
    workspace,
)

from streams.engine.columns import Outputs
from streams.engine.state import State
from streams.identity.observation import Observation
from streams.identity.processor import IdentityProcessor

LATENESS = 10 * MINUTE
DAY = 24 * HOUR


def ticks(reading: Reading, partition: int = 0) -> list[int]:
    return [r["epoch"] for r in reading.partitions[partition] if r["record_kind"] == "tick"]


def test_the_watermark_is_the_largest_time_less_the_lateness_allowed() -> None:
    times = [START, START + 30 * MINUTE, START + 5 * MINUTE, START + 40 * MINUTE]
    rows = run(processor(), [event(str(i), at) for i, at in enumerate(times)]).timeline()
    assert [r["watermark"] + LATENESS - START for r in rows] == [
        0,
        30 * MINUTE,
        30 * MINUTE,
        40 * MINUTE,
    ]
    assert [r["late"] for r in rows] == [False, False, True, False]
    assert [r["epoch"] for r in rows] == [r["watermark"] // HOUR for r in rows]


def test_late_means_before_the_watermark_that_held_before_the_event() -> None:
    at = [START, START - LATENESS, START - LATENESS - 1]
    rows = run(processor(), [event(str(i), t) for i, t in enumerate(at)]).timeline()
    assert [r["late"] for r in rows] == [False, False, True]
    assert [r["occurred_at"] for r in rows] == at  # in the order of arrival


def test_an_event_dated_ahead_moves_the_watermark_five_minutes_beyond_its_receipt() -> None:
    ahead = event("1", START + 23 * HOUR, received_at=START)
    (row,) = run(processor(), [ahead]).timeline()
    assert row["watermark"] == START + 5 * MINUTE - LATENESS
    assert row["occurred_at"] == START + 23 * HOUR


def test_an_event_dated_2099_is_refused_and_moves_nothing() -> None:
    in_2099 = 4_070_908_800_000_000
    events = [event("1"), event("2", in_2099, received_at=START + 1), event("3", START + MINUTE)]
    reading = run(processor(), events)
    assert reading.classes() == {1: "OccurredInFuture"}
    assert [r["watermark"] - START + LATENESS for r in reading.timeline()] == [0, MINUTE]


def test_a_tick_stands_before_the_first_event_of_each_epoch_on_every_partition() -> None:
    people = [{"user_id": str(i)} for i in range(40)]
    events = [
        event(str(i), START + i * 25 * MINUTE, identifiers=who) for i, who in enumerate(people)
    ]
    reading = run(processor(), events, (7, 20))
    assert len(reading.partitions) == PARTITIONS
    first, last = (START - LATENESS) // HOUR - 1, (events[-1]["occurred_at"] - LATENESS) // HOUR - 1
    for rows in reading.partitions.values():
        closed = -1
        for row in rows:
            if row["record_kind"] == "tick":
                assert row["epoch"] > closed
                closed = row["epoch"]
            else:
                assert row["epoch"] == closed + 1
        assert [r["epoch"] for r in rows if r["record_kind"] == "tick"] == [*range(first, last + 1)]


def test_a_tick_says_which_epoch_ended_when_and_what_caused_it() -> None:
    reading = run(processor(), [event("a"), event("b", START + HOUR)])
    second = [r for r in reading.partitions[1] if r["record_kind"] == "tick"][1]
    assert second["epoch"] == START // HOUR - 1
    assert second["watermark"] == second["occurred_at"] == START
    assert second["received_at"] == START + HOUR
    assert (second["workspace"], second["lead_id"], second["key"]) == ("shop", "", "shop/")
    assert second["event_id"] == f"tick/{START // HOUR - 1}"
    assert (second["source_topic"], second["source_partition"], second["source_offset"]) == (
        "web.events",
        2,
        1,
    )


def test_epochs_without_events_are_skipped() -> None:
    reading = run(processor(), [event("a"), event("b", START + 10 * HOUR)])
    assert ticks(reading) == [START // HOUR - 2, START // HOUR + 8]


def test_hundreds_of_epochs_in_one_batch_stay_one_set_of_columns_a_partition() -> None:
    events = [event(str(i), START + i * HOUR) for i in range(500)]
    identity = processor(workspace("shop", dedup_window=1000))
    reading = run(identity, events)
    assert ticks(reading) == ticks(reading, 2) == [START // HOUR - 2 + i for i in range(500)]
    state = identity.new_state()
    assert len(identity.process(batch(events), state, CONTEXT).records) == PARTITIONS


def test_each_workspace_has_its_own_clock() -> None:
    identity = processor(workspace("bank", epoch="1d"), workspace("shop"))
    events = [
        event("1", workspace="bank"),
        event("2"),
        event("3", START + 2 * HOUR),
        event("4", START + HOUR, workspace="bank"),
        event("5", START + HOUR),
    ]
    reading = run(identity, events)
    late = {r["event_id"]: r["late"] for r in reading.timeline()}
    assert late == {"1": False, "2": False, "3": False, "4": False, "5": True}
    closed = [(r["workspace"], r["epoch"]) for r in reading.timeline("tick")][::PARTITIONS]
    assert closed == [
        ("bank", (START - LATENESS) // DAY - 1),
        ("shop", START // HOUR - 2),
        ("shop", START // HOUR + 0),
    ]


def test_a_heartbeat_moves_the_watermark_and_is_no_event() -> None:
    beat = event("beat", START + 5 * HOUR, kind="$heartbeat", identifiers={})
    reading = run(processor(), [event("1"), beat, event("2", START + HOUR)], (2,))
    assert [(r["event_id"], r["late"]) for r in reading.timeline()] == [("1", False), ("2", True)]
    assert ticks(reading) == [START // HOUR - 2, START // HOUR + 3]
    assert reading.rejected == {}


def test_a_heartbeat_alone_gives_ticks_alone() -> None:
    beat = event("beat", kind="$heartbeat", identifiers={})
    reading = run(processor(), [beat])
    assert [len(reading.partitions[p]) for p in range(PARTITIONS)] == [1, 1, 1]


def test_an_idle_workspace_can_be_ticked_to_a_time() -> None:
    identity = processor(workspace("shop"))
    state = identity.new_state()
    reading = run(identity, [event("1")], state=state)
    outputs = identity.tick_until("shop", START + 3 * HOUR, state, CONTEXT)
    assert [out.partition for out in outputs.records] == [*range(PARTITIONS)]
    reading.add_records(outputs)
    assert ticks(reading) == [START // HOUR - 2, START // HOUR + 2]
    again = identity.tick_until("shop", START + 3 * HOUR + MINUTE, state, CONTEXT)
    assert again.records == []
    run(identity, [event("2", START + HOUR)], (), state, reading)
    assert reading.timeline()[-1]["late"]


def by_the_clock(
    identity: IdentityProcessor, state: State, reading: Reading, minutes: list[int]
) -> list[int]:
    """Epochs that were closed when the wall clock had gone on by so many minutes."""
    before = len(ticks(reading))
    for minute in minutes:
        now = replace(CONTEXT, now_us=9 * DAY + minute * MINUTE)
        reading.add_records(identity.punctuate(state, now) or Outputs())
    return [epoch - START // HOUR for epoch in ticks(reading)[before:]]


def test_event_time_of_an_idle_workspace_runs_on_with_the_clock() -> None:
    identity = processor(workspace("shop"))
    state = identity.new_state()
    reading = run(identity, [event("1", START + LATENESS + 50 * MINUTE)], state=state)
    assert by_the_clock(identity, state, reading, [0, 1, 9, 10, 11, 69, 70, 200]) == [0, 1, 3]
    run(identity, [event("2", START + 4 * HOUR)], (), state, reading)
    assert not reading.timeline()[-1]["late"]


def test_an_event_sets_the_clock_of_an_idle_workspace_anew() -> None:
    identity = processor(workspace("shop"))
    state = identity.new_state()
    reading = run(identity, [event("1", START + LATENESS + 50 * MINUTE)], state=state)
    assert by_the_clock(identity, state, reading, [0, 9]) == []
    run(identity, [event("2", START + LATENESS + 55 * MINUTE)], (), state, reading)
    assert by_the_clock(identity, state, reading, [10, 12]) == []
    assert by_the_clock(identity, state, reading, [15]) == [0]


def test_a_short_epoch_waits_until_its_workspace_has_been_silent_for_a_minute() -> None:
    identity = processor(workspace("shop", epoch="10s"))
    state = identity.new_state()
    run(identity, [event("1")], state=state)
    assert [
        identity.punctuate(state, replace(CONTEXT, now_us=s * 1_000_000)) is not None
        for s in (0, 20, 59, 60, 61, 70)
    ] == [False, False, False, True, False, True]


def test_a_workspace_without_events_has_no_clock() -> None:
    identity = processor(workspace("shop"))
    assert by_the_clock(identity, identity.new_state(), Reading(), [0, 600]) == []


def test_lateness_is_told_to_whom_it_concerns() -> None:
    seen: list[Observation] = []
    events = [
        event("1"),
        event("2", START - LATENESS - 2_000_000),
        event("2"),
        event("3", START, time_zone="Mars/Base"),
        event("4", START + HOUR, kind="$heartbeat", identifiers={}, time_zone="Europe/Berlin"),
        event("5", kind=""),
    ]
    run(processor(observe=seen.append), events)
    (one,) = seen
    assert one.late_s.tolist() == [2.0]
    assert (one.workspace, one.events, one.duplicates, one.heartbeats) == ("shop", 5, 1, 1)
    assert (one.ticks, one.leads, one.links, one.unknown_time_zones) == (2, 1, 0, 1)


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(-3 * HOUR, 3 * HOUR), st.integers(-HOUR, HOUR)),
        min_size=1,
        max_size=30,
    ),
    cuts=st.sets(st.integers(1, 29), max_size=4),
)
def test_watermarks_follow_the_rule(steps: list[tuple[int, int]], cuts: set[int]) -> None:
    events: list[dict[str, Any]] = []
    for number, (step, delay) in enumerate(steps):
        at = START + number * HOUR + step
        events.append(event(str(number), at, received_at=at + delay))
    newest, before, expected = None, None, []
    for one in events:
        bound = min(one["occurred_at"], one["received_at"] + 5 * MINUTE)
        newest = bound if newest is None else max(newest, bound)
        watermark = newest - LATENESS
        late = before is not None and one["occurred_at"] < before
        expected.append((watermark, watermark // HOUR, late))
        before = watermark
    rows = run(processor(), events, cuts).timeline()
    assert [(r["watermark"], r["epoch"], r["late"]) for r in rows] == expected
