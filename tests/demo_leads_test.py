"""The demo's top leads: which they are, why, and what became of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from models.workspaces import WorkspaceConfig, load_workspace
from streams.arrow_schemas import arrow_schema
from streams.demo.feeds import prepare
from streams.demo.reasons import Words
from streams.demo.top import TopLeads
from streams.engine.errors import ConfigurationError

SHOP = Path(__file__).parent.parent / "infra" / "dev" / "workspaces" / "shop"
MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop() -> WorkspaceConfig:
    return load_workspace(SHOP)


def event(kind: str, **numbers: float) -> pa.RecordBatch:
    fields = ("kind", "numbers", "texts", "url", "occurred_at")
    schema = pa.schema([arrow_schema("timeline_event").field(name) for name in fields])
    row = {
        "kind": kind,
        "numbers": list(numbers.items()),
        "texts": [],
        "url": None,
        "occurred_at": MOMENT,
    }
    return pa.RecordBatch.from_pylist([row], schema=schema)


def record(score: int, **contributions: float) -> pa.RecordBatch:
    told = [{"feature": f, "contribution": c} for f, c in contributions.items()]
    row = {"score": score, "grade": "A", "probability": score / 100, "contributions": told}
    return pa.RecordBatch.from_pylist([row])


def test_reasons_say_what_the_feature_row_says(shop: WorkspaceConfig) -> None:
    words = Words(shop)
    events = [event("session", page_values=12.5), event("page_view"), event("page_view")]
    contributions = [
        {"feature": "page_values", "contribution": 1.5},
        {"feature": "page_view.count", "contribution": -0.25},
        {"feature": "champion", "contribution": 0.125},
    ]
    found = words.reasons(events, contributions)
    assert [(r.contribution, r.words) for r in found] == [
        (1.5, "average value of the pages opened: 12.5 USD"),
        (-0.25, "2 page views so far"),
        (0.125, "model champion"),
    ]
    row = words.feature_row(pa.concat_batches(events))
    assert row[shop.catalogue.column_names.index("event_count")] == np.float32(3)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_best_leads_hold_still_and_their_outcome_is_told(shop: WorkspaceConfig) -> None:
    clock = Clock()
    top = TopLeads(shop, 2, clock)
    for lead, score in (("a", 10), ("b", 90), ("c", 50)):
        top.happened(lead, "session", f"{lead}1", event("session"))
        top.scored(lead, f"{lead}1", score, score / 100, record(score))
    assert [(x.lead_id, x.score, x.outcome) for x in top.shown()] == [
        ("b", 90, None),
        ("c", 50, None),
    ]

    top.happened("b", "won", "b2", event("won"))
    top.scored("b", "b2", 1, 0.01, record(1))  # the score that the outcome caused
    top.happened("d", "session", "d1", event("session"))
    top.scored("d", "d1", 99, 0.99, record(99))
    assert [(x.lead_id, x.score, x.outcome) for x in top.shown()] == [
        ("b", 90, "won"),
        ("c", 50, None),
    ]

    clock.now += 3
    assert [x.lead_id for x in top.shown()] == ["d", "b"]
    clock.now += 30  # b is over; d and c are still open
    assert [x.lead_id for x in top.shown()] == ["d", "c"]


def test_a_lead_is_not_shown_before_its_events_are_known(shop: WorkspaceConfig) -> None:
    top = TopLeads(shop, 2, Clock())
    top.scored("a", "a1", 90, 0.9, record(90, page_values=1.0))
    assert top.shown() == []


def test_a_feed_is_the_excerpt_unless_the_whole_data_set_is_there(tmp_path: Path) -> None:
    excerpt = prepare("online_shoppers", None, limit=50)
    assert (excerpt.workspace, excerpt.topic, excerpt.total) == ("shop", "web.events", 50)
    assert sum(b.num_rows for b in excerpt.batches) == 50
    assert prepare("online_shoppers", tmp_path, limit=50).batches == excerpt.batches

    header = "Administrative,Administrative_Duration,Informational,Informational_Duration,"
    header += "ProductRelated,ProductRelated_Duration,BounceRates,ExitRates,PageValues,SpecialDay,"
    header += "Month,OperatingSystems,Browser,Region,TrafficType,VisitorType,Weekend,Revenue\n"
    (tmp_path / "online_shoppers").mkdir()
    row = "0,0,0,0,1,0,0.2,0.2,0,0,Feb,1,1,1,1,Returning_Visitor,FALSE,FALSE\n"
    (tmp_path / "online_shoppers" / "all.csv").write_text(header + row)
    assert prepare("online_shoppers", tmp_path).total == 3


def test_a_clone_without_excerpts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.demo.feeds.shipped_excerpt", lambda name: None)
    with pytest.raises(ConfigurationError, match="excerpt"):
        prepare("bank_marketing", None)
