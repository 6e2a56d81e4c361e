"""Targets about accounts: an account is scored by what all its people do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from identity_support import event as source_event
from scoring_support import CATALOGUE, DAY, START, rows_of, target

from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Transform
from models.features.rollups import ROLLUPS
from models.targets import RowSchedule, Target
from models.workspaces import Workspace, WorkspaceConfig
from streams.app import model_store
from streams.arrow_schemas import arrow_schema
from streams.engine.columns import OutputBatch, Outputs
from streams.engine.local import LocalRunner
from streams.identity.processor import IdentityProcessor
from streams.learning.processor import LearningProcessor
from streams.scoring.processor import ScoringProcessor

CHURN = Target(
    "churn",
    (),
    10.0,
    ("order",),
    positive_by_deadline=True,
    repeats=True,
    entity="account",
    rows=RowSchedule(first_score=False, stage_kinds=("order",)),
)
EXPANSION = Target("expansion", ("upgrade",), 30.0, entity="account")


def event(name: str, who: str, at: float, kind: str, **fields: Any) -> dict[str, Any]:
    moment = START + round(at * DAY)
    given = {"workspace": "acme", "kind": kind, "identifiers": [("user_id", who)], **fields}
    given = {"account": "Initech", "numbers": [], "texts": [], **given}
    return source_event(name, moment, **given)


def run(
    events: list[dict[str, Any]],
    *targets: Target,
    partitions: int = 1,
    size: int = 100,
    catalogue: FeatureCatalogue = CATALOGUE,
) -> Outputs:
    settings = Workspace("acme", epoch="1d", allowed_lateness="0s")
    configs = {"acme": WorkspaceConfig(settings, catalogue, targets)}
    out = Outputs()
    runner = LocalRunner(
        [IdentityProcessor(configs), ScoringProcessor(configs), LearningProcessor(configs)],
        dict.fromkeys(("crm.events", "web.events", "lead.timeline", "lead.labels"), partitions),
        models=model_store(configs),
        broadcast=("models.current",),
        sink=lambda topic, keys, values: out.records.append(OutputBatch(topic, keys, values)),
    )
    runner.now_us = START + 1000 * DAY
    values = pa.RecordBatch.from_pylist(events, schema=arrow_schema("source_event"))
    for start in range(0, len(events), size):
        part = values.slice(start, size)
        runner.feed("crm.events", part.column("workspace").cast(pa.binary()), part)
    assert not runner.rejections
    return out


def orders() -> list[dict[str, Any]]:
    """Two people of one account order on days 1, 4 and 30; of another one on day 2."""
    return [
        event("o1", "ann", 1, "order"),
        event("o2", "zoe", 2, "order", account="Globex"),
        event("o3", "bob", 4, "order", account=" INITECH "),
        event("o4", "ann", 30, "order", opportunity_id="d1", amount_minor=5, currency="EUR"),
        event("nobody", "eve", 31, "visit", account=None),
        event("last", "eve", 60, "visit", account=None),
    ]


def test_an_account_that_stops_ordering_has_churned() -> None:
    out = run(orders(), CHURN)
    labels = [r for r in rows_of(out, "lead.labels") if r["record_kind"] == "label"]
    told = {r["event_id"]: (r["outcome"], r["positive"], r["resolved_by"]) for r in labels}
    assert told == {
        "o1": ("lost", False, "o3"),  # bob's order is one of ann's account
        "o2": ("matured", True, None),
        "o3": ("matured", True, None),
        "o4": ("matured", True, None),
    }
    assert len({r["lead_id"] for r in labels}) == 2
    (deal,) = rows_of(out, "opportunities")
    assert (deal["opportunity_id"], deal["status"]) == ("d1", "open")


def test_the_score_of_an_account_names_it_and_counts_what_its_people_did() -> None:
    scored = rows_of(run(orders(), target("conversion"), CHURN), "leads.scored")
    accounts = {r["event_id"]: r for r in scored if r["target"] == "churn"}
    leads = {r["event_id"]: r for r in scored if r["target"] == "conversion"}
    assert [accounts[e]["account"] for e in ("o1", "o2", "o3")] == ["initech", "globex", "initech"]
    assert [accounts[e]["evidence_count"] for e in ("o1", "o3", "o4")] == [1, 2, 3]
    assert [leads[e]["evidence_count"] for e in ("o1", "o3", "o4")] == [1, 1, 2]
    assert {r["account"] for r in leads.values()} == {None}
    assert set(leads) == set(accounts) | {"nobody", "last"}
    assert not {r["lead_id"] for r in leads.values()} & {r["lead_id"] for r in accounts.values()}


def test_an_expansion_is_learned_from_what_anyone_of_the_account_buys() -> None:
    events = [
        event("a", "ann", 1, "visit"),
        event("b", "zoe", 1, "visit", account="Globex"),
        event("up", "bob", 5, "upgrade"),
        event("last", "eve", 60, "visit"),
    ]
    out = run(events, EXPANSION)
    labels = [r for r in rows_of(out, "lead.labels") if r["record_kind"] == "label"]
    assert {r["event_id"]: r["positive"] for r in labels} == {"a": True, "b": False}
    assert rows_of(out, "models.current")[-1]["labels_learned"] == 2


def test_the_timeline_is_not_doubled_where_no_target_is_about_accounts() -> None:
    plain, double = (rows_of(run(orders(), t), "lead.timeline") for t in (target(), CHURN))
    kinds = [[r["entity"] for r in rows if r["record_kind"] == "event"] for rows in (plain, double)]
    assert (len(kinds[0]), len(kinds[1])) == (6, 10)
    assert set(kinds[0]) == {None}
    assert kinds[1][:2] == [None, "account"]


@pytest.mark.parametrize(("partitions", "size"), [(1, 1), (3, 100), (3, 2)])
def test_partitions_and_batches_change_nothing(partitions: int, size: int) -> None:
    def exact(out: Outputs) -> list[str]:
        labels = [r for r in rows_of(out, "lead.labels") if r["record_kind"] == "label"]
        names = ("label_id", "target", "outcome", "logit", "features")
        return sorted(repr([r[n] for n in names]) for r in labels)

    targets = (target("conversion", 5.0), CHURN, EXPANSION)
    whole = exact(run(orders(), *targets))
    assert len(whole) > 6
    assert exact(run(orders(), *targets, partitions=partitions, size=size)) == whole


@pytest.mark.parametrize(("partitions", "size"), [(1, 100), (3, 2)])
def test_a_labelled_row_of_a_lead_holds_what_its_account_did_before(
    partitions: int, size: int
) -> None:
    events = [
        event("a1", "ann", 1, "visit"),
        event("b1", "bob", 3, "visit"),
        event("b2", "bob", 4, "won"),
        event("c1", "cid", 6, "visit"),
        event("d1", "dan", 7, "visit", account=None),
        event("last", "eve", 90, "visit", account="Globex"),
    ]
    names = tuple(n for n in ROLLUPS if n != "account.events_30d")
    attributes = tuple(Attribute(n, "numeric", f"numbers.{n}", n, None, Transform()) for n in names)
    out = run(
        events,
        target(),
        partitions=partitions,
        size=size,
        catalogue=FeatureCatalogue(1, attributes, Behaviour()),
    )
    labels = [r for r in rows_of(out, "lead.labels") if r["record_kind"] == "label"]
    rows = {r["event_id"]: r["features"][:4] for r in labels}
    assert set(rows) == {"a1", "b1", "c1", "d1"}
    # of the account: events, leads, days since the last, deals won
    np.testing.assert_equal(rows["a1"], [0, 0, np.nan, 0])
    np.testing.assert_equal(rows["b1"], [1, 1, 2, 0])
    np.testing.assert_equal(rows["c1"], [3, 2, 2, 1])
    np.testing.assert_equal(rows["d1"], [np.nan] * 4)
