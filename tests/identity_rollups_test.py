"""Account roll-ups: what an account did before each event, as numbers of the event."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_support import HOUR, START, Reading, contents, event, processor, restored, run
from identity_support import workspace as plain
from msgspec import structs

from models.features.declared import Attribute, Transform
from models.features.rollups import ROLLUPS
from models.workspaces import WorkspaceConfig
from streams.engine.changelog import ChangeRecords
from streams.identity.processor import IdentityProcessor

DAY = 24 * HOUR


def asking(*names: str, name: str = "shop", **settings: Any) -> WorkspaceConfig:
    """A workspace whose attributes ask for these roll-ups."""
    config = plain(name, **{"allowed_lateness": "0s", **settings})
    attributes = tuple(
        Attribute(n.replace(".", "_"), "numeric", f"numbers.{n}", transform=Transform())
        for n in names
    )
    return replace(config, catalogue=structs.replace(config.catalogue, attributes=attributes))


ALL = processor(asking(*ROLLUPS, state_ttl="5d"))


def did(name: str, who: str, days: float, kind: str = "visit", **fields: Any) -> dict[str, Any]:
    given = {"account": "Acme", "identifiers": {"user_id": who}, "numbers": {}, **fields}
    return event(name, START + round(days * DAY), kind=kind, **given)


def told(reading: Reading) -> dict[str, dict[str, float]]:
    """Numbers of each event."""
    return {row["event_id"]: dict(row["numbers"]) for row in reading.timeline()}


def says(
    events: float, leads: float, since: float | None, recent: float, outcomes: float = 0
) -> dict[str, Any]:
    values = dict(zip(ROLLUPS, (events, leads, since, recent, outcomes), strict=True))
    return {n: pytest.approx(v, abs=1e-12) for n, v in values.items() if v is not None}


def test_an_event_is_told_what_its_account_did_before_it() -> None:
    events = [
        did("first", "ann", 0),
        did("again", "ann", 1, "won"),
        did("bob", "bob", 3, account=" ACME "),
        did("other", "zoe", 4, account="Globex"),
        did("last", "bob", 4, numbers={"price": 2.5}),
    ]
    found = told(run(ALL, events))
    assert found["first"] == says(0, 0, None, 0)
    assert found["again"] == says(1, 1, 1, 2 ** (-1 / 30))
    assert found["bob"] == says(2, 1, 2, 2 ** (-3 / 30) + 2 ** (-2 / 30), 1)
    assert found["other"] == says(0, 0, None, 0)
    recent = 2 ** (-4 / 30) + 2 ** (-3 / 30) + 2 ** (-1 / 30)
    assert found["last"] == {"price": 2.5, **says(3, 2, 1, recent, 1)}


def test_an_account_is_told_of_a_lead_from_the_event_on_that_names_it() -> None:
    events = [
        did("colleague", "bob", 0),
        did("anonymous", "ann", 1, account=None),
        did("named", "ann", 2),
        did("silent", "ann", 3, account=None),
        did("after", "bob", 4, identifiers={"user_id": "bob", "email": "b@acme.example"}),
    ]
    found = told(run(ALL, events))
    assert (found["anonymous"], found["silent"]) == ({}, {})
    assert found["named"] == says(1, 1, 2, 2 ** (-2 / 30))
    assert found["after"] == says(2, 2, 2, 2 ** (-4 / 30) + 2 ** (-2 / 30))


def test_a_late_event_is_counted_with_its_age_and_told_nothing() -> None:
    events = [did("a", "ann", 2), did("late", "bob", 1, "won"), did("b", "ann", 3)]
    found = told(run(ALL, events))
    assert found["late"] == {}
    assert found["b"] == says(2, 2, 1, 2 ** (-1 / 30) + 2 ** (-2 / 30), 1)


def test_an_event_within_the_allowed_lateness_is_told_what_was_known_when_it_came() -> None:
    patient = processor(asking(*ROLLUPS, allowed_lateness="1d"))
    found = told(run(patient, [did("a", "ann", 2), did("b", "bob", 1.5)]))
    assert found["b"] == says(1, 1, 0, 1)


def test_a_source_cannot_forge_what_identity_counts() -> None:
    forged = {"price": 1.0, "account.outcomes": 99.0, "account.size": 7.0, "account.leads": 5.0}
    identity = processor(asking("account.outcomes", "account.events"))
    events = [did("a", "ann", 0, numbers=forged), did("b", "ann", 1, account=None, numbers=forged)]
    events.append(did("late", "ann", 0.5, numbers=forged))
    found = told(run(identity, events))
    own = {"price": 1.0, "account.size": 7.0, "account.leads": 5.0}
    assert found["a"] == {**own, "account.events": 0.0, "account.outcomes": 0.0}
    assert found["b"] == found["late"] == own


def test_nothing_is_kept_or_told_where_no_attribute_asks() -> None:
    identity = processor(plain("bank"), asking("account.events"))
    state = identity.new_state()
    forged = {"account.events": 9.0}
    events = [did("a", "ann", 0, workspace="bank", numbers=forged), did("b", "ann", 0)]
    found = told(run(identity, events, state=state))
    assert found == {"a": forged, "b": {"account.events": 0.0}}
    assert {n for n in state.tables if "account" in n} == {"accounts/shop"}
    assert not {n for n in processor(plain("bank")).new_state().tables if "account" in n}


def test_an_account_idle_for_state_ttl_is_forgotten_with_its_leads() -> None:
    state = ALL.new_state()
    run(ALL, [did("a", "ann", 0, "won"), did("b", "bob", 1)], state=state)
    assert len(state.table("account_leads/shop")) == 2
    reading = run(ALL, [did("c", "zoe", 20, account="Globex")], state=state, first_offset=2)
    assert (len(state.table("accounts/shop")), len(state.table("account_leads/shop"))) == (1, 1)
    events = [did("d", "ann", 20.1), did("e", "bob", 20.2)]
    found = told(run(ALL, events, state=state, reading=reading, first_offset=3))
    assert found["d"] == says(0, 0, None, 0)
    assert found["e"]["account.leads"] == 1.0


# -- against a plain reference, over random histories


def history(seed: int, n: int) -> list[dict[str, Any]]:
    rng, day, events = random.Random(seed), 0.0, []
    for number in range(n):
        day += rng.choice([0, 0.01, 0.3, 0.3, 1, 2, 6])
        behind = rng.choice([0, 0, 0, 0.5, 9])
        account = rng.choice([None, "acme", "acme", "globex", "hooli"])
        numbers = {"x": number / 3, "account.leads": 50.0} if number % 3 == 0 else {}
        kind = rng.choice(["visit", "visit", "won", "lost"])
        events.append(
            did(
                f"e{number}",
                f"u{rng.randrange(5)}",
                day - behind,
                kind,
                account=account,
                numbers=numbers,
            )
        )
    return events


def reference(events: list[dict[str, Any]], ttl_days: int) -> dict[str, dict[str, Any]]:
    """From all events of the account that came before and are remembered, anew for each."""
    out, clock, came = {}, None, dict[str, list[tuple[int, int, str, bool]]]()
    for e in events:
        at, who = e["occurred_at"], e["identifiers"]["user_id"]
        late = clock is not None and at < clock
        clock = at if clock is None else max(clock, at)
        own = {k: v for k, v in e["numbers"].items() if k not in ROLLUPS}
        if e["account"] is None:
            out[e["event_id"]] = own
            continue
        mine = came.setdefault(e["account"], [])
        if mine and mine[-1][0] < clock // DAY * DAY - ttl_days * DAY:
            mine.clear()
        if not late:
            newest = max((m[1] for m in mine), default=None)
            since = None if newest is None else max(at - newest, 0) / DAY
            now = max(at, newest or at)
            recent = sum(2 ** (-(now - m[1]) / DAY / 30) for m in mine)
            wins = sum(m[3] for m in mine)
            own |= says(len(mine), len({m[2] for m in mine}), since, recent, wins)
        out[e["event_id"]] = own
        mine.append((clock, at, who, e["kind"] == "won"))
    return out


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 60),
    cuts=st.sets(st.integers(1, 59), max_size=10),
)
def test_numbers_are_those_of_the_reference_and_cuts_change_nothing(
    seed: int, n: int, cuts: set[int]
) -> None:
    events = history(seed, n)
    whole_state, cut_state = ALL.new_state(), ALL.new_state()
    whole, cut = run(ALL, events, state=whole_state), run(ALL, events, cuts, cut_state)
    assert told(whole) == reference(events, 5)
    assert cut.partitions == whole.partitions
    assert contents(cut_state) == contents(whole_state)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), restarts=st.sets(st.integers(1, 49), min_size=1, max_size=4))
def test_a_restart_goes_on_as_if_nothing_had_happened(seed: int, restarts: set[int]) -> None:
    events = history(seed, 50)
    steady_state = ALL.new_state()
    steady = run(ALL, events, state=steady_state)
    state, log, reading, start = ALL.new_state(), ChangeRecords(), Reading(), 0
    for stop in [*sorted(restarts), 50]:
        run(ALL, events[start:stop], (), state, reading, start)
        state, start = restored(ALL, state, log), stop
    assert reading.partitions == steady.partitions
    assert contents(state) == contents(steady_state)


def test_events_of_several_workspaces_in_one_batch_are_counted_apart() -> None:
    names = ("account.events", "account.leads")
    identity: IdentityProcessor = processor(
        asking(*names, name="bank"), plain("crm"), asking("account.events")
    )
    events = [
        did(f"{w}{n}", f"u{n}", n, workspace=w) for n in range(3) for w in ("bank", "crm", "shop")
    ]
    found = told(run(identity, events))
    for n in range(3):
        assert found[f"bank{n}"] == {"account.events": n, "account.leads": n}
        assert (found[f"crm{n}"], found[f"shop{n}"]) == ({}, {"account.events": n})
