"""The audit's single tests on arrays: chance accuses nobody, each sort of leak is told apart."""

from __future__ import annotations

import numpy as np
import pytest

from models.features.audit import Candidate, RowAudit
from models.features.catalogue import (
    Attribute,
    Behaviour,
    FeatureCatalogue,
    Indicator,
    Rate,
    Transform,
)
from models.features.collisions import collisions
from models.features.describe import describe
from models.features.extract import category
from models.features.time_travel import DAY_US, Field, Histories

ROWS = 3_000
DRAW = np.random.default_rng(11)
OUTCOME = DRAW.random(ROWS) < 0.1
LEAD = np.arange(ROWS)


def found_in(*columns: Candidate, lead: np.ndarray = LEAD) -> list[tuple[str, str, str]]:
    audit = RowAudit(OUTCOME, lead, len(columns))
    return [(f.column, f.severity, f.test) for f in audit.findings(columns, columns)]


def test_chance_accuses_none_of_two_hundred_columns() -> None:
    draw = np.random.default_rng(3)
    columns = []
    for n in range(200):
        values = draw.normal(size=ROWS)
        if n % 3 == 0:
            values = draw.integers(0, 40, ROWS).astype(float)
        values[draw.random(ROWS) < 0.3] = np.nan
        columns.append(Candidate(f"c{n}", values, categorical=n % 3 == 0))
    audit = RowAudit(OUTCOME, LEAD, len(columns))
    strengths = [audit.strength(column) for column in columns]
    assert all(s is not None and s.lower < 0.5 for s in strengths)
    assert audit.findings(columns, []) == []


def test_a_leak_is_found_in_either_direction_in_a_hump_and_in_being_known() -> None:
    noise = DRAW.normal(size=ROWS)
    columns = [
        Candidate("up", OUTCOME + 0.1 * noise),
        Candidate("down", -1.0 * OUTCOME + 0.1 * noise),
        Candidate("hump", np.where(OUTCOME, 0.1, np.sign(noise)) * (1 + abs(noise))),
        Candidate("known", np.where(OUTCOME, 1.0, np.nan)),
        Candidate("word", np.where(OUTCOME, DRAW.integers(0, 3, ROWS), 3.0), categorical=True),
        Candidate("honest", noise),
    ]
    found = found_in(*columns)
    assert {name for name, _, _ in found} == {"up", "down", "hump", "known", "word"}
    assert all(severity == "leak" for _, severity, _ in found)


def test_rows_of_few_leads_prove_nothing() -> None:
    column = Candidate("up", OUTCOME + 0.1 * DRAW.normal(size=ROWS))
    assert found_in(column, lead=np.arange(ROWS) % 20) == []


def test_a_value_after_which_all_ended_alike_is_pure_unless_it_was_counted() -> None:
    draw = np.random.default_rng(1)
    outcome = draw.random(ROWS) < 0.5
    reason = np.where(~outcome & (draw.random(ROWS) < 0.3), 0.0, np.nan)
    audit = RowAudit(outcome, LEAD, 2)
    told = Candidate("reason", reason, categorical=True, words=("price",))
    counted = Candidate("demo.recency_days", reason, told=False)
    found = audit.findings([told, counted], [])
    assert [(f.column, f.test) for f in found] == [("reason", "pure")]
    assert "is known ended negative" in found[0].says


def test_one_column_above_all_others_together_is_a_suspicion() -> None:
    draw = np.random.default_rng(2)
    best = Candidate("best", OUTCOME * 1.9 + draw.normal(size=ROWS))
    weak = Candidate("weak", OUTCOME * 0.3 + draw.normal(size=ROWS))
    good = [Candidate(f"good{n}", OUTCOME * 1.2 + draw.normal(size=ROWS)) for n in range(5)]
    assert found_in(best, weak) == [("best", "suspect", "dominant")]
    assert found_in(best, weak, *good) == []


def histories(leads: int, events: int) -> Histories:
    """Each lead has events on days 0, 1, …, the last its outcome; arrivals interleaved."""
    lead = np.tile(np.arange(leads), events)
    day = np.repeat(np.arange(events), leads)
    sign = np.where(day == events - 1, np.where(lead % 2, 1, -1), 0).astype(np.int8)
    return Histories(lead, day * DAY_US + lead, sign)


def test_a_field_as_of_an_event_is_what_its_lead_told_last() -> None:
    past = histories(3, 4)
    field = Field("x", np.array([0, 4, 6]), np.array([5.0, 6.0, 7.0]))
    assert past.as_of(field, np.arange(12)).tolist() == [0, -1, -1, 0, 1, -1, 2, 1, -1, 2, 1, -1]


@pytest.mark.parametrize(("changes", "found"), [(False, ["turns"]), (True, [])])
def test_what_turns_with_the_outcome_only(changes: bool, found: list[str]) -> None:
    past = histories(100, 4)
    every = np.arange(400)
    values = np.where(past.sign != 0, 9.0, every // 100 * 1.0 if changes else 1.0)
    assert [f.test for f in past.findings(Field("stage", every, values))] == found


def test_collisions_tell_shares_and_the_worst_bucket() -> None:
    attribute = Attribute("plan", "categorical", "texts.plan", values=("pro",), buckets=2)
    counts = {"pro": 50, "a": 30, "b": 10, "c": 6, "d": 4, "": 3}
    found = collisions(attribute, counts)
    place = {text: category(attribute, text) for text in "abcd"}
    sharing = [t for t in place if list(place.values()).count(place[t]) > 1]
    assert (found.texts, found.listed, found.buckets, found.events) == (5, 1, 2, 100)
    assert found.shared_texts == len(sharing) / 5
    assert found.shared_events == sum(counts[t] for t in sharing) / 100
    assert len({place[text] for text in found.worst}) == 1 and len(found.worst) > 1


def test_no_texts_collide_with_none() -> None:
    found = collisions(Attribute("plan", "categorical", "texts.plan", buckets=4), {})
    assert (found.texts, found.shared_texts, found.shared_events, found.worst) == (0, 0, 0, ())


def test_every_column_is_described() -> None:
    catalogue = FeatureCatalogue(
        1,
        (
            Attribute("age", "numeric", "numbers.age", transform=Transform("standard", 40, 10)),
            Attribute("plan", "categorical", "texts.plan", values=("pro",), buckets=4, rate=Rate()),
            Attribute("size", "numeric", "numbers.size", transform=Transform("robust")),
            Attribute("wins", "numeric", "numbers.account.outcomes"),
        ),
        Behaviour(("visit",), (7.0,), distinct=("url", "plan"), sequence=True),
        (Indicator("euribor", "ecb/euribor3m", unit="%"),),
    )
    described = {d.name: d for d in describe(catalogue)}
    assert tuple(described) == catalogue.column_names
    assert described["age"].transform == "standard: (x - 40) / 10"
    assert described["plan"].transform == "1 values of their own + 4 hashed"
    assert described["visit.recency_days"].source == "events of kind visit"
    assert described["visit.recency_days"].missing == "there was no such event"
    assert described["visit.count"].missing is None
    assert described["size"].transform == "robust: (x - median) / (IQR / 1.349)"
    assert described["wins"].source == "events of the account before that won a deal"
    assert described["distinct.url"].source == "url"
    assert described["distinct.plan"].source == "texts.plan"
    assert described["sequence.last"].transform == "1 values of their own + 1 for others"
    assert described["plan.rate"].source == "labels of texts.plan"
    assert described["euribor"].source == "market series ecb/euribor3m"
    assert all(d.words and d.source and d.transform for d in described.values())
