"""Outcomes that come late or are taken back: which labels are corrected, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from scoring_support import (
    DAY,
    EPOCH_US,
    START,
    Scoring,
    config,
    contents,
    event,
    restored,
    rows_of,
    target,
    tick,
    timeline,
)

from models.config import ConfigError
from models.targets import RowSchedule, Target, load_targets
from streams.app import model_store
from streams.engine.changelog import ChangeRecords
from streams.engine.columns import OutputBatch, Outputs
from streams.engine.local import LocalRunner
from streams.evaluation.collect import LabelCollector
from streams.learning.processor import LearningProcessor
from streams.scoring.processor import ScoringProcessor


def correcting(name: str = "conversion", horizon_days: float = 10.0, **rows: Any) -> Target:
    made = target(name, horizon_days, **rows)
    return structs.replace(made, retraction_kinds=("won_cancelled",), corrections_days=5.0)


def ledger(**rows: Any) -> Scoring:
    return Scoring(config("acme", correcting(**rows)))


def day(number: float) -> int:
    return START + round(number * DAY)


def told(scoring: Scoring) -> list[tuple[Any, ...]]:
    """All that was said of labels: (revision of the label, outcome, event, resolved on day)."""
    return [
        (
            r["label_id"].split("-")[3:],
            r["outcome"],
            r["event_id"],
            (r["resolved_at"] - START) / DAY,
        )
        for r in scoring.rows("lead.labels")
        if r["record_kind"] != "epoch_end"
    ]


def late(name: str, who: int, at: int, kind: str, now: int) -> dict[str, Any]:
    return event(name, who, at, kind, watermark=now)


def test_a_won_that_is_cancelled_waits_again_for_the_old_deadline() -> None:
    run = ledger()
    run.feed(event("a", 1), event("end", 1, day(2), "won"))
    run.feed(event("back", 1, day(3), "won_cancelled"))
    assert run.waiting() == 1
    run.feed(tick(day(10)))
    assert told(run) == [
        ([], "won", "a", 2),
        ([], "retracted", "a", 3),
        (["1"], "matured", "a", 10),
    ]
    won, back, matured = (r for r in run.rows("lead.labels") if r["record_kind"] != "epoch_end")
    assert [r["record_kind"] for r in (won, back, matured)] == ["label", "retraction", "label"]
    assert won["label_id"] == back["label_id"]
    same = ("features", "logit", "probability", "weights_version", "row_time", "lead_id")
    assert len({repr([r[n] for n in same]) for r in (won, back, matured)}) == 1
    assert (back["resolved_by"], back["positive"], back["epoch"]) == (
        "back",
        False,
        day(3) // EPOCH_US,
    )


def test_one_that_is_cancelled_behind_its_deadline_is_matured_at_once() -> None:
    run = ledger()
    run.feed(event("a", 1), event("end", 1, day(2), "won"), tick(day(11)))
    run.feed(event("back", 1, day(12), "won_cancelled"))
    assert told(run)[1:] == [([], "retracted", "a", 12), (["1"], "matured", "a", 10)]
    assert run.waiting() == 0


def test_a_lead_that_was_opened_again_keeps_new_rows_and_can_be_won_again() -> None:
    run = ledger(stage_kinds=("call",))
    run.feed(event("a", 1), event("end", 1, day(1), "won"), event("no", 1, day(2), "call"))
    run.feed(event("back", 1, day(3), "won_cancelled"), event("c", 1, day(4), "call"))
    assert run.waiting() == 2
    run.feed(event("again", 1, day(5), "won"))
    assert told(run)[2:] == [(["1"], "won", "a", 5), ([], "won", "c", 5)]


def test_an_outcome_that_comes_after_the_row_matured_corrects_it() -> None:
    run = ledger()
    run.feed(event("a", 1), tick(day(11)), late("end", 1, day(9), "won", day(11)))
    assert told(run) == [
        ([], "matured", "a", 10),
        ([], "retracted", "a", 9),
        (["1"], "won", "a", 9),
    ]


def test_a_row_that_is_younger_than_a_late_outcome_loses_its_label() -> None:
    run = ledger(first_score=False, stage_kinds=("call",))
    run.feed(event("a", 1, day(5), "call"), tick(day(16)))
    run.feed(late("end", 1, day(4), "won", day(16)))
    assert told(run) == [([], "matured", "a", 15), ([], "retracted", "a", 4)]


@pytest.mark.parametrize("kind", ["won", "won_cancelled"])
def test_long_after_the_deadline_a_label_is_settled(kind: str) -> None:
    run = ledger()
    first = [event("end", 1, day(2), "won")] if kind == "won_cancelled" else []
    run.feed(event("a", 1), *first, tick(day(11)), tick(day(16)))
    before = told(run)
    assert not len(run.state.table("resolved/acme"))
    run.feed(late("end", 1, day(9), kind, day(16)))
    assert told(run) == before


def test_nothing_is_kept_for_corrections_where_they_are_switched_off() -> None:
    run = Scoring(config("acme", structs.replace(target("conversion", 10.0), corrections_days=0)))
    run.feed(event("a", 1), event("b", 2), event("end", 2, day(1), "won"), tick(day(11)))
    assert not len(run.state.table("resolved/acme"))
    run.feed(late("end", 1, day(9), "won", day(11)))
    assert [row[1] for row in told(run)] == ["won", "matured"]


def test_a_forgotten_lead_takes_what_was_kept_for_corrections_along() -> None:
    long_id = "x" * 100
    run = Scoring(config("acme", correcting(horizon_days=1.0), state_ttl="2d"))
    run.feed(event(long_id, 1), tick(day(2)), tick(day(3.5)))
    assert not sum(len(t) for t in run.state.tables.values())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("retraction_kinds: [won]", "two things at once"),
        ("{retraction_kinds: [back], corrections_days: 0}", "0 days leave nothing"),
        ("{retraction_kinds: [back], repeats: true}", "which of many outcomes"),
        ("{negative_kinds: [won]}", "two things at once"),
    ],
)
def test_what_cannot_be_is_refused(line: str, said: str, tmp_path: Any) -> None:
    more = line.strip("{}").replace(", ", "\n    ")
    path = tmp_path / "targets.yaml"
    path.write_text(
        f"targets:\n  - name: a\n    positive_kinds: [won]\n    horizon_days: 5\n    {more}\n"
    )
    with pytest.raises(ConfigError, match=said):
        load_targets(path)


# --- against a plain reference ---------------------------------------------------------------

CONFIG = config(
    "acme",
    correcting("conversion", 2.0, stage_kinds=("call",), max_pending=3),
    correcting("upsell", 5.0, stage_kinds=("call",), max_pending=2),
    Target(
        "churn",
        (),
        2.0,
        ("won",),
        corrections_days=5.0,
        positive_by_deadline=True,
        repeats=True,
        rows=RowSchedule(stage_kinds=("call", "won"), max_pending=2),
    ),
)
Said = tuple[str, str, bool, str, int, int]


@dataclass
class Row:
    slot: int
    time: int
    deadline: int
    event_id: str
    status: str = "waiting"
    revision: int = 0
    settled: bool = False

    def name(self, who: str) -> str:
        stem = f"{who}-{self.time}-{self.slot}"
        return f"{stem}-{self.revision}" if self.revision else stem


@dataclass
class Lead:
    last_seen: int = 0
    outcome: str = "open"
    rows: list[Row] = field(default_factory=list)


def expected(rows: list[dict[str, Any]], wanted: Target) -> list[Said]:
    """The rules, one row at a time: (label, outcome, positive, event, resolved at, epoch)."""
    leads: dict[str, Lead] = {}
    out: list[Said] = []
    today = None

    def say(who: str, row: Row, outcome: str, at: int, record: dict[str, Any]) -> None:
        positive = outcome == "won" or (outcome == "matured" and wanted.positive_by_deadline)
        out.append((row.name(who), outcome, positive, row.event_id, at, record["epoch"]))

    def end(who: str, row: Row, at: int, kind: str, record: dict[str, Any]) -> None:
        if row.time > at:
            row.status = "dropped"
            return
        row.status = kind if at <= row.deadline else "matured"
        say(who, row, row.status, min(at, row.deadline), record)

    def take_back(who: str, row: Row, record: dict[str, Any]) -> None:
        say(who, row, "retracted", record["occurred_at"], record)
        row.revision += 1

    for record in rows:
        if record["record_kind"] == "tick":
            until = record["watermark"]
            for who, known in leads.items():
                for row in known.rows:
                    if row.status == "waiting" and row.deadline <= until:
                        row.status = "matured"
                        say(who, row, "matured", row.deadline, record)
            if today is None or until // DAY > today:
                today = until // DAY
                for known in leads.values():
                    edge = until - wanted.corrections_us
                    known.rows = [
                        r for r in known.rows if r.status == "waiting" or r.deadline >= edge
                    ]
            ticked = until
            continue
        who, at, kind = record["lead_id"], record["occurred_at"], record["kind"]
        is_first = who not in leads
        known = leads.setdefault(who, Lead())
        known.last_seen = max(known.last_seen, at)
        if kind in wanted.retraction_kinds and known.outcome != "open":
            known.outcome = "open"
            for row in known.rows:
                over = row.deadline <= record["watermark"]
                if row.status == "matured" and over:
                    continue
                if row.status != "dropped":
                    take_back(who, row, record)
                row.status = "matured" if over else "waiting"
                if over:
                    say(who, row, "matured", row.deadline, record)
        signs = {**dict.fromkeys(wanted.positive_kinds, "won")}
        signs |= dict.fromkeys(wanted.negative_kinds, "lost")
        if kind in signs:
            if known.outcome == "open":
                for row in known.rows:
                    if row.status == "waiting":
                        end(who, row, at, signs[kind], record)
                        row.settled = wanted.repeats
                    elif row.status == "matured" and at <= row.deadline <= ticked:
                        take_back(who, row, record)
                        end(who, row, at, signs[kind], record)
                known.rows = [r for r in known.rows if not r.settled]
                known.outcome = "open" if wanted.repeats else kind
            if not wanted.repeats:
                continue
        if known.outcome != "open" or not (is_first or kind in wanted.rows.stage_kinds):
            continue
        taken = {r.slot for r in known.rows if r.status == "waiting"}
        free = [s for s in range(wanted.rows.max_pending) if s not in taken]
        if free:
            time = known.last_seen
            known.rows.append(Row(free[0], time, time + wanted.horizon_us, record["event_id"]))
    return out


def story(seed: int, events: int = 90, leads: int = 4) -> list[dict[str, Any]]:
    """Events that come up to four days late, outcomes taken back, ticks."""
    draw = np.random.default_rng(seed)
    now, epoch, rows = START, START // EPOCH_US - 1, []
    for number in range(events):
        now += int(draw.integers(0, 5 * 3600)) * 1_000_000
        if now // EPOCH_US > epoch:
            epoch = now // EPOCH_US
            rows.append(tick(epoch * EPOCH_US))
        back = draw.choice([0, 0, 1, 4]) * draw.random()
        kind = draw.choice(
            ["visit", "call", "won", "lost", "won_cancelled"], p=[0.2, 0.35, 0.15, 0.1, 0.2]
        )
        at = now - round(back * DAY)
        rows.append(event(f"e{number}", int(draw.integers(leads)), at, str(kind), watermark=now))
    return [*rows, tick((now + 9 * DAY) // EPOCH_US * EPOCH_US)]


def said(run: Scoring, name: str) -> list[Said]:
    names = ("label_id", "outcome", "positive", "event_id", "resolved_at", "epoch")
    rows = run.rows("lead.labels", target=name)
    return [tuple(r[n] for n in names) for r in rows if r["record_kind"] != "epoch_end"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_labels_are_those_of_a_plain_reference(seed: int) -> None:
    rows = story(seed)
    run = Scoring(CONFIG).cut(rows, range(7, len(rows), 31))
    for wanted in CONFIG.targets:
        assert sorted(said(run, wanted.name)) == sorted(expected(rows, wanted))


def test_the_stories_hold_what_makes_this_worth_proving() -> None:
    outcomes: dict[str, int] = {}
    revisions = set()
    for seed in range(10):
        for name, outcome, *_ in expected(story(seed), CONFIG.targets[1]):
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            revisions.add(len(name.split("-")) > 3 and name.split("-")[3])
    assert min(outcomes[o] for o in ("won", "lost", "matured", "retracted")) > 5
    assert {"1", "2"} <= revisions


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(1, 80), max_size=10), st.booleans())
def test_cuts_and_restarts_change_nothing(places: set[int], restarts: bool) -> None:
    rows = story(5)
    run, log = Scoring(CONFIG), ChangeRecords()
    for start, stop in _parts(len(rows), places):
        run.feed(*rows[start:stop])
        if restarts:
            run.state = restored(run.processor, run.state, log)
    whole = _whole(5)
    assert [said(run, t.name) for t in CONFIG.targets] == whole[0]
    assert contents(run.state) == whole[1]


def _parts(n: int, places: Iterable[int]) -> list[tuple[int, int]]:
    edges = [0, *sorted(places), n]
    return list(pairwise(edges))


@cache
def _whole(seed: int) -> tuple[list[list[Said]], dict[str, Any]]:
    run = Scoring(CONFIG).cut(story(seed), [])
    return [said(run, t.name) for t in CONFIG.targets], contents(run.state)


def test_a_label_never_has_two_successors_at_once() -> None:
    """Whoever sums up labels and retractions counts each feature row at most once."""
    for seed in range(10):
        standing: set[str] = set()
        for name, outcome, *_ in said(Scoring(CONFIG).cut(story(seed), []), "upsell"):
            stem = "-".join(name.split("-")[:3])
            if outcome == "retracted":
                standing.remove(stem)
            else:
                assert stem not in standing
                standing.add(stem)


# --- to the models ----------------------------------------------------------------------------


def learned(rows: list[dict[str, Any]]) -> tuple[Outputs, LabelCollector]:
    """What scoring and learning make of a timeline."""
    configs = {"acme": config("acme", correcting(horizon_days=6.0))}
    out, labels = Outputs(), LabelCollector("acme", "conversion")

    def sink(topic: str, keys: pa.Array, values: pa.RecordBatch) -> None:
        out.records.append(OutputBatch(topic, keys, values))
        if topic == "lead.labels":
            labels.add(values)

    runner = LocalRunner(
        [ScoringProcessor(configs), LearningProcessor(configs)],
        {"lead.timeline": 1, "lead.labels": 1},
        models=model_store(configs),
        broadcast=("models.current",),
        sink=sink,
    )
    batch = timeline(rows)
    runner.feed("lead.timeline", batch.keys, batch.values)
    assert not runner.waiting
    return out, labels


def test_a_won_that_was_cancelled_leaves_no_trace_in_the_models() -> None:
    """Lead 99 is won and that is taken back, or two events come that mean nothing."""

    def rows(won: str, cancelled: str) -> list[dict[str, Any]]:
        own = [
            event("first", 99, day(1), numbers={"age": 70.0}),
            event("end", 99, day(2), won),
            event("back", 99, day(4.5), cancelled),
        ]
        others = [
            event(f"{n}-{kind}", n, day(n / 20 + later), kind, numbers={"age": 20.0 + n})
            for n in range(100)
            for later, kind in ((0.0, "visit"), (1.5, "won" if n % 3 else "lost"))
        ]
        ticks = [tick(day(at)) for at in range(1, 14)]
        return sorted([*ticks, *own, *others], key=lambda r: (r["occurred_at"], r["event_id"]))

    run, labels = learned(rows("won", "won_cancelled"))
    never, plain = learned(rows("other", "other"))
    last, same = (rows_of(r, "models.current")[-1] for r in (run, never))
    for name in ("weights", "calibration_a", "calibration_b", "base_rate", "labels_learned"):
        assert last[name] == same[name], name
    (change,) = rows_of(run, "models.lifecycle")
    assert change["action"] == "relearned"
    figures = dict(change["figures"])
    assert (figures["taken_back"], figures["too_old"]) == (1, 0)
    assert figures["largest_weight_change"] > 0
    assert not rows_of(never, "models.lifecycle")
    judged = [
        list(zip(*(c.rows().column(n).tolist() for n in ("event_id", "positive")), strict=True))
        for c in (labels, plain)
    ]
    assert judged[0] == judged[1]
    assert (labels.retracted, plain.retracted) == (1, 0)


def test_a_won_and_its_end_in_one_epoch_are_never_learned_and_need_no_learning_anew() -> None:
    rows = [
        event("a", 1),
        event("end", 1, START + 1, "won"),
        event("back", 1, START + 2, "won_cancelled"),
    ]
    run, labels = learned([*rows, tick(day(7))])
    assert rows_of(run, "models.current")[-1]["labels_learned"] == 1
    assert not rows_of(run, "models.lifecycle")
    assert labels.rows().column("positive").tolist() == [False]
