"""Each kind of bad event is refused with a reason to act on; the others are not affected."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from identity_support import (
    CONTEXT,
    HOUR,
    START,
    Reading,
    batch,
    contents,
    event,
    processor,
    run,
    workspace,
)

from streams.identity import limits
from streams.identity.observation import Observation

MB = 1 << 20
DAY = 24 * HOUR

BAD = {
    "no event id": ({"event_id": ""}, "MissingEventId", "give each event an id"),
    "no kind": ({"kind": ""}, "MissingKind", "contact or page_view"),
    "no workspace": ({"workspace": ""}, "MissingWorkspace", "name the workspace"),
    "other workspace": ({"workspace": "shpo"}, "UnknownWorkspace", "'shpo'; the known ones are"),
    "long id": ({"event_id": "x" * 257}, "TooLong", "event_id has 257 bytes, at most 256"),
    "long kind": ({"kind": "k" * 200}, "TooLong", "kind has 200 bytes"),
    "long source": ({"source": "s" * 300}, "TooLong", "source"),
    "long deal": ({"opportunity_id": "o" * 300}, "TooLong", "opportunity_id"),
    "1 MB account": ({"account": "a" * MB}, "TooLong", "account has 1,048,576 bytes"),
    "1 MB url": ({"url": "http://a.example/" + "a" * MB}, "TooLong", "url"),
    "1 MB stage": ({"stage": "a" * MB}, "TooLong", "stage"),
    "1 MB text": (
        {"texts": {"a": "b", "note": "ü" * (MB // 2)}},
        "TooLong",
        "texts['note'] has 1,048,576",
    ),
    "1 MB identifier": ({"identifiers": {"user_id": "x" * MB}}, "TooLong", "'user_id'"),
    "1 MB name": ({"numbers": {"x" * MB: 1.0}}, "BadName", "numbers"),
    "no name": ({"texts": {"": "x"}}, "BadName", "texts"),
    "no identifiers": ({"identifiers": {}}, "NoIdentifiers", "at least one of anonymous_id"),
    "empty identifier": ({"identifiers": {"email": ""}}, "EmptyIdentifier", "'email'"),
    "blank identifier": ({"identifiers": {"id": "1", "email": " "}}, "EmptyIdentifier", "email"),
    "10,000 identifiers": (
        {"identifiers": {f"id{i}": str(i) for i in range(10_000)}},
        "TooManyIdentifiers",
        "10,000 identifiers, at most 32",
    ),
    "300 attributes": (
        {
            "texts": {f"t{i}": "x" for i in range(150)},
            "numbers": {f"n{i}": 1.0 for i in range(150)},
        },
        "TooManyAttributes",
        "300 attributes, at most 256",
    ),
    "NaN": ({"numbers": {"a": 1.0, "price": math.nan}}, "NotFinite", "numbers['price'] is nan"),
    "infinite": ({"numbers": {"price": -math.inf}}, "NotFinite", "numbers['price'] is -inf"),
    "before 1990": ({"occurred_at": 0}, "OccurredTooEarly", "1970-01-01T00:00:00Z"),
    "in seconds": ({"occurred_at": 1_700_000_000}, "OccurredTooEarly", "microseconds"),
    "far future": ({"occurred_at": START + DAY + 1}, "OccurredInFuture", "more than a day after"),
    "end of time": ({"occurred_at": 2**63 - 1}, "OccurredInFuture", "µs"),
    "received never": ({"received_at": 0}, "BadReceivedAt", "1970"),
    "received in 2500": ({"received_at": 16_725_225_600_000_000}, "BadReceivedAt", "2500-01-01"),
    "received at -2^63": ({"received_at": -(2**63)}, "BadReceivedAt", "µs"),
    "no currency": ({"amount_minor": 5}, "BadCurrency", "currency is null"),
    "bad currency": ({"amount_minor": 5, "currency": "€"}, "BadCurrency", "ISO 4217"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_it_is_refused_and_the_others_pass(case: str) -> None:
    fields, error_class, words = BAD[case]
    identity = processor()
    with_it, without = identity.new_state(), identity.new_state()
    good = [event("a"), event("b", identifiers={"user_id": "2"}), event("c", START + HOUR)]
    bad = {**event("bad"), **fields}
    reading = run(identity, [*good[:2], bad, good[2]], state=with_it)
    clean = run(identity, good, state=without)
    assert reading.classes() == {2: error_class}
    message = reading.rejected[2][1]
    assert words in message
    assert len(message) < 400
    assert _without_offsets(reading) == _without_offsets(clean)
    assert contents(with_it) == contents(without)


def _without_offsets(reading: Reading) -> dict[int, list[dict[str, Any]]]:
    return {
        partition: [{**row, "source_offset": None} for row in rows]
        for partition, rows in reading.partitions.items()
    }


def test_what_is_just_within_the_limits_passes() -> None:
    fine = [
        event("x" * limits.MAX_EVENT_ID_BYTES),
        event("1", kind="k" * limits.MAX_KIND_BYTES),
        event("2", texts={"note": "x" * limits.MAX_TEXT_BYTES}),
        event("3", identifiers={f"id{i}": str(i) for i in range(limits.MAX_IDENTIFIERS)}),
        event("4", texts={f"t{i}": "x" for i in range(limits.MAX_ATTRIBUTES)}, numbers={}),
        event("5", START + DAY, received_at=START),
        event("6", limits.EARLIEST_US),
        event("7", amount_minor=-5, currency=" eur "),
        event("8", numbers={}, texts={}),
    ]
    reading = run(processor(), fine)
    assert reading.rejected == {}
    assert len(reading.timeline()) == len(fine)


def test_a_batch_of_nothing_but_bad_events_gives_reasons_only() -> None:
    reading = run(processor(), [event("a", kind=""), event("", kind=""), event("b", workspace="x")])
    assert reading.classes() == {0: "MissingKind", 1: "MissingEventId", 2: "UnknownWorkspace"}
    assert not reading.partitions


def test_bad_attributes_are_found_in_the_middle_of_a_longer_batch() -> None:
    events = [event(str(i), numbers={"price": math.inf if i % 3 else 1.0}) for i in range(60)]
    reading = run(processor(), events, (17, 18, 40))
    assert reading.classes() == {i: "NotFinite" for i in range(60) if i % 3}


def test_received_after_the_log_time_is_refused() -> None:
    identity = processor()
    late = batch([event("a", START + 2 * DAY)], log_ms=START // 1000)
    outputs = identity.process(late, identity.new_state(), CONTEXT)
    assert [r.error_class for r in outputs.rejections] == ["ReceivedInFuture"]
    closing = event("b", START + 20 * DAY, kind="$heartbeat", identifiers={})
    beat = batch([closing], log_ms=START // 1000)
    assert identity.process(beat, identity.new_state(), CONTEXT).rejections == []
    old = batch([event("a", START - 900 * DAY)], log_ms=START // 1000)
    assert identity.process(old, identity.new_state(), CONTEXT).rejections == []


def test_a_message_key_that_is_not_the_workspace_is_tolerated_and_noted() -> None:
    seen: list[Observation] = []
    identity = processor(observe=seen.append)
    given = batch([event("a"), event("b"), event("c")], keys=[b"shop", b"else", None])
    outputs = identity.process(given, identity.new_state(), CONTEXT)
    assert outputs.rejections == []
    assert seen[0].foreign_keys == 2


def test_heartbeats_need_an_id_and_sane_times_but_nobody() -> None:
    beats = [
        event("a", kind="$heartbeat", identifiers={}),
        event("", kind="$heartbeat", identifiers={}),
        event("c", 0, kind="$heartbeat", identifiers={}),
    ]
    assert run(processor(), beats).classes() == {1: "MissingEventId", 2: "BadReceivedAt"}


def test_columns_with_nulls_where_values_are_due_are_refused() -> None:
    identity = processor(workspace("shop"))
    whole = batch([event("a"), event("b")])
    schema = pa.schema([field.with_nullable(True) for field in whole.values.schema])
    columns = whole.values.columns
    at = whole.values.schema.get_field_index("kind")
    columns[at] = pa.array([None, "page_view"])
    times = whole.values.schema.get_field_index("occurred_at")
    columns[times] = pa.array([START, None], pa.timestamp("us"))
    values = pa.RecordBatch.from_arrays(columns, schema=schema)
    given = type(whole)(
        whole.topic, whole.partition, whole.offsets, whole.timestamps, whole.keys, values
    )
    outputs = identity.process(given, identity.new_state(), CONTEXT)
    assert [r.error_class for r in outputs.rejections] == ["MissingKind", "OccurredTooEarly"]
