"""Identifiers find their lead: first seen wins, new ones join, and shared events link leads."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from identity_support import HOUR, PARTITIONS, START, Reading, event, processor, run, workspace

from streams.identity.identifiers import PRIORITY


def test_events_with_the_same_identifier_are_one_leads() -> None:
    events = [
        event("1", identifiers={"email": "Ada@Acme.example "}),
        event("2", identifiers={"email": "ada@acme.example"}),
        event("3", identifiers={"email": "bob@acme.example"}),
    ]
    reading = run(processor(), events)
    assert reading.lead("1") == reading.lead("2") != reading.lead("3")
    assert len(reading.lead("1")) == 32
    assert int(reading.lead("1"), 16) > 0
    assert reading.timeline()[0]["key"] == f"shop/{reading.lead('1')}"


def test_an_unknown_identifier_joins_the_lead_of_a_known_one() -> None:
    events = [
        event("1", identifiers={"anonymous_id": "a1"}),
        event("2", identifiers={"anonymous_id": "a1", "email": "ada@acme.example"}),
        event("3", identifiers={"email": "ada@acme.example"}),
    ]
    reading = run(processor(), events, (1, 2))
    assert reading.lead("1") == reading.lead("2") == reading.lead("3")
    assert reading.timeline("link") == []


def test_types_are_apart_and_workspaces_are_apart() -> None:
    identity = processor(workspace("bank"), workspace("shop"))
    events = [
        event("1", identifiers={"user_id": "7"}),
        event("2", identifiers={"crm_id": "7"}),
        event("3", identifiers={"user_id": "7"}, workspace="bank"),
    ]
    reading = run(identity, events)
    assert len({reading.lead("1"), reading.lead("2"), reading.lead("3")}) == 3


def test_the_strongest_identifier_wins_and_a_link_is_written_once_a_pair() -> None:
    both = {"anonymous_id": "a1", "email": "ada@acme.example", "user_id": "7"}
    events = [
        event("1", identifiers={"anonymous_id": "a1"}),
        event("2", identifiers={"user_id": "7"}),
        event("3", identifiers=both),
        event("4", identifiers=both),
        event("5", identifiers={"email": "ada@acme.example"}),
        event("6", identifiers={"anonymous_id": "a1"}),
    ]
    reading = run(processor(), events, (4,))
    visitor, user = reading.lead("1"), reading.lead("2")
    assert [reading.lead(e) for e in "3456"] == [user, user, user, visitor]
    (link,) = reading.timeline("link")
    assert (link["lead_id"], link["other_lead_id"], link["event_id"]) == (user, visitor, "3")
    assert link["key"] == f"shop/{user}"
    assert (link["numbers"], link["texts"], link["account"]) == ([], [], None)
    place = next(p for p in range(PARTITIONS) if link in reading.partitions[p])
    ids = [row["event_id"] for row in reading.partitions[place] if row["lead_id"] == user]
    kinds = [row["record_kind"] for row in reading.partitions[place] if row["lead_id"] == user]
    assert ids == ["2", "3", "3", "4", "5"]
    assert kinds == ["event", "event", "link", "event", "event"]


def test_new_lead_ids_depend_on_workspace_identifier_and_event_alone() -> None:
    def lead(**fields: Any) -> str:
        return run(processor(workspace("bank"), workspace("shop")), [event(**fields)]).lead(
            fields["event_id"]
        )

    base: dict[str, Any] = {"event_id": "1", "identifiers": {"user_id": "7"}}
    same = {**base, "at": START + HOUR, "kind": "other", "texts": {}}
    assert lead(**base) == lead(**same) == lead(**{**base, "identifiers": {"user_id": " 7"}})
    others = [
        lead(**{**base, "event_id": "2"}),
        lead(**{**base, "workspace": "bank"}),
        lead(**{**base, "identifiers": {"user_id": "8"}}),
        lead(**{**base, "identifiers": {"crm_id": "7"}}),
    ]
    assert len({lead(**base), *others}) == 5


def test_the_order_of_identifiers_in_an_event_does_not_matter() -> None:
    some = {"phone": "1", "email": "ada@acme.example", "crm_id": "7", "anonymous_id": "a"}
    one = run(processor(), [event("1", identifiers=some)])
    other = run(processor(), [event("1", identifiers=dict(reversed(some.items())))])
    assert one.lead("1") == other.lead("1")


def test_the_account_is_the_sources_or_the_mails_domain() -> None:
    def account(given: str | None, email: str | None) -> Any:
        identifiers = {"user_id": "7", **({} if email is None else {"email": email})}
        (row,) = run(processor(), [event("1", account=given, identifiers=identifiers)]).timeline()
        return row["account"]

    assert account(" ACME Corp ", "ada@other.example") == "acme corp"
    assert account(None, "ada@Other.example") == "other.example"
    assert account(" ", "ada@other.example") == "other.example"
    assert account(None, "ada@gmail.com") is None
    assert account(None, "ada@localhost") is None
    assert account(None, "no address") is None
    assert account(None, None) is None


class Reference:
    """The rules in plain Python: leads as numbers, by the first event that made them."""

    def __init__(self) -> None:
        self.lead: dict[tuple[str, str], int] = {}
        self.pairs: set[frozenset[int]] = set()
        self.links: list[tuple[int, int, int]] = []

    def add(self, number: int, identifiers: dict[str, str]) -> int:
        def strength(entry: tuple[str, str]) -> tuple[int, str]:
            known = entry[0] in PRIORITY
            return (PRIORITY.index(entry[0]) if known else len(PRIORITY), entry[0])

        entries = sorted(identifiers.items(), key=strength)
        winner = next((self.lead[entry] for entry in entries if entry in self.lead), number)
        for entry in entries:
            other = self.lead.setdefault(entry, winner)
            if other != winner and frozenset({winner, other}) not in self.pairs:
                self.pairs.add(frozenset({winner, other}))
                self.links.append((number, winner, other))
        return winner


@settings(max_examples=60, deadline=None)
@given(
    people=st.lists(
        st.dictionaries(
            st.sampled_from([*PRIORITY, "phone", "cookie"]),
            st.sampled_from("xyz"),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
        max_size=40,
    ),
    cuts=st.sets(st.integers(1, 39), max_size=5),
)
def test_leads_and_links_follow_the_rules(people: list[dict[str, str]], cuts: set[int]) -> None:
    reference, expected = Reference(), []
    for number, identifiers in enumerate(people):
        expected.append(reference.add(number, identifiers))
    events = [event(str(number), identifiers=ids) for number, ids in enumerate(people)]
    reading = run(processor(), events, cuts)
    rows = reading.timeline()
    assert [row["lead_id"] for row in rows] == [rows[number]["lead_id"] for number in expected]
    assert _links(reading, rows) == reference.links


def _links(reading: Reading, rows: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    made: dict[str, int] = {}
    for number, row in enumerate(rows):
        made.setdefault(row["lead_id"], number)
    return [
        (int(link["event_id"]), made[link["lead_id"]], made[link["other_lead_id"]])
        for link in reading.timeline("link")
    ]
