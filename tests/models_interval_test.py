"""Intervals on probabilities: Venn–Abers against its definition, valid by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import AffineCalibration, sigmoid
from models.calibration.interval import VennAbers


def isotonic_at(pairs: list[tuple[float, bool]], logit: float) -> float:
    """Isotonic regression's value at a logit of the pairs: max over starts, min over ends."""
    values = sorted({x for x, _ in pairs})
    at = values.index(logit)
    groups = [[y for x, y in pairs if x == value] for value in values]
    best = -1.0
    for start in range(at + 1):
        means = []
        for end in range(at, len(groups)):
            flat = [y for group in groups[start : end + 1] for y in group]
            means.append(sum(flat) / len(flat))
        best = max(best, min(means))
    return best


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-4, 4).map(float), st.booleans()), min_size=1, max_size=14),
    st.integers(3, 9),
)
def test_the_curves_are_isotonic_regressions_with_the_score_added(
    pairs: list[tuple[float, bool]], size: int
) -> None:
    interval = VennAbers()
    interval.learn(np.array([x for x, _ in pairs]), np.array([y for _, y in pairs]))
    table = interval.table(size)
    for place, logit in enumerate(table.grid.tolist()):
        low = isotonic_at([*pairs, (logit, False)], logit)
        high = isotonic_at([*pairs, (logit, True)], logit)
        assert table.p0[place] == pytest.approx(low, abs=1e-12)
        assert table.p1[place] == pytest.approx(high, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.booleans()), max_size=60),
    st.lists(st.floats(-30, 30), min_size=1, max_size=30),
)
def test_intervals_rise_with_the_logit_and_hold_the_probability(
    pairs: list[tuple[float, bool]], asked: list[float]
) -> None:
    interval = VennAbers()
    interval.learn(np.array([x for x, _ in pairs]), np.array([y for _, y in pairs], np.bool_))
    logits = np.sort(np.array(asked))
    said = sigmoid(logits)
    low, high = interval.table().apply(logits, said)
    assert (low <= said).all()
    assert (said <= high).all()
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
    assert low.min() >= 0
    assert high.max() <= 1


def test_few_labels_leave_it_wide_and_many_make_it_narrow() -> None:
    generator = np.random.default_rng(0)
    interval, widths = VennAbers(), []
    asked = np.linspace(-3, 1, 50)
    low, high = interval.table().apply(asked, np.full(50, 0.3))
    assert (low == 0).all()
    assert (high == 1).all()
    for count in (20, 180, 4_800):
        logits = generator.normal(-1, 1, count)
        interval.learn(logits, generator.random(count) < sigmoid(logits))
        table = interval.table()
        widths.append(float((table.p1 - table.p0).mean()))
    assert widths[0] > 0.15
    assert widths[0] > 3 * widths[1] > 9 * widths[2]


@pytest.mark.parametrize("distorted", [lambda z: z, lambda z: 2 * z + 1, lambda z: z**3 / 9])
def test_one_of_both_ends_is_calibrated_whatever_the_model(distorted) -> None:
    """Vovk & Petej, theorem 1: of p0 and p1 the one that the outcome selects is calibrated."""
    generator = np.random.default_rng(1)
    selected, came = [], []
    for _ in range(300):
        truth = generator.normal(-0.5, 1.5, 1_000)
        outcomes = generator.random(1_000) < sigmoid(truth)
        logits = distorted(truth)
        interval = VennAbers()
        interval.learn(logits[:400], outcomes[:400])
        table = interval.table()
        p0 = np.interp(logits[400:], table.grid, table.p0)
        p1 = np.interp(logits[400:], table.grid, table.p1)
        selected.append(np.where(outcomes[400:], p1, p0))
        came.append(outcomes[400:])
    p, y = np.concatenate(selected), np.concatenate(came)
    for part in np.array_split(np.argsort(p), 8):
        assert y[part].mean() == pytest.approx(p[part].mean(), abs=0.015)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=4))
def test_cuts_and_restarts_change_no_bit(places: list[int]) -> None:
    generator = np.random.default_rng(2)
    logits, outcomes = generator.normal(size=200), generator.random(200) < 0.3
    whole, cut = VennAbers(64), VennAbers(64)
    whole.learn(logits, outcomes)
    for part in np.split(np.arange(200), sorted(places)):
        cut.learn(logits[part], outcomes[part])
        again = VennAbers()
        again.restore(cut.snapshot())
        cut = again
    only = VennAbers()
    only.learn(logits[-64:], outcomes[-64:])
    assert cut.table().p1.tobytes() == whole.table().p1.tobytes() == only.table().p1.tobytes()
    with pytest.raises(ValueError, match="expected 'venn_abers'"):
        VennAbers().restore(AffineCalibration().snapshot())
