"""An event id passes once within the window, and its window is counted in ids, not in batches."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_support import contents, event, processor, run, workspace

from streams.engine.hashing import hash128
from streams.engine.state import State
from streams.identity import dedup


def reference(ids: list[str], window: int) -> list[bool]:
    """The last `window` accepted ids in a queue."""
    seen: deque[str] = deque(maxlen=window)
    new = []
    for one in ids:
        new.append(one not in seen)
        if new[-1]:
            seen.append(one)
    return new


@settings(max_examples=60, deadline=None)
@given(
    ids=st.lists(st.sampled_from([f"e{i}" for i in range(25)]), min_size=1, max_size=120),
    window=st.sampled_from([0, 1, 2, 7, 16, 40]),
    cuts=st.sets(st.integers(1, 119), max_size=8),
)
def test_it_remembers_the_last_ids_as_a_queue_would(
    ids: list[str], window: int, cuts: set[int]
) -> None:
    state = State([dedup.new_table("shop")])
    new: list[bool] = []
    bounds = sorted({0, len(ids), *(c for c in cuts if c < len(ids))})
    for start, stop in pairwise(bounds):
        hashes = hash128(pa.array(ids[start:stop]))
        new += dedup.first_seen(state, "shop", hashes, window).tolist()
        kept = len(state.table("dedup/shop"))
        assert kept <= window + max(1, window // 16)
    assert new == reference(ids, window)


def test_a_repeat_is_dropped_within_a_batch_and_in_a_later_one() -> None:
    identity = processor()
    events = [event("a"), event("b"), event("a"), event("c"), event("b")]
    reading = run(identity, events, (3,))
    assert [row["source_offset"] for row in reading.timeline()] == [0, 1, 3]
    assert reading.rejected == {}


def test_workspaces_have_ids_of_their_own() -> None:
    identity = processor(workspace("bank"), workspace("shop"))
    reading = run(identity, [event("a", workspace="bank"), event("a")])
    assert len(reading.timeline()) == 2


def test_a_refused_event_may_come_again_mended() -> None:
    reading = run(processor(), [event("a", kind=""), event("a")])
    assert reading.classes() == {0: "MissingKind"}
    assert [row["source_offset"] for row in reading.timeline()] == [1]


def test_a_repeat_does_not_move_the_watermark() -> None:
    identity = processor()
    once, twice = identity.new_state(), identity.new_state()
    run(identity, [event("a")], state=once)
    run(identity, [event("a"), event("a", 10**9 + event("a")["occurred_at"])], state=twice)
    assert contents(once) == contents(twice)


def test_ids_that_left_the_window_are_deleted_from_the_table() -> None:
    state = State([dedup.new_table("shop")])
    ids = hash128(pa.array([f"e{i}" for i in range(500)]))
    assert dedup.first_seen(state, "shop", ids, 32).all()
    changes = state.table("dedup/shop").take_changes()
    assert len(changes.keys) <= 34
    assert len(changes.deleted) == 500 - len(changes.keys)
    assert np.array_equal(changes.deleted, ids[: len(changes.deleted)])
