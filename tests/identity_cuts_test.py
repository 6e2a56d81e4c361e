"""Neither where a batch is cut nor a restart changes what identity says."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from identity_support import (
    HOUR,
    MINUTE,
    START,
    batch,
    contents,
    event,
    processor,
    restored,
    run,
    workspace,
)

from streams.engine.changelog import ChangeRecords

IDENTITY = processor(
    workspace("bank", dedup_window=3, epoch="1d"),
    workspace("shop", dedup_window=20, allowed_lateness="30m"),
)


def some_events(seed: int, n: int) -> list[dict[str, Any]]:
    """Repeats, late and bad events, links, heartbeats and deals of two workspaces, at random."""
    rng = random.Random(seed)
    events = []
    for number in range(n):
        at = START + number * 20 * MINUTE - rng.choice([0, 0, 0, 2 * HOUR])
        types = rng.sample(
            ["user_id", "crm_id", "email", "anonymous_id", "phone"], rng.randint(1, 3)
        )
        given = event(
            f"e{rng.randrange(n)}",
            at,
            workspace=rng.choice(
                ["bank", "shop", "shop", "nowhere" if number % 9 == 0 else "shop"]
            ),
            kind=rng.choice(["page_view", "won", "lost", "$heartbeat"]),
            identifiers={t: f" {t}{rng.randrange(4)}@Acme.example " for t in types},
            numbers={"price": float("nan") if rng.random() < 0.05 else number / 3},
            opportunity_id=rng.choice([None, f"deal{rng.randrange(3)}"]),
            amount_minor=rng.choice([None, number]),
            currency="eur",
            url=rng.choice([None, "HTTP://Shop.example:80/a?utm_source=x&b=1"]),
            time_zone=rng.choice([None, "Europe/Berlin", "Mars/Base"]),
        )
        given["received_at"] = at + rng.choice([0, HOUR])
        events.append(given)
    return events


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 80),
    cuts=st.sets(st.integers(1, 79), max_size=12),
)
def test_any_cut_gives_the_same_records_and_the_same_state(
    seed: int, n: int, cuts: set[int]
) -> None:
    events = some_events(seed, n)
    whole_state, cut_state = IDENTITY.new_state(), IDENTITY.new_state()
    whole = run(IDENTITY, events, state=whole_state)
    cut = run(IDENTITY, events, cuts, state=cut_state)
    assert cut.partitions == whole.partitions
    assert cut.opportunities == whole.opportunities
    assert cut.rejected == whole.rejected
    assert contents(cut_state) == contents(whole_state)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), restarts=st.sets(st.integers(1, 59), min_size=1, max_size=4))
def test_a_restart_goes_on_as_if_nothing_had_happened(seed: int, restarts: set[int]) -> None:
    events = some_events(seed, 60)
    steady_state = IDENTITY.new_state()
    steady = run(IDENTITY, events, state=steady_state)
    state, log, reading, start = IDENTITY.new_state(), ChangeRecords(), None, 0
    for stop in [*sorted(restarts), 60]:
        reading = run(IDENTITY, events[start:stop], (), state, reading, start)
        state, start = restored(IDENTITY, state, log), stop
    assert reading is not None
    assert reading.partitions == steady.partitions
    assert reading.opportunities == steady.opportunities
    assert contents(state) == contents(steady_state)


def test_ids_and_identifiers_are_written_to_the_changelog_once() -> None:
    identity = processor(workspace("shop", dedup_window=1000))
    state, log = identity.new_state(), ChangeRecords()
    for start in range(0, 40, 10):
        events = [
            event(f"e{i}", identifiers={"email": "ada@acme.example"})
            for i in range(start, start + 10)
        ]
        run(identity, events, (5,), state)
        restored(identity, state, log)
    rows = [key for key in log.keys if len(key) == 24 and not key.startswith(b"layout")]
    assert len(rows) == len(set(rows)) == 40 + 1


def test_an_empty_batch_gives_nothing() -> None:
    outputs = IDENTITY.process(batch([]), IDENTITY.new_state(), None)  # type: ignore[arg-type]
    assert outputs.records == []
    assert outputs.rejections == []
