"""Events about a deal give its newest state; and what is written can be encoded and read back."""

from __future__ import annotations

import numpy as np
from identity_support import (
    CONTEXT,
    HOUR,
    START,
    batch,
    event,
    processor,
    record_slice,
    run,
    workspace,
)

from schemas.registry import schema_id, schema_json
from streams.engine.changelog import ChangeRecords
from streams.engine.codec import Codec


def test_kinds_of_the_targets_win_and_lose_a_deal() -> None:
    deal = {"opportunity_id": "d/1", "amount_minor": 125_000, "currency": "eur", "stage": "offer"}
    events = [
        event("1", kind="stage_changed", **deal),
        event("2", kind="page_view"),
        event("3", kind="won", **deal),
        event("4", kind="lost", opportunity_id="d2"),
        event("5", kind="won", opportunity_id=""),
    ]
    reading = run(processor(), events, (2,))
    found = reading.opportunities
    assert [(o["opportunity_id"], o["status"]) for o in found] == [
        ("d/1", "open"),
        ("d/1", "won"),
        ("d2", "lost"),
    ]
    first = found[0]
    assert (first["amount_minor"], first["currency"], first["stage"]) == (125_000, "EUR", "offer")
    assert first["key"] == "shop/d/1"
    assert (first["lead_id"], first["event_id"]) == (reading.lead("1"), "1")
    assert first["watermark"] == reading.timeline()[0]["watermark"]
    assert (first["source_topic"], first["source_partition"], first["source_offset"]) == (
        "web.events",
        2,
        0,
    )


def test_kinds_are_those_of_the_events_own_workspace() -> None:
    identity = processor(workspace("bank"), workspace("shop"))
    events = [
        event("1", kind="won", opportunity_id="d", workspace="bank"),
        event("2", kind="page_view", opportunity_id="d"),
    ]
    reading = run(identity, events)
    assert [(o["key"], o["status"]) for o in reading.opportunities] == [
        ("bank/d", "won"),
        ("shop/d", "open"),
    ]


def test_all_outputs_can_be_encoded_and_say_the_same_when_read_back() -> None:
    identity = processor()
    shared = {"user_id": "1", "email": "ada@acme.example"}
    events = [
        event("1", identifiers={"user_id": "1"}),
        event("2", identifiers={"email": "ada@acme.example"}, opportunity_id="d"),
        event("3", START + 2 * HOUR, identifiers=shared, url="https://a.example/"),
    ]
    outputs = identity.process(batch(events), identity.new_state(), CONTEXT)
    names = {"lead.timeline": "timeline_event", "opportunities": "opportunity"}
    assert {out.topic for out in outputs.records} == set(names)
    for out in outputs.records:
        codec = Codec(schema_json(names[out.topic]), schema_id(names[out.topic]))
        encoded = codec.encode(out.values)
        values: list[bytes | None] = [*encoded]
        back = codec.decode(record_slice(ChangeRecords([b""] * len(values), values)))
        assert back.bad == []
        assert np.array_equal(back.rows, np.arange(len(values)))
        assert back.values.to_pylist() == out.values.to_pylist()
