"""Rates and market indicators in scored and kept rows: of their time, whatever comes later."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_support import (
    DAY,
    EPOCH_US,
    HOUR,
    START,
    Scoring,
    config,
    contents,
    event,
    restored,
    rows_of,
    story,
    target,
    tick,
    timeline,
)

from models.features.catalogue import (
    Attribute,
    Behaviour,
    FeatureCatalogue,
    Indicator,
    Rate,
    Transform,
)
from models.workspaces import OnlineSettings, WorkspaceConfig
from streams.app import model_store
from streams.engine.changelog import ChangeRecords
from streams.engine.local import LocalRunner
from streams.engine.processor import Context
from streams.learning.processor import LearningProcessor
from streams.replay import History, RecordedModels
from streams.scoring.processor import ScoringProcessor

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age", transform=Transform("robust", 40, 10)),
        Attribute("plan", "categorical", "texts.plan", values=("free", "pro"), buckets=1,
                  rate=Rate(30, 2)),
    ),
    Behaviour(kinds=("visit", "call"), half_lives_days=(1.0,)),
    (Indicator("euribor", "ecb/euribor3m"), Indicator("cpi", "cpi")),
)  # fmt: skip
NAMES = CATALOGUE.column_names
RATE, EURIBOR, AGE = (NAMES.index(n) for n in ("plan.rate", "euribor", "age"))
LOW, HIGH = [-1.0, 1.0, 0.5, 0.25], [-2.0, 2.0, 1.5, 1.25]
SCALES = {"centers": [30.0] + [0.0] * (len(NAMES) - 1), "scales": [5.0] + [1.0] * (len(NAMES) - 1)}


def acme(*targets: Any, **fields: Any) -> WorkspaceConfig:
    return config("acme", *targets, catalogue=CATALOGUE, **fields)


def publication(number: int, observed: int, published: int, value: float, **fields: Any) -> Any:
    row = {
        "event_id": f"i{number}", "workspace": "acme", "series": "ecb/euribor3m",
        "observed_at": observed, "published_at": published, "value": value, "unit": None,
        "source": "test", **fields,
    }  # fmt: skip
    return row


def come(scoring: Scoring, *rows: Any) -> None:
    for row in rows:
        scoring.models.apply("market.indicators", b"", row)


def kept(run: Scoring, **wanted: Any) -> np.ndarray:
    return np.array([r["features"] for r in run.labels(**wanted)], np.float32)


def test_a_kept_row_has_the_rates_of_the_version_that_scored_it() -> None:
    run = Scoring(acme(target(), target("upsell")))
    run.publish(1, rates=[("plan", LOW)])
    run.publish(1, rates=[("plan", HIGH)], target="upsell")
    run.feed(event("a", 1, texts={"plan": "pro"}), event("b", 2), event("c", 3))
    run.publish(2, rates=[("plan", [9.0] * 4)])
    run.feed(event("d", 4, START + HOUR, texts={"plan": "free"}))
    run.feed(*(event(f"w{n}", n, START + DAY, "won") for n in (1, 2, 3, 4)))
    assert kept(run, target="conversion")[:, RATE].tolist() == [1, 0.25, 0.25, 9]
    assert kept(run, target="upsell")[:, RATE].tolist() == [2, 1.25, 1.25, -2]


def test_before_anything_was_learned_a_rate_is_the_base_rate() -> None:
    run = Scoring(acme())
    run.feed(event("a", 1, texts={"plan": "pro"}), event("w", 1, START + DAY, "won"))
    assert kept(run)[:, RATE].tolist() == [0]


def test_a_change_of_rates_is_the_models_part_of_a_change() -> None:
    run = Scoring(acme())
    place = dict.fromkeys(("calibration_a", "calibration_b"), 0.0) | {"calibration_a": 1.0}
    weights = [0.0] * run.models._encodings["acme"].size
    weights[run.models._encodings["acme"].input_names.index("plan.rate")] = 2.0
    run.publish(1, rates=[("plan", LOW)], weights=weights, **place)
    run.feed(event("a", 1, texts={"plan": "pro"}))
    run.publish(2, rates=[("plan", HIGH)], weights=weights, **place)
    run.feed(event("b", 1, START + HOUR, texts={"plan": "free"}))
    first, second = run.scores()
    assert (first["logit"], second["logit"]) == (2, -4)
    assert (second["delta_model"], second["delta_time"], second["delta_event"]) == (2, 0, -8)


def test_scales_are_those_published_with_the_weights() -> None:
    plain, scaled = Scoring(acme()), Scoring(acme())
    encoding = plain.models._encodings["acme"]
    weights = [0.0] * encoding.size
    weights[encoding.input_names.index("age")] = 1.0
    fields = {"weights": weights, "calibration_a": 1.0, "calibration_b": 0.0}
    plain.publish(1, **fields)
    scaled.publish(1, **fields, **SCALES)
    for run in (plain, scaled):
        run.feed(event("a", 1, numbers={"age": 50.0}))
    assert (plain.scores()[0]["logit"], scaled.scores()[0]["logit"]) == (1, 4)


@pytest.mark.parametrize(
    "wrong",
    [{"rates": [("plan", [1.0])]}, {"rates": [("job", LOW)]}, {"centers": [1.0], "scales": [1.0]}],
)
def test_rates_or_scales_of_another_catalogue_are_refused(wrong: dict[str, Any]) -> None:
    run = Scoring(acme())
    run.publish(1)
    with pytest.raises(ValueError):  # the broadcast leaves the record out with an alarm
        run.publish(2, **wrong)
    run.feed(event("a", 1))
    assert run.scores()[0]["weights_version"] == 1


def test_a_row_has_what_was_published_by_its_time_and_no_more() -> None:
    """A late publication and a revision: rows before them do not know them, rows after do."""
    run = Scoring(acme())
    march, april = START - 60 * DAY, START - 30 * DAY
    come(
        run,
        publication(1, march, START, 3.0),
        publication(2, april, START + 2 * HOUR, 3.5),
        publication(3, april, START + 4 * HOUR, 3.25),  # revised
        publication(4, march, START + 5 * HOUR, 9.0),  # an old one revised: not the newest
        publication(5, april, START + 1, 8.0, workspace="other"),
        publication(6, april, START + 1, 7.0, series="nobody/asked"),
    )
    times = [-1, 0, HOUR, 2 * HOUR - 1, 2 * HOUR, 4 * HOUR, 6 * HOUR]
    run.feed(*(event(f"e{n}", n, START + at) for n, at in enumerate(times)))
    run.feed(*(event(f"w{n}", n, START + DAY, "won") for n in range(len(times))))
    found = kept(run)[:, EURIBOR]
    assert np.array_equal(found, np.float32([np.nan, 3, 3, 3, 3.5, 3.25, 3.25]), equal_nan=True)
    assert np.isnan(kept(run)[:, EURIBOR + 1]).all()


def test_an_indicator_that_moves_between_two_events_is_times_part_of_the_change() -> None:
    run = Scoring(acme())
    encoding = run.models._encodings["acme"]
    weights = [0.0] * encoding.size
    weights[encoding.input_names.index("euribor")] = 1.0
    run.publish(1, weights=weights, calibration_a=1.0, calibration_b=0.0)
    come(run, publication(1, START, START, 3.0), publication(2, START + 1, START + HOUR, 5.0))
    run.feed(event("a", 1), event("b", 1, START + 2 * HOUR))
    run.feed(event("late", 1, START + HOUR // 2))  # its row stands as of the event before
    first, second, late = run.scores()
    assert [r["logit"] for r in (first, second, late)] == [3, 5, 5]
    assert (second["delta_time"], second["delta_event"], second["delta_model"]) == (2, 0, 0)
    assert (late["delta_time"], late["delta_event"]) == (0, 0)


ROWS = story(3, 40, 5)


def prepared() -> Scoring:
    run = Scoring(acme(target(max_pending=2, after_events=(3,)), target("upsell", 2.0)))
    run.publish(1, rates=[("plan", LOW)], **SCALES)
    run.publish(1, rates=[("plan", HIGH)], target="upsell")
    come(run, *(publication(n, START + n * DAY, START + n * DAY + HOUR, n) for n in range(9)))
    return run


def outputs(run: Scoring) -> dict[str, list[str]]:
    """Scores and labels of each target in the order in which a subscriber reads them."""
    return {
        f"{topic}/{name}": [repr(row) for row in run.rows(topic, target=name)]
        for topic in ("leads.scored", "lead.labels")
        for name in ("conversion", "upsell")
    }


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(1, len(ROWS) - 1), max_size=8), st.booleans())
def test_cuts_and_restarts_change_nothing(places: set[int], restart: bool) -> None:
    whole = prepared()
    whole.feed(*ROWS)
    run, log = prepared(), ChangeRecords()
    bounds = [0, *sorted(places), len(ROWS)]
    for start, stop in pairwise(bounds):
        run.feed(*ROWS[start:stop])
        if restart:
            run.state = restored(run.processor, run.state, log)
    assert outputs(run) == outputs(whole)
    assert contents(run.state) == contents(whole.state)


def test_without_deltas_scores_and_labels_are_the_same() -> None:
    whole, run = prepared(), prepared()
    run.processor = ScoringProcessor(run.configs, deltas=False)
    whole.feed(*ROWS)
    run.feed(*ROWS)
    assert [s["logit"] for s in run.scores()] == [s["logit"] for s in whole.scores()]
    assert repr(run.labels()) == repr(whole.labels())  # NaN is not NaN


def test_replay_makes_the_same_scores_from_what_was_recorded() -> None:
    """Weights, rates, scales and indicators change between batches; some come late."""
    run, history = Scoring(acme()), History({"acme": acme()})
    for part, rows in enumerate(np.array_split(np.array(ROWS, object), 6)):
        at = START + part * DAY
        late = [publication(part, at, at - DAY, part), publication(part, at, at, 99.0)]
        come(run, *late)
        for row in late:
            history.add_indicator(row)
        version = part // 2 + 1
        scales = {n: [v * version for v in s] for n, s in SCALES.items()}
        run.publish(version, rates=[("plan", [r * version for r in LOW])], **scales)
        run.feed(*rows)
        model = run.models.newest("acme", "conversion")
        history._weights["acme", "conversion", version] = model.weights
    published = pa.Table.from_batches(
        [b.values for b in run.out.records if b.topic == "leads.scored"]
    )
    assert published.column("indicators_known").to_pylist()[-1] == "i5"
    again = ScoringProcessor({"acme": acme()})
    models = RecordedModels(history, published.sort_by("source_offset"))
    context = Context(0, {"lead.timeline": 1}, models, "live", 0)
    made = again.process(timeline(ROWS), again.new_state(), context)
    replayed = pa.Table.from_batches([b.values for b in made.records if b.topic == "leads.scored"])
    for name in published.schema.names:
        if name != "scored_at":
            ours, theirs = (t.column(name).to_pylist() for t in (replayed, published))
            assert ours == theirs, name
    with pytest.raises(LookupError, match=r"market\.indicators"):
        history.indicators("acme", "expired")


def whole_path(rows: list[dict[str, Any]], river: str | None = None) -> list[dict[str, Any]]:
    """Labels of the whole path from events to labels and learned models and back."""
    configs = {"acme": acme(target(every_days=0.2), online=OnlineSettings(river=river), epoch="1h")}
    found: list[Any] = []
    runner = LocalRunner(
        [ScoringProcessor(configs), LearningProcessor(configs)],
        {"lead.timeline": 2, "lead.labels": 2},
        models=model_store(configs),
        broadcast=("models.current", "market.indicators"),
        sink=lambda topic, keys, values: found.append((topic, values)),
    )
    ends = sorted({r["watermark"] // EPOCH_US + 1 for r in rows})
    events = [r for r in rows if r["record_kind"] == "event"]
    for end in ends:
        due = [r for r in events if r["watermark"] // EPOCH_US == end - 1]
        batch = timeline(due)
        runner.feed("lead.timeline", batch.keys, batch.values)
        for partition in (0, 1):
            closing = timeline([tick(end * EPOCH_US)])
            runner._place(_out(closing), partition, None)
        runner.run()
    assert not runner.waiting and not runner.rejections
    return [
        row
        for topic, values in found
        if topic in ("lead.labels", "leads.scored")
        for row in rows_of(_Outputs(topic, values), topic)  # type: ignore[arg-type]
    ]


def _out(batch: Any) -> Any:
    from streams.engine.columns import OutputBatch

    return OutputBatch(batch.topic, batch.keys, batch.values)


class _Outputs:
    def __init__(self, topic: str, values: pa.RecordBatch) -> None:
        keys = pa.array([""] * values.num_rows)
        self.records = [_out(type("B", (), {"topic": topic, "keys": keys, "values": values}))]


def test_a_row_never_knows_the_outcome_of_what_was_resolved_after_it() -> None:
    """Turn every outcome after a moment round: rows kept before it stay the same bits."""
    rows = story(5, 160, 40)
    turn = {"won": "lost", "lost": "won"}
    moment = sorted(r["watermark"] for r in rows)[len(rows) // 2]
    other = [
        {**r, "kind": turn.get(r["kind"], r["kind"])} if r["watermark"] > moment else r
        for r in rows
    ]
    one, two = ([r for r in whole_path(x) if r.get("label_id")] for x in (rows, other))

    def rates(labels: list[dict[str, Any]], early: bool) -> dict[str, float]:
        return {
            r["label_id"]: r["features"][RATE]
            for r in labels
            if (r["row_time"] <= moment) == early and r["record_kind"] == "label"
        }

    before = rates(one, early=True)
    assert rates(two, early=True) == before
    assert len(set(before.values())) > 5
    assert rates(two, early=False) != rates(one, early=False)


def test_a_workspace_with_a_river_model_works_from_labels_to_scores() -> None:
    scores = [r for r in whole_path(story(5, 160, 40), "naive_bayes.GaussianNB") if "bias" in r]
    told = [{c["feature"]: c["contribution"] for c in r["contributions"]} for r in scores]
    for row, parts in zip(scores, told, strict=True):
        assert row["bias"] + sum(parts.values()) + row["other"] == pytest.approx(row["logit"])
    assert sum("naive_bayes.GaussianNB" in parts for parts in told) > 50
