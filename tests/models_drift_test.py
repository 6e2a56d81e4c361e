"""Histograms that add up, drift measures against chance, alarms once, ADWIN equal to river's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN
from scipy.stats import chi2

from models.evaluation import drift
from models.evaluation.adwin import Adwin
from models.evaluation.histograms import (
    BINS,
    LOGIT_BINS,
    MISSING,
    Counts,
    FeatureBins,
    count_logits,
    counts_of,
    no_counts,
)
from models.evaluation.monitor import DriftMonitor, LossMonitor
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Transform

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age", transform=Transform("standard", 40.0, 10.0)),
        Attribute("income", "numeric", "numbers.income", transform=Transform("log1p", 8.0, 2.0)),
        Attribute("rate", "numeric", "numbers.rate"),
        Attribute("job", "categorical", "texts.job", values=("nurse", "clerk"), buckets=40),
    ),
    Behaviour(("demo",), (7.0,)),
)
COLUMNS = len(CATALOGUE.columns)


def rows_of(seed: int, count: int, older: float = 0.0) -> np.ndarray:
    """Feature rows; `older` moves the ages."""
    generator = np.random.default_rng(seed)
    rows = generator.gamma(1.0, 3.0, (count, COLUMNS)).astype(np.float32)
    rows[:, 0] = generator.normal(40 + older, 10, count)
    rows[:, 3] = generator.integers(0, 42, count)
    rows[generator.random((count, COLUMNS)) < 0.1] = np.nan
    return rows


def plain_bin(column: int, value: float) -> int:
    """The bin as the module's words define it, by the model input."""
    if math.isnan(value):
        return MISSING
    if column == 3:
        return int(value) % 16 if 0 <= int(value) < 42 else MISSING
    transforms = {0: (False, 40.0, 10.0), 1: (True, 8.0, 2.0), 2: (False, 0.0, 1.0)}
    log, center, scale = transforms.get(column, (True, 0.0, 1.0))
    v = (math.copysign(math.log1p(abs(value)), value) if log else value) - center
    v = min(max(v / scale, -10.0), 10.0)
    low, high = (-10 / 11, 10 / 11) if column < 4 else (0.0, 10 / 11)
    place = (v / (1 + abs(v)) - low) / (high - low) * 16
    return min(max(int(place), 0), 15)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.floats(-5_000, 5_000, width=32) | st.integers(-3, 50).map(float) | st.just(math.nan),
            min_size=COLUMNS,
            max_size=COLUMNS,
        ),
        max_size=8,
    )
)
def test_rows_are_counted_in_the_bin_of_their_model_input(values: list[list[float]]) -> None:
    rows = np.array(values, np.float32).reshape(-1, COLUMNS)
    bins = FeatureBins(CATALOGUE)
    counts = bins.zeros()
    bins.count(rows, counts)
    assert counts.sum(axis=1).tolist() == [len(rows)] * COLUMNS
    found = np.zeros_like(counts)
    for row in rows:
        for column, value in enumerate(row):
            place = plain_bin(column, float(value))
            beyond = place not in (0, MISSING) and value < bins.edges[column, place - 1]
            found[column, place - beyond] += 1  # on an edge within float32
            edge = 0 < place < 15 and column != 3 and value >= bins.edges[column, place]
            found[column, place] -= edge
            found[column, place + edge] += edge
    assert found.tolist() == counts.tolist()


def test_edges_part_where_counts_are_small_and_leave_nothing_out() -> None:
    bins = FeatureBins(CATALOGUE)
    assert bins.edges.shape == (COLUMNS, BINS - 2)
    assert (np.diff(bins.edges, axis=1)[bins.categories == 0] > 0).all()
    events = np.zeros((6, COLUMNS), np.float32)
    events[:, 4] = [0, 1, 2, 3, 6, 100]  # demo.count
    counts = bins.zeros()
    bins.count(events, counts)
    assert counts[4].max() == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=4))
def test_counts_of_parts_add_up_to_the_counts_of_all(places: list[int]) -> None:
    rows, logits = rows_of(0, 200), np.random.default_rng(1).normal(0, 6, 200)
    bins = FeatureBins(CATALOGUE)
    total = no_counts(bins)
    for part in np.split(np.arange(200), sorted(places)):
        total = total + Counts.unpack(
            counts_of(bins, rows[part], logits[part]).pack(CATALOGUE), CATALOGUE
        )
    assert total.pack(CATALOGUE) == counts_of(bins, rows, logits).pack(CATALOGUE)
    assert total.rows == 200


def test_counts_of_another_catalogue_are_refused() -> None:
    bins = FeatureBins(CATALOGUE)
    other = FeatureCatalogue(1, CATALOGUE.attributes[:1], CATALOGUE.behaviour)
    with pytest.raises(ValueError, match="another feature catalogue"):
        Counts.unpack(no_counts(bins).pack(CATALOGUE), other)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-160, 160), max_size=50))
def test_logits_are_counted_as_by_numpy(eighths: list[int]) -> None:
    values = np.array(eighths, np.float64) / 8
    counts = np.zeros(LOGIT_BINS, np.int64)
    count_logits(values, counts)
    expected = np.histogram(np.clip(values, -8, 8), np.linspace(-8, 8, 65))[0]
    assert counts.tolist() == expected.tolist()
    count_logits(np.array([np.nan]), counts)
    assert counts.sum() == len(values)


def test_psi_and_ks_of_known_shifts() -> None:
    same = np.array([100, 300, 600])
    assert drift.psi(same, same * 7) == pytest.approx(0, abs=1e-4)
    moved = np.array([600, 300, 100])
    assert drift.psi(same, moved) == pytest.approx(2 * 0.5 * math.log(6), abs=0.01)
    assert drift.ks(same, moved) == pytest.approx(0.5)
    assert drift.psi(same, np.zeros(3, np.int64)) == 0
    assert drift.ks(same, np.zeros(3, np.int64)) is None


@pytest.mark.parametrize("freedom", [1, 2, 5, 16, 63])
def test_the_chi_square_quantile_is_close(freedom: int) -> None:
    for share in (0.99, 0.999, 0.99999):
        ratio = drift._chi_square_quantile(freedom, share) / chi2.ppf(share, freedom)
        assert 0.98 < ratio < (1.04 if freedom > 4 else 1.15)


@pytest.mark.parametrize("rows", [100, 400, 3_000])
def test_without_drift_chance_alone_raises_no_alarm(rows: int) -> None:
    bins = FeatureBins(CATALOGUE)
    raised = 0
    for seed in range(60):
        logits = np.random.default_rng(seed).normal(-2, 1, 5_000 + rows)
        every = rows_of(seed, 5_000 + rows)
        monitor = DriftMonitor(bins, counts_of(bins, every[:5_000], logits[:5_000]))
        monitor.add(0, counts_of(bins, every[5_000:], logits[5_000:]))
        raised += len(monitor.check())
    assert raised == 0


def test_psi_without_drift_stays_below_its_quantile_as_often_as_promised() -> None:
    generator = np.random.default_rng(3)
    shares = generator.dirichlet(np.full(12, 3.0))
    over = 0
    for _ in range(2_000):
        p, q = generator.multinomial(4_000, shares), generator.multinomial(700, shares)
        over += drift.psi(p, q) > drift.psi_by_chance(p, q, 0.05)
    assert 0.02 < over / 2_000 < 0.08


def test_a_drift_is_told_once_with_the_feature_and_cleared_once() -> None:
    bins = FeatureBins(CATALOGUE)
    logits = np.random.default_rng(0).normal(-2, 1, 2_000)
    reference = counts_of(bins, rows_of(0, 2_000), logits)
    monitor = DriftMonitor(bins, reference, epochs=3)
    told = []
    for epoch in range(14):
        older = 12.0 if 4 <= epoch < 8 else 0.0
        for part in range(2):  # two partitions
            rows = rows_of(100 + 2 * epoch + part, 500, older)
            monitor.add(epoch, counts_of(bins, rows, logits[:500] + older / 6))
        again = DriftMonitor(bins, no_counts(bins))
        again.restore(monitor.snapshot())
        monitor = again
        told += [(epoch, a.kind, a.feature, a.raised) for a in monitor.check()]
    assert sorted(told, key=lambda t: (t[1], t[0])) == [
        (told[0][0], "feature_drift", "age", True),
        (told[-1][0], "feature_drift", "age", False),
        (told[0][0], "prediction_drift", None, True),
        (told[-1][0], "prediction_drift", None, False),
    ]
    assert 4 <= told[0][0] <= 5
    assert 8 <= told[-1][0] <= 10
    assert monitor.raised == ()


def test_an_alarm_says_what_was_measured_against_what() -> None:
    bins = FeatureBins(CATALOGUE)
    monitor = DriftMonitor(bins, counts_of(bins, rows_of(0, 2_000), np.zeros(2_000)))
    monitor.add(0, counts_of(bins, rows_of(1, 1_000, 25.0), np.zeros(1_000)))
    (alarm,) = monitor.check()
    assert alarm.value > alarm.limit
    assert alarm.words.startswith("feature age drifted from the training window: ")
    assert "1,000 rows against 2,000" in alarm.words
    assert monitor.check() == []


def test_rows_of_the_same_leads_count_less() -> None:
    bins = FeatureBins(CATALOGUE)
    reference = counts_of(bins, rows_of(0, 5_000), np.zeros(5_000))
    few = counts_of(bins, rows_of(1, 40), np.zeros(40))
    repeated = Counts(few.features * 50, few.logits * 50)
    assert drift.feature_drifts(bins, reference, repeated)[0].drifted
    assert not drift.feature_drifts(bins, reference, repeated, design_effect=50.0)[0].drifted


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 700), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5
    ),
    st.integers(0, 99),
    st.sampled_from([0.002, 0.05, 0.3]),
    st.lists(st.integers(0, 2_000), max_size=3),
)
def test_adwin_is_rivers(
    stretches: list[tuple[int, float, float]], seed: int, delta: float, places: list[int]
) -> None:
    generator = np.random.default_rng(seed)
    values = np.concatenate(
        [low + (high - low) * generator.random(count) for count, low, high in stretches]
    )
    slow, found, widths = ADWIN(delta), [], []
    for place, value in enumerate(values.tolist()):
        slow.update(value)
        if slow.drift_detected:
            found.append(place)
        widths.append(slow.width)
    mine, got, done = Adwin(delta), [], 0
    for part in np.split(values, sorted(min(p, len(values)) for p in places)):
        got += [done + change.place for change in mine.update(part)]
        done += len(part)
        again = Adwin()
        again.restore(mine.snapshot())
        mine = again
    assert got == found
    assert mine.width == widths[-1]
    assert mine.mean == pytest.approx(slow.estimation, abs=1e-12)
    assert mine.detections == len(found)


def stream(seed: int, count: int, b: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(-1, 1, count)
    return logits, generator.random(count) < 1 / (1 + np.exp(-(logits + b)))


def test_a_rising_loss_is_told_once_and_cleared_when_it_stays() -> None:
    quiet, shifted = stream(0, 6_000, 0.0), stream(1, 6_000, 3.0)
    monitor = LossMonitor()
    assert monitor.learn(*quiet) == []
    raised, cleared = monitor.learn(*shifted)
    assert raised.raised
    assert raised.kind == "loss_drift"
    assert raised.value > raised.limit
    assert not cleared.raised
    assert not monitor.raised
    assert monitor.learn(*stream(2, 6_000, 0.0)) == []  # it falls: no alarm


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5_000), max_size=5))
def test_loss_alarms_do_not_depend_on_cuts_or_restarts(places: list[int]) -> None:
    parts = [stream(0, 2_000, 0.0), stream(1, 2_600, 2.5), stream(2, 400, -2.0)]
    logits, outcomes = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    whole, cut, alarms = LossMonitor(), LossMonitor(), []
    expected = whole.learn(logits, outcomes)
    for part in np.split(np.arange(5_000), sorted(places)):
        alarms += cut.learn(logits[part], outcomes[part])
        again = LossMonitor()
        again.restore(cut.snapshot())
        cut = again
    assert alarms == expected
    assert [a.raised for a in alarms[:2]] == [True, False]
    assert cut.snapshot() == whole.snapshot()
