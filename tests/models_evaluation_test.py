"""Metrics against brute force, live windows across restarts, and a report that stands alone."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import sigmoid
from models.evaluation import metrics
from models.evaluation.drift import Drift
from models.evaluation.estimate import EstimateLedger
from models.evaluation.histograms import count_logits
from models.evaluation.prequential import LiveMetrics
from models.evaluation.report import Evaluation, render_report
from models.evaluation.segments import segment_figures
from models.evaluation.summary import sentences

labelled = st.lists(
    st.tuples(st.booleans(), st.integers(0, 8).map(lambda p: p / 8)), min_size=1, max_size=40
)


def split(rows: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])


@settings(max_examples=150, deadline=None)
@given(labelled)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[bool, float]]) -> None:
    won = [p for outcome, p in rows if outcome]
    lost = [p for outcome, p in rows if not outcome]
    found = metrics.auc(*split(rows))
    if not won or not lost:
        assert found is None
        return
    pairs = [(w > other) + (w == other) / 2 for w in won for other in lost]
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(labelled)
def test_average_precision_steps_over_thresholds(rows: list[tuple[bool, float]]) -> None:
    positives = sum(outcome for outcome, _ in rows)
    found = metrics.average_precision(*split(rows))
    if not positives:
        assert found is None
        return
    expected, before = 0.0, 0.0
    for threshold in sorted({p for _, p in rows}, reverse=True):
        taken = [outcome for outcome, p in rows if p >= threshold]
        recall = sum(taken) / positives
        expected += (recall - before) * sum(taken) / len(taken)
        before = recall
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(labelled, st.randoms(use_true_random=False))
def test_no_figure_depends_on_the_order_of_rows(
    rows: list[tuple[bool, float]], random: object
) -> None:
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    first, second = metrics.figures(*split(rows)), metrics.figures(*split(mixed))
    for name, value in first.as_dict().items():
        assert value == pytest.approx(getattr(second, name), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(labelled)
def test_log_loss_and_brier(rows: list[tuple[bool, float]]) -> None:
    outcomes, probabilities = split(rows)
    losses = [-math.log(max(p if o else 1 - p, 1e-15)) for o, p in rows]
    assert metrics.log_loss(outcomes, probabilities) == pytest.approx(sum(losses) / len(rows))
    squares = [(p - o) ** 2 for o, p in rows]
    assert metrics.brier(outcomes, probabilities) == pytest.approx(sum(squares) / len(rows))


def test_ece_over_ten_bins_of_equal_mass() -> None:
    probabilities = (np.arange(1_000) + 0.5) / 1_000
    outcomes = np.arange(1_000) % 2 == 0
    said = [probabilities[i : i + 100].mean() for i in range(0, 1_000, 100)]
    assert metrics.ece(outcomes, probabilities) == pytest.approx(
        np.mean([abs(p - 0.5) for p in said])
    )


def test_a_constant_prediction_is_one_bin() -> None:
    outcomes = np.arange(100) % 4 == 0
    assert metrics.ece(outcomes, np.full(100, 0.25)) == pytest.approx(0)
    assert len(metrics.calibration_bins(outcomes, np.full(100, 0.25))[0]) == 1


def test_chance_alone_explains_some_calibration_error() -> None:
    generator = np.random.default_rng(0)
    few = metrics.ece_of_perfect(generator.uniform(0, 0.2, 300))
    many = metrics.ece_of_perfect(generator.uniform(0, 0.2, 30_000), draws=40)
    assert few is not None
    assert many is not None
    assert few > 4 * many
    assert metrics.ece_of_perfect(np.empty(0)) is None


def test_lift_of_the_top_tenth() -> None:
    probabilities = np.linspace(0, 1, 100)
    outcomes = np.zeros(100, np.bool_)
    outcomes[[99, 98, 97, 3]] = True
    assert metrics.lift_top_decile(outcomes, probabilities) == pytest.approx(0.3 / 0.04)
    assert metrics.lift_top_decile(outcomes, np.full(100, 0.5)) == pytest.approx(1.0)
    assert metrics.lift_top_decile(np.zeros(5, np.bool_), np.zeros(5)) is None


def test_no_rows_have_no_figures() -> None:
    empty = metrics.figures(np.empty(0, np.bool_), np.empty(0))
    assert empty.labels == empty.positives == 0
    assert {value for value in empty.as_dict().values() if value != 0} == {None}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 90), max_size=5))
def test_live_figures_are_those_of_the_last_labels(places: list[int]) -> None:
    generator = np.random.default_rng(1)
    logits, outcomes = generator.normal(size=90), generator.random(90) < 0.4
    delays = generator.uniform(0, 100, 90)
    live = LiveMetrics(window=32)
    for part in np.split(np.arange(90), sorted(places)):
        live.add(logits[part], outcomes[part], delays[part])
        again = LiveMetrics()
        again.restore(live.snapshot())
        live = again
    assert (live.labels, live.window_labels) == (90, 32)
    expected = metrics.figures(outcomes[-32:], sigmoid(logits[-32:]))
    for name, value in live.figures().as_dict().items():
        assert value == pytest.approx(getattr(expected, name), abs=1e-12)
    assert live.delay_s() == pytest.approx(tuple(np.quantile(delays[-32:], [0.5, 0.95])))
    assert live.base_rate() == pytest.approx(outcomes[-32:].mean())


def test_live_figures_before_the_first_label() -> None:
    live = LiveMetrics()
    assert live.figures().auc is None
    assert live.delay_s() is None
    assert live.base_rate() is None


class Page(HTMLParser):
    """Collects tags, and refuses what would be fetched or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert tag not in ("script", "link", "img", "iframe")
        assert not {name for name, _ in attrs} & {"src", "href", "onclick", "onload"}


def evaluation(count: int = 2_000, rate: float = 0.1) -> Evaluation:
    generator = np.random.default_rng(2)
    probabilities = sigmoid(generator.normal(np.log(rate / (1 - rate)), 1, count))
    return Evaluation(
        "bank <conversion>",
        generator.random(count) < probabilities,
        probabilities,
        1_700_000_000_000_000 + np.arange(count) * 3_600_000_000,
        {"Workspace": "bank & co"},
        {
            "Static logistic regression": metrics.figures(
                np.array([True, False]), np.array([1, 0.0])
            )
        },
    )


def test_a_report_stands_alone_and_says_what_it_should() -> None:
    text = render_report(evaluation())
    page = Page()
    page.feed(text)
    assert page.tags.count("svg") == 7
    assert "bank &lt;conversion&gt;" in text
    assert "bank &amp; co" in text
    assert "Static logistic regression" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert not re.search(r"https?://|url\(|@import|nan", text)
    assert render_report(evaluation()) == text


@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize("count", [1, 2, 17])
def test_a_report_of_little_or_one_sided_data_is_still_a_report(count: int, outcome: bool) -> None:
    e = Evaluation("small", np.full(count, outcome), np.full(count, 0.2), np.zeros(count, np.int64))
    text = render_report(e)
    assert "nan" not in text
    assert text.count("<svg") == 7


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no labelled rows"):
        render_report(Evaluation("x", np.empty(0, np.bool_), np.empty(0), np.empty(0, np.int64)))


def whole_evaluation() -> Evaluation:
    """With everything that a report can tell."""
    e = evaluation(6_000)
    generator = np.random.default_rng(3)
    codes = generator.choice(3, 6_000, p=[0.6, 0.3, 0.1]).astype(np.int32)
    harder = np.log(e.probabilities / (1 - e.probabilities)) + np.where(codes == 1, 1.5, 0.0)
    outcomes = generator.random(6_000) < sigmoid(harder)
    ledger = EstimateLedger()
    for epoch in range(3):
        logits = np.log(e.probabilities / (1 - e.probabilities))[epoch::3]
        counts = np.zeros(64, np.int64)
        count_logits(logits, counts)
        ledger.add_scored(epoch, counts)
        ledger.add_labels(np.full(2_000, epoch), logits, outcomes[epoch::3])
    return replace(
        e,
        outcomes=outcomes,
        delays_s=generator.gamma(2.0, 86_400.0 * 5, 6_000),
        drifts=[
            Drift("age", 0.4, 0.2, 0.3, 0.15, 5_000, 900),
            Drift("job", 0.1, 0.2, None, 0.15, 5_000, 900),
            Drift("predictions", 0.05, 0.2, 0.01, 0.15, 5_000, 900),
        ],
        segments={
            "source <of leads>": segment_figures(
                outcomes, e.probabilities, codes, ("fair", "web & co", "not known")
            )
        },
        contributions={"age": 0.75, "age*job": 0.2, "forest": 0.05},
        words={"age": "age of the <lead>", "job": "works as"},
        estimates=ledger.comparisons(),
    )


def test_a_report_tells_all_that_it_is_given() -> None:
    text = render_report(whole_evaluation())
    page = Page()
    page.feed(text)
    assert page.tags.count("svg") == 9
    assert page.tags.count("table") == 4
    for told in (
        "<h2>Label delay</h2>", "<h2>Drift</h2>", "<h2>What moves scores</h2>",
        "<h2>Log-loss, expected and come</h2>", "<h2>By source &lt;of leads&gt;</h2>",
        "web &amp; co", "age of the &lt;lead&gt; and works as", "75.0%",
        "1 of 2 features have drifted from the training window: age of the &lt;lead&gt;.",
        "By source &lt;of leads&gt;, mind web &amp; co: said",
    ):  # fmt: skip
        assert told in text, told
    assert not re.search(r"https?://|url\(|@import|\bnan\b|<lead>", text)
    assert render_report(whole_evaluation()) == text


def said(e: Evaluation) -> str:
    return " ".join(sentences(e, metrics.figures(e.outcomes, e.probabilities)))


def test_the_sentences_follow_the_figures() -> None:
    generator = np.random.default_rng(4)
    p = sigmoid(generator.normal(-1, 1.5, 8_000))
    right = Evaluation("x", generator.random(8_000) < p, p, np.arange(8_000))
    assert "Work the list from the top" in said(right)
    assert "can be taken at their word" in said(right)
    off = replace(right, probabilities=p / 3)
    assert "mostly too low): trust the order" in said(off)
    shuffled = replace(right, probabilities=generator.permutation(p))
    assert "The order of the list tells little" in said(shuffled)
    better = metrics.figures(right.outcomes, right.outcomes.astype(float))
    worse = metrics.figures(right.outcomes, np.full(8_000, 0.5))
    assert "worse than the best of the others, Oracle" in said(
        replace(right, baselines={"Oracle": better, "Coin": worse})
    )
    assert "better than Coin" in said(replace(right, baselines={"Coin": worse}))
    few = replace(right, outcomes=right.outcomes[:40], probabilities=p[:40])
    assert said(few) == "Only 40 outcomes are known: too few to conclude anything."
    lost = replace(few, outcomes=np.zeros(40, np.bool_))
    assert said(lost) == "All 40 labelled leads were lost: nothing to tell apart yet."
