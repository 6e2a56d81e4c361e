"""Under ``barrier`` what was learned depends on the labels alone, not on how they came."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_support import ACME, FIRST, Learning, epoch_end, label
from scoring_support import config, contents, lead, restored, target

from models.workspaces import OnlineSettings
from streams.engine.changelog import ChangeRecords
from streams.engine.errors import ConfigurationError

EPOCHS = 4
LEADS = 9


def _labels() -> list[dict[str, Any]]:
    """Several labels a lead, some of one lead at the very same times: only their order differs."""
    rows = []
    for number in range(40):
        who = lead(number % LEADS)
        rows.append(label(number, FIRST + number * EPOCHS // 40, lead_id=who))
        if number % 4 == 0:
            same = {k: rows[-1][k] for k in ("resolved_at", "row_time", "lead_id", "epoch")}
            rows.append({**label(1000 + number), **same})
    return rows


LABELS = _labels()


def logs(partitions: int) -> list[list[dict[str, Any]]]:
    """What each partition's scoring task writes: labels of an epoch, then its end."""
    found = []
    for partition in range(partitions):
        mine = [r for r in LABELS if int(r["lead_id"][:4], 16) % partitions == partition]
        log = []
        for epoch in range(FIRST, FIRST + EPOCHS):
            log += [
                {**r, "timeline_partition": partition, "timeline_partitions": partitions}
                for r in mine
                if r["epoch"] == epoch
            ]
            log.append(epoch_end(epoch, partition, partitions))
        found.append(log)
    return found


def exact(rows: list[dict[str, Any]]) -> list[str]:
    return [repr(row) for row in rows]


REFERENCE = Learning().cut(logs(1)[0], [])


def test_the_reference_learned_every_label_in_one_version_an_epoch() -> None:
    assert [w["epoch"] for w in REFERENCE.weights()] == list(range(FIRST, FIRST + EPOCHS))
    assert [w["version"] for w in REFERENCE.weights()] == [1, 2, 3, 4]
    assert REFERENCE.weights()[-1]["labels_learned"] == len(LABELS)
    assert exact(REFERENCE.weights()) == exact(REFERENCE.weights("models.history"))
    assert {w["key"] for w in REFERENCE.weights()} == {"acme/conversion/online"}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_partitions_arrival_and_batches_do_not_matter(data: st.DataObject) -> None:
    partitions = data.draw(st.sampled_from([1, 2, 3, 4]))
    turns = [p for p, log in enumerate(logs(partitions)) for _ in log]
    order = data.draw(st.permutations(turns))
    waiting = [iter(log) for log in logs(partitions)]
    rows = [next(waiting[p]) for p in order]
    cuts = data.draw(st.sets(st.integers(1, len(rows) - 1), max_size=8))
    run = Learning().cut(rows, sorted(cuts))
    assert exact(run.weights()) == exact(REFERENCE.weights())
    assert exact(run.metrics()) == exact(REFERENCE.metrics())


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(1, len(logs(1)[0]) - 1), max_size=6))
def test_a_restart_goes_on_bit_for_bit(places: set[int]) -> None:
    rows, run, log = logs(1)[0], Learning(), ChangeRecords()
    for start, stop in zip([0, *sorted(places)], [*sorted(places), len(rows)], strict=True):
        run.feed(*rows[start:stop])
        run.state = restored(run.processor, run.state, log)
    assert exact(run.weights()) == exact(REFERENCE.weights())
    assert exact(run.metrics()) == exact(REFERENCE.metrics())
    assert contents(run.state) == contents(REFERENCE.state)


def test_nothing_is_learned_before_all_partitions_have_ended_the_epoch() -> None:
    run = Learning()
    run.feed(label(1), epoch_end(FIRST, 0, 3), epoch_end(FIRST, 2, 3), epoch_end(FIRST, 0, 3))
    assert not run.weights()
    run.feed(label(2, FIRST + 1), epoch_end(FIRST, 1, 3))
    (weights,) = run.weights()
    assert weights["labels_learned"] == 1  # the next epoch's label still waits


def test_an_epoch_without_labels_gives_a_version_all_the_same() -> None:
    run = Learning()
    run.feed(epoch_end(FIRST), epoch_end(FIRST + 1))
    first, second = run.weights()
    assert (first["version"], second["version"]) == (1, 2)
    assert (second["epoch"], second["labels_learned"]) == (FIRST + 1, 0)
    assert first["weights"] == second["weights"] == [0.0] * len(first["weights"])
    assert (second["base_rate"], second["quantiles"], second["learned_until"]) == (0.5, [], None)
    assert [m["auc"] for m in run.metrics()] == [None, None]


def test_labels_of_skipped_epochs_are_learned_at_the_next_end() -> None:
    run = Learning()
    run.feed(label(1, FIRST), label(2, FIRST + 3), epoch_end(FIRST + 5))
    (weights,) = run.weights()
    assert weights["labels_learned"] == 2


@pytest.mark.parametrize("positive", [True, False])
def test_labels_of_one_class_only_are_learned_without_harm(positive: bool) -> None:
    run = Learning()
    rows = [label(n, positive=positive) for n in range(300)]
    run.feed(*rows, epoch_end())
    (weights,), (metrics,) = run.weights(), run.metrics()
    assert all(abs(w) < 100 for w in weights["weights"])
    assert 0.1 <= weights["calibration_a"] <= 3
    assert weights["base_rate"] == (301 if positive else 1) / 302
    assert metrics["auc"] is None
    assert metrics["log_loss"] > 0


def test_unknown_targets_are_refused_and_the_others_learned() -> None:
    run = Learning()
    made = run.feed(
        label(1), label(2, target="churn"), label(3, workspace="nobody"), label(4), epoch_end()
    )
    assert [(r.row, r.error_class) for r in made.rejections] == [
        (1, "UnknownTarget"),
        (2, "UnknownTarget"),
    ]
    assert "'churn'" in made.rejections[0].message
    assert run.weights()[0]["labels_learned"] == 2


def test_targets_learn_apart() -> None:
    both = Learning(config("acme", target(), target("upsell")), config("shop"))
    both.feed(label(1), label(2, target="upsell"), epoch_end(), epoch_end(target="upsell"))
    assert [(w["target"], w["labels_learned"]) for w in both.weights()] == [
        ("conversion", 1),
        ("upsell", 1),
    ]


def test_labels_of_another_catalogue_are_not_learned() -> None:
    run = Learning()
    foreign = label(2, catalogue_version="9-abcdefabcdef", features=[1.0])
    run.feed(label(1), foreign, epoch_end())
    (weights,) = run.weights()
    assert weights["labels_learned"] == 1


def test_after_a_change_of_the_model_learning_begins_anew_and_versions_go_on() -> None:
    run = Learning()
    run.feed(label(1), epoch_end())
    changed = Learning(config(online=OnlineSettings(model="river_ftrl")))
    changed.state = restored(changed.processor, run.state, ChangeRecords())
    changed.feed(label(2, FIRST + 1), epoch_end(FIRST + 1))
    (weights,) = changed.weights()
    assert (weights["version"], weights["labels_learned"]) == (2, 2)  # the window is learned again


@pytest.mark.parametrize("model", ["tree.HoeffdingTreeClassifier", "no.SuchModel"])
def test_a_model_that_scoring_could_not_use_is_refused_at_the_start(model: str) -> None:
    with pytest.raises(ConfigurationError, match=r"acme.*online\.model"):
        Learning(config(online=OnlineSettings(model=model)))


def test_an_empty_batch_is_no_event() -> None:
    assert not Learning().feed().records
    assert ACME.name == "acme"


@pytest.mark.parametrize(("before", "after"), [(None, "GaussianNB"), ("GaussianNB", "BernoulliNB")])
def test_another_river_model_begins_anew_and_unlearns(before: str | None, after: str) -> None:
    rows = [label(n) for n in range(60)]
    old, new = (OnlineSettings(river=m and f"naive_bayes.{m}") for m in (before, after))
    run = Learning(config(online=old))
    run.feed(*rows, epoch_end())
    changed = Learning(config(online=new))
    changed.state = restored(changed.processor, run.state, ChangeRecords())
    back = {**label(3, FIRST + 1), "record_kind": "retraction", "label_id": "3"}
    changed.feed(back, epoch_end(FIRST + 1))
    fresh = Learning(config(online=new))
    fresh.feed(*[r for r in rows if r["label_id"] != "3"], epoch_end())
    assert changed.weights()[-1]["version"] == 2
    assert changed.weights()[-1]["weights"] == fresh.weights()[-1]["weights"]
    assert changed.weights()[-1]["river_model"] == fresh.weights()[-1]["river_model"]
