"""A label that is taken back leaves no trace in the models, and what that changed is published."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_support import FIRST, Learning, epoch_end, label
from scoring_support import config, restored, rows_of

from models.workspaces import OnlineSettings
from streams.engine.changelog import ChangeRecords

SMALL = config("acme", training_window=100, online=OnlineSettings(model="mean"))
MODELS = ("weights", "calibration_a", "calibration_b", "base_rate", "labels_learned")


def retraction(number: int, epoch: int, of: int = FIRST) -> dict[str, Any]:
    taken = {"record_kind": "retraction", "outcome": "retracted", "epoch": epoch}
    return {**label(number, of), **taken}


def stream(epochs: int, size: int) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(epochs):
        rows += [label(epoch * size + n, FIRST + epoch) for n in range(size)]
        rows.append(epoch_end(FIRST + epoch))
    return rows


def last(run: Learning) -> dict[str, Any]:
    return run.weights()[-1]


def events(run: Learning) -> list[dict[str, Any]]:
    return [{**e, "figures": dict(e["figures"])} for e in rows_of(run.out, "models.lifecycle")]


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(120, 239), min_size=1, max_size=5), st.integers(0, 3))
def test_un_learning_is_as_if_it_had_never_been_learned(taken: set[int], restart: int) -> None:
    never = Learning(SMALL)
    never.feed(*(r for r in stream(6, 40) if r["label_id"] not in {str(n) for n in taken}))
    run, log = Learning(SMALL), ChangeRecords()
    for part in np.array_split(np.array(stream(6, 40), object), restart + 1):
        run.feed(*part)
        if restart:
            run.state = restored(run.processor, run.state, log)
    assert last(run)["weights"] != last(never)["weights"]
    of = {n: FIRST + n // 40 for n in taken}
    run.feed(*(retraction(n, FIRST + 6, of[n]) for n in sorted(taken)), epoch_end(FIRST + 6))
    for name in MODELS:
        assert last(run)[name] == last(never)[name], name
    (event,) = events(run)
    assert event["action"] == "relearned"
    assert event["figures"]["taken_back"] == len(taken)
    assert event["figures"]["largest_weight_change"] > 0
    after = [label(n, FIRST + 7) for n in range(300, 400)]
    for each in (run, never):
        each.feed(*after, epoch_end(FIRST + 7))
    assert last(run)["weights"] == last(never)["weights"]


def test_a_label_taken_back_in_its_own_epoch_is_never_learned() -> None:
    run, never = Learning(SMALL), Learning(SMALL)
    run.feed(label(1), label(2), retraction(1, FIRST), epoch_end())
    never.feed(label(2), epoch_end())
    assert last(run)["weights"] == last(never)["weights"]


def test_a_label_that_left_the_window_stays_and_that_is_said() -> None:
    run = Learning(SMALL)
    run.feed(*stream(10, 40))
    before = last(run)["weights"]
    run.feed(retraction(3, FIRST + 10), epoch_end(FIRST + 10))
    assert last(run)["weights"] == before
    assert events(run)[0]["figures"] == {"taken_back": 0.0, "too_old": 1.0}


def test_live_figures_forget_it_as_well() -> None:
    run, never = Learning(SMALL), Learning(SMALL)
    run.feed(*stream(3, 40))
    run.feed(retraction(100, FIRST + 3, FIRST + 2), epoch_end(FIRST + 3))
    never.feed(*(r for r in stream(3, 40) if r["label_id"] != "100"))
    for name in ("labels", "window_labels", "positives", "auc", "log_loss", "ece"):
        assert run.metrics()[-1][name] == pytest.approx(never.metrics()[-1][name]), name


def test_another_online_model_begins_with_the_labels_of_the_window() -> None:
    run, log = Learning(SMALL), ChangeRecords()
    run.feed(*stream(3, 30))
    changed = config("acme", training_window=100)
    state = restored(run.processor, run.state, log)
    other = Learning(changed)
    other.state = restored(other.processor, state, log)
    other.feed(epoch_end(FIRST + 3))
    fresh = Learning(changed)
    fresh.feed(*stream(3, 30), epoch_end(FIRST + 3))
    assert last(other)["weights"] == last(fresh)["weights"]
    assert last(other)["version"] == last(run)["version"] + 1


def test_state_of_an_older_program_begins_with_the_window_and_versions_go_on() -> None:
    run = Learning(SMALL)
    run.feed(*stream(3, 30))
    name = "learner/acme/conversion"
    stored = run.state.blobs.get(name)
    assert stored is not None
    old = msgspec.msgpack.decode(stored)
    del old["members"], old["young"]
    run.state.blobs.put(name, msgspec.msgpack.encode(old))
    later = Learning(SMALL)
    later.state = restored(later.processor, run.state, ChangeRecords())
    later.feed(epoch_end(FIRST + 3))
    assert last(later)["weights"] == last(run)["weights"]
    assert last(later)["version"] == last(run)["version"] + 1
