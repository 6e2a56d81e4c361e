"""A mapping is read as people mean it, and a wrong one says where and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.files.durations import parse_duration
from connectors.files.errors import MappingError
from connectors.files.mapping import (
    load_mapping,
    mapping_digest,
    parse_mapping,
    with_outcome_delay,
)
from connectors.files.shipped import shipped_excerpt, shipped_names

GOOD = """
workspace: acme
source: files/crm
time: {start: 2020-01-01, step: 1h}
identifiers: {email: Mail}
events:
  - kind: contact
outcome:
  column: y
  won: [yes]
  lost: [no]
  delay: 3 rows
"""


def test_words_of_yaml_stay_text() -> None:
    outcome = parse_mapping(GOOD).outcome
    assert outcome is not None
    assert (outcome.won, outcome.lost) == (("yes",), ("no",))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: contact", "knid: contact", "there is no key 'knid'; did you mean 'kind'"),
        ("kind: contact", "url: u", "events[0]: the key 'kind' is missing"),
        ("workspace: acme", "workspace: a/b", "workspace: use letters"),
        ("step: 1h", "step: one hour", "time.step: 'one hour' is not a duration"),
        ("start: 2020-01-01, step: 1h", "column: T, format: when", "time.format: 'when'"),
        ("start: 2020-01-01, step: 1h", "column: T, zone: Mars", "time.zone"),
        ("start: 2020-01-01, step: 1h", "column: T", "outcome.delay: a delay in rows needs"),
        ("start: 2020-01-01, step: 1h", "start: 2020-01-01", "time: give both start and step"),
        ("{email: Mail}", "{}", "events[0].identifiers: name at least one"),
        ("{email: Mail}", "{email: {column: A, constant: b}}", "identifiers.email: give one of"),
        ("{email: Mail}", "{email: {template: plain}}", "identifiers.email.template"),
        ("kind: contact", "kind: a\n    when: {column: C, matches: '('}", "events[0].when.matches"),
        ("kind: contact", "kind: a\n    when: {column: C, greater: x}", "events[0].when.greater"),
        ("source: files/crm", "source: a\nsource: b", "line 4: the key 'source' stands"),
        ("source: files/crm", "source: [", "not valid YAML"),
        ("source: files/crm", "source: a\norder: any", "order: is `file` with a time by rows"),
    ],
)  # fmt: skip
def test_complaint_names_the_place(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(MappingError) as caught:
        parse_mapping(GOOD.replace(old, new, 1))
    assert said in str(caught.value)


def test_digest_follows_what_is_said_not_how() -> None:
    digest = mapping_digest(parse_mapping(GOOD))
    said_otherwise = GOOD.replace("{email: Mail}", "\n  email: Mail   # who") + "\ndescription: x\n"
    assert mapping_digest(parse_mapping(said_otherwise)) == digest
    assert mapping_digest(parse_mapping(GOOD.replace("acme", "acme2"))) != digest


def test_outcome_delay_can_be_replaced() -> None:
    changed = with_outcome_delay(parse_mapping(GOOD), "2h").outcome
    assert changed is not None and changed.delay == "2h"
    with pytest.raises(MappingError, match=r"outcome\.delay"):
        with_outcome_delay(parse_mapping(GOOD), "soon")


def test_every_shipped_mapping_is_valid_and_those_of_free_data_have_an_excerpt() -> None:
    excerpts = ["bank_marketing", "online_retail", "online_shoppers"]
    others = ["bpic2012", "crm_sales_maven", "olist"]
    assert shipped_names() == sorted(excerpts + others)
    for name in shipped_names():
        assert load_mapping(name).source == f"files/{name}"
        assert (shipped_excerpt(name) is not None) == (name in excerpts)


def test_unknown_mapping_lists_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="bank_marketing"):
        load_mapping(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "micros"),
    [("250ms", 250_000), ("1h30m", 5_400_000_000), ("-2d", -172_800_000_000), ("0s", 0)],
)
def test_durations(text: str, micros: int) -> None:
    assert parse_duration(text) == micros


@pytest.mark.parametrize("text", ["", "-", "5", "m", "5 parsecs", "1h 2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
