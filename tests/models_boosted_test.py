"""Boosted trees become an additive model that says the same, purified, limited and monotone."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import sigmoid
from models.champion.additive import AdditiveModel, Numeric
from models.champion.boosted import boost, known_values, limited, train_boosted
from models.champion.settings import ChampionSettings
from models.champion.trees import additive_of_trees
from models.evaluation.metrics import auc, log_loss
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age"),
        Attribute("debt", "numeric", "numbers.debt"),
        Attribute("job", "categorical", "texts.job", values=("nurse",), buckets=9),
        Attribute("site", "categorical", "texts.site", buckets=4),
        Attribute("visits", "numeric", "numbers.visits", monotone="increasing"),
        Attribute("price", "numeric", "numbers.price", monotone="decreasing"),
    ),
    Behaviour(),
)
WIDTH = len(CATALOGUE.columns)
SETTINGS = ChampionSettings(min_data_in_leaf=10, l2=10, trees=300, early_stopping=True)
Labelled = tuple[np.ndarray, np.ndarray]


def labelled(count: int, seed: int = 0) -> Labelled:
    """Rows in which a main effect, an interaction, a category and a gap matter; noise besides."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, WIDTH)).astype(np.float32)
    rows[:, 2] = generator.integers(-1, 11, count)
    rows[:, 3] = generator.integers(0, 4, count)
    rows[:, :4][generator.random((count, 4)) < 0.15] = np.nan
    known = np.nan_to_num(rows)
    logits = (
        1.5 * known[:, 0] * known[:, 1]
        + np.isnan(rows[:, 1])
        + (known[:, 2] % 3)
        + 0.6 * known[:, 4]
        - 0.6 * known[:, 5]
        - 1.5
    )
    return rows, generator.random(count) < sigmoid(logits)


def unlimited(rows: np.ndarray, labels: np.ndarray) -> tuple[AdditiveModel, np.ndarray]:
    """The additive model before any term is left out, and what LightGBM says of the rows."""
    values, weights = known_values(CATALOGUE, rows), np.ones(len(rows))
    booster = boost(CATALOGUE, values, labels, SETTINGS, weights)
    model = additive_of_trees(CATALOGUE, booster.dump_model(), values, weights)
    return model, np.asarray(booster.predict(values, raw_score=True))


@settings(max_examples=15, deadline=None)
@given(st.integers(100, 3_000), st.integers(0, 10_000))
def test_before_limiting_it_says_what_the_trees_say(count: int, seed: int) -> None:
    rows, labels = labelled(count, seed)
    model, raw = unlimited(rows, labels)
    np.testing.assert_allclose(model.predict_logit(rows), raw, rtol=0, atol=1e-6)


def test_a_split_between_known_and_missing_alone_is_kept() -> None:
    rows, _ = labelled(2_000)
    model, raw = unlimited(rows, np.isnan(rows[:, 0]))
    np.testing.assert_allclose(model.predict_logit(rows), raw, rtol=0, atol=1e-6)
    row = np.zeros((1, WIDTH), np.float32)
    assert model.predict_logit(row)[0] < 0
    row[0, 0] = np.nan
    assert model.predict_logit(row)[0] > 0


def test_pairs_hold_nothing_that_one_of_their_columns_could_say() -> None:
    rows, labels = labelled(3_000)
    model, _ = unlimited(rows, labels)
    entries = model.contributions(rows).contributions
    scale = np.abs(entries).max()
    assert any(len(term.columns) == 2 for term in model.terms)
    for number, term in enumerate(model.terms):
        assert abs(entries[:, number].mean()) < 1e-6 * scale
        if len(term.columns) == 2:
            for column in term.columns:
                place = model.bins[column].bins(rows[:, column])
                size = np.bincount(place)
                means = np.bincount(place, entries[:, number])[size > 0] / size[size > 0]
                assert np.abs(means).max() < 1e-6 * scale


def test_the_interaction_that_is_there_is_the_strongest_pair() -> None:
    rows, labels = labelled(6_000)
    model = train_boosted(CATALOGUE, rows, labels, SETTINGS)
    spread = model.contributions(rows).contributions.std(axis=0)
    pairs = {n: s for n, s in zip(model.names, spread, strict=True) if "*" in n}
    assert max(pairs, key=lambda name: pairs[name]) == "age*debt"


@pytest.mark.parametrize("most", [1, 4, 7])
def test_limiting_keeps_columns_first_and_the_mean_probability(most: int) -> None:
    rows, labels = labelled(3_000)
    model, _ = unlimited(rows, labels)
    weights = np.ones(len(rows))
    short = limited(model, most, rows, labels, weights)
    assert len(short.terms) == most
    mains = sum(len(term.columns) == 1 for term in model.terms)
    assert sum(len(term.columns) == 1 for term in short.terms) == min(mains, most)
    assert abs(sigmoid(short.predict_logit(rows)).mean() - labels.mean()) < 1e-6
    assert limited(model, len(model.terms), rows, labels, weights) is model


def test_declared_directions_hold_for_the_contribution_itself() -> None:
    rows, labels = labelled(2_000)
    model = train_boosted(CATALOGUE, rows, labels, SETTINGS)
    own = dict(zip(model.names, model.terms, strict=True))
    assert not any("visits" in n or "price" in n for n in own if "*" in n)
    visits, price = own["visits"].table[1:], own["price"].table[1:]  # bin 0 is "missing"
    assert (np.diff(visits) >= 0).all() and visits[0] < visits[-1]
    assert (np.diff(price) <= 0).all() and price[0] > price[-1]


def test_a_direction_against_the_data_leaves_no_contribution() -> None:
    rows, labels = labelled(2_000)
    rows[:, [4, 5]] = rows[:, [5, 4]]
    model = train_boosted(CATALOGUE, rows, labels, SETTINGS)
    for name in {"visits", "price"} & set(model.names):
        assert np.ptp(model.terms[model.names.index(name)].table) < 0.2


def test_what_was_never_missing_says_nothing_when_it_is() -> None:
    rows, labels = labelled(2_000)
    model = train_boosted(CATALOGUE, rows, labels, SETTINGS)
    terms = model.contributions(np.full((1, WIDTH), np.nan, np.float32))
    said = dict(zip(terms.names, terms.contributions[0], strict=True))
    assert said["visits"] == 0 == said["price"]
    assert said["debt"] > 0.3  # its gaps do matter


def test_the_same_labels_give_the_same_model() -> None:
    rows, labels = labelled(1_500)
    first = train_boosted(CATALOGUE, rows, labels, SETTINGS)
    again = train_boosted(CATALOGUE, rows.copy(), labels.copy(), SETTINGS)
    assert msgspec.json.encode(first.as_plain()) == msgspec.json.encode(again.as_plain())
    back = AdditiveModel.from_plain(msgspec.json.decode(msgspec.json.encode(first.as_plain())))
    assert back.predict_logit(rows).tobytes() == first.predict_logit(rows).tobytes()


def test_the_newest_fifth_is_not_learned_before_it_is_judged() -> None:
    rows, labels = labelled(2_000)
    turned = labels.copy()
    turned[1_600:] = ~turned[1_600:]  # what held so far no longer does: stop at once
    values, weights = known_values(CATALOGUE, rows), np.ones(2_000)
    kept = boost(CATALOGUE, values, labels, SETTINGS, weights).num_trees()
    stopped = boost(CATALOGUE, values, turned, SETTINGS, weights).num_trees()
    assert stopped <= 3 < kept


def test_only_the_window_counts_and_weights_do() -> None:
    rows, labels = labelled(1_500)
    noise = np.concatenate([labelled(500, 9)[0], rows]), np.concatenate([labels[:500], labels])
    window = msgspec.structs.replace(SETTINGS, window=1_500)
    want = train_boosted(CATALOGUE, rows, labels, window).as_plain()
    assert train_boosted(CATALOGUE, *noise, window).as_plain() == want
    weights = np.where(rows[:, 4] > 0, 1.0, 0.1)
    assert train_boosted(CATALOGUE, rows, labels, window, weights).as_plain() != want


def test_it_ranks_and_is_calibrated_on_rows_it_never_saw() -> None:
    rows, labels = labelled(4_000)
    fresh, outcome = labelled(4_000, 1)
    said = sigmoid(train_boosted(CATALOGUE, rows, labels, SETTINGS).predict_logit(fresh))
    base, found = log_loss(outcome, np.full(4_000, labels.mean())), log_loss(outcome, said)
    assert base is not None and found is not None and found < 0.9 * base
    assert (auc(outcome, said) or 0) > 0.75
    assert abs(said.mean() - outcome.mean()) < 0.03


def test_a_hundred_labels_suffice_and_hopeless_ones_give_the_base_rate() -> None:
    rows, labels = labelled(100)
    assert len(train_boosted(CATALOGUE, rows, labels, ChampionSettings()).terms) >= 1
    rows[:] = np.nan
    model = train_boosted(CATALOGUE, rows, labels, ChampionSettings())
    assert sigmoid(model.predict_logit(rows))[0] == pytest.approx(labels.mean(), abs=1e-6)
    late = np.arange(200) < 40  # positives in the oldest rows only: nothing to judge by
    assert train_boosted(CATALOGUE, labelled(200)[0], late, ChampionSettings()).terms


@pytest.mark.parametrize(("count", "positives"), [(99, 50), (200, 0), (200, 200)])
def test_too_little_to_learn_from_is_told(count: int, positives: int) -> None:
    rows, _ = labelled(count)
    with pytest.raises(ValueError, match="both outcomes; wait for more labels"):
        train_boosted(CATALOGUE, rows, np.arange(count) < positives, SETTINGS)


def test_values_on_either_side_of_a_cut_and_on_it_go_as_in_the_trees() -> None:
    rows, labels = labelled(1_000)
    values, weights = known_values(CATALOGUE, rows), np.ones(1_000)
    booster = boost(CATALOGUE, values, labels, SETTINGS, weights)
    model = additive_of_trees(CATALOGUE, booster.dump_model(), values, weights)
    own = model.bins[0]
    assert isinstance(own, Numeric)
    cuts = own.cuts[np.abs(own.cuts) > 1e-30]  # LightGBM reads what is smaller as 0
    probes = np.concatenate([cuts, np.nextafter(cuts, np.float32(-9))])
    near = np.repeat(rows[:1], len(probes), axis=0)
    near[:, 0], near[:, 1:4] = probes, 0.0
    raw = np.asarray(booster.predict(near, raw_score=True))
    np.testing.assert_allclose(model.predict_logit(near), raw, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"trees": 0}, {"learning_rate": 0}, {"max_terms": 0}, {"window": 99}, {"depth": 3}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, ChampionSettings)
