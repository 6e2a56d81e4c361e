"""Figures before labels come, compared with the truth later; figures by segment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import sigmoid
from models.evaluation import metrics
from models.evaluation.estimate import EstimateLedger, expected_figures, mean_error
from models.evaluation.histograms import LOGIT_BINS, count_logits
from models.evaluation.segments import (
    LiveSegments,
    segment_codes,
    segment_figures,
    segment_names,
    worst_segment,
)
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue


def counted(logits: np.ndarray) -> np.ndarray:
    counts = np.zeros(LOGIT_BINS, np.int64)
    count_logits(logits, counts)
    return counts


@pytest.mark.parametrize(("mean", "spread"), [(-2.0, 1.0), (0.0, 2.0), (-3.5, 0.6)])
def test_expected_figures_are_those_that_come(mean: float, spread: float) -> None:
    generator = np.random.default_rng(0)
    logits = np.sort(generator.normal(mean, spread, 100_000))
    p = sigmoid(logits)
    said = expected_figures(counted(logits))
    assert said.rows == len(logits)
    below = np.cumsum(1 - p) - (1 - p)
    assert said.auc == pytest.approx((p * below).sum() / (p.sum() * (1 - p).sum()), abs=0.0003)
    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    assert said.log_loss == pytest.approx(entropy.mean(), abs=0.0005)
    assert said.brier == pytest.approx((p * (1 - p)).mean(), abs=0.0003)
    assert said.base_rate == pytest.approx(p.mean(), abs=0.0003)
    came = metrics.figures(generator.random(len(p)) < p, p)
    assert said.auc == pytest.approx(came.auc, abs=0.015)
    assert said.log_loss == pytest.approx(came.log_loss, abs=0.005)


def test_the_range_of_the_expected_loss_holds_95_percent() -> None:
    generator = np.random.default_rng(1)
    within = 0
    for _ in range(400):
        logits = generator.normal(-1.5, 1.2, 500)
        came = metrics.log_loss(generator.random(500) < sigmoid(logits), sigmoid(logits))
        low, high = expected_figures(counted(logits)).log_loss_range or (0, 0)
        within += low <= came <= high
    assert 0.92 <= within / 400 <= 0.98


def test_of_nothing_nothing_is_expected() -> None:
    none = expected_figures(np.zeros(LOGIT_BINS, np.int64))
    assert (none.rows, none.auc, none.log_loss, none.brier) == (0, None, None, None)


def test_an_estimate_is_compared_with_the_truth_of_its_epoch() -> None:
    generator = np.random.default_rng(2)
    ledger = EstimateLedger()
    for epoch in range(3):
        logits = generator.normal(-1, 1, 4_000)
        ledger.add_scored(epoch, counted(logits[:1_000]))
        ledger.add_scored(epoch, counted(logits[1_000:]))
        harder = 1.5 if epoch == 1 else 0.0  # in epoch 1 the model is wrong
        outcomes = generator.random(4_000) < sigmoid(logits + harder)
        labelled = 4_000 if epoch < 2 else 1_000
        again = EstimateLedger()
        again.restore(ledger.snapshot())
        ledger = again
        ledger.add_labels(np.full(labelled, epoch), logits[:labelled], outcomes[:labelled])
    good, bad = ledger.comparisons()
    assert [good.epoch, bad.epoch] == [0, 1]
    assert abs(good.error("log_loss") or 1) < 0.02
    assert abs(good.error("auc") or 1) < 0.02
    assert (bad.error("log_loss") or 0) < -0.2
    low, high = bad.expected.log_loss_range or (0, 0)
    assert not low <= (bad.came.log_loss or 0) <= high
    error = mean_error([good, bad], "log_loss")
    assert error == pytest.approx((abs(good.error("log_loss")) + abs(bad.error("log_loss"))) / 2)
    assert ledger.estimate().rows == 3_000
    assert ledger.estimate(epochs=1).rows == 3_000
    assert mean_error([], "auc") is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=4))
def test_labels_may_come_in_any_cut_and_before_their_epochs_counts(places: list[int]) -> None:
    generator = np.random.default_rng(3)
    epochs, logits = generator.integers(0, 6, 300), generator.normal(0, 5, 300)
    outcomes = generator.random(300) < 0.5
    whole, cut = EstimateLedger(4), EstimateLedger(4)
    for epoch in range(6):
        whole.add_scored(epoch, counted(logits[epochs == epoch]))
    whole.add_labels(epochs, logits, outcomes)
    for part in np.split(np.arange(300), sorted(places)):
        cut.add_labels(epochs[part], logits[part], outcomes[part])
    for epoch in range(6):  # after the labels
        cut.add_scored(epoch, counted(logits[epochs == epoch]))
    assert cut.snapshot() == whole.snapshot()
    assert [c.epoch for c in whole.comparisons()] == [2, 3, 4, 5]
    assert sum(c.labels for c in whole.comparisons()) == int((epochs >= 2).sum())
    whole.add_scored(1, counted(logits))  # too old
    assert cut.snapshot() == whole.snapshot()


CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age"),
        Attribute("source", "categorical", "texts.source", values=("ads", "fair"), buckets=4),
    ),
    Behaviour(),
)


def test_segments_are_the_categories_of_a_column() -> None:
    rows = np.zeros((7, len(CATALOGUE.columns)), np.float32)
    rows[:, 1] = [0, 1, 2, 5, np.nan, -1, 0]
    names = segment_names(CATALOGUE, "source")
    assert [names[code] for code in segment_codes(CATALOGUE, "source", rows)] == [
        "ads", "fair", "another value", "another value", "not known", "not known", "ads",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"no categorical attribute.* one of source"):
        segment_names(CATALOGUE, "age")


def test_the_segment_that_is_said_wrong_stands_out() -> None:
    generator = np.random.default_rng(4)
    logits = generator.normal(-1, 1, 15_000)
    codes = generator.choice(4, 15_000, p=[0.5, 0.3, 0.15, 0.05]).astype(np.int32)
    outcomes = generator.random(15_000) < sigmoid(logits + np.where(codes == 1, 0.8, 0.0))
    found = segment_figures(outcomes, sigmoid(logits), codes, segment_names(CATALOGUE, "source"))
    assert [s.name for s in found] == ["ads", "fair", "another value", "not known"]
    assert [s.calibrated for s in found] == [True, False, True, True]
    assert found[0].ece_limit == 0.02
    mine = codes == 2
    assert found[2].ece_limit == metrics.ece_of_perfect(sigmoid(logits[mine]))
    assert found[2].came == pytest.approx(outcomes[mine].mean())
    assert found[2].log_loss == pytest.approx(
        metrics.log_loss(outcomes[mine], sigmoid(logits[mine]))
    )
    worst = worst_segment(found)
    assert worst is not None
    assert worst.name == "fair"
    assert worst_segment(found, least=99_999) is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 90), max_size=4))
def test_live_segments_are_those_of_the_last_labels(places: list[int]) -> None:
    generator = np.random.default_rng(5)
    logits, outcomes = generator.normal(size=90), generator.random(90) < 0.4
    codes = generator.integers(0, 3, 90).astype(np.int32)
    names = ("a", "b", "c")
    live = LiveSegments(names, window=32)
    for part in np.split(np.arange(90), sorted(places)):
        live.add(logits[part], outcomes[part], codes[part])
        again = LiveSegments(names)
        again.restore(live.snapshot())
        live = again
    last = slice(-32, None)
    expected = segment_figures(outcomes[last], sigmoid(logits[last]), codes[last], names)
    for mine, slow in zip(live.figures(), expected, strict=True):
        assert (mine.name, mine.labels) == (slow.name, slow.labels)
        assert mine.log_loss == pytest.approx(slow.log_loss, abs=1e-12)
    with pytest.raises(ValueError, match="other segments"):
        LiveSegments(("x",)).restore(live.snapshot())
