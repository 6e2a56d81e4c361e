"""A champion is verified, additive, on operators a GPU has, and the same whatever the batch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.affine import sigmoid
from models.champion.artifact import ArtifactError, artifact_sha256
from models.champion.graph import OPERATORS, build_linear_champion
from models.champion.runtime import ChampionModel
from models.champion.train_static import train_static
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Transform
from models.features.encoding import Encoding

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age", transform=Transform("standard", 40, 10)),
        Attribute("debt", "numeric", "numbers.debt", transform=Transform("log1p", 1, 2)),
        Attribute("job", "categorical", "texts.job", values=("nurse",), buckets=3),
    ),
    Behaviour(("visit",), (7.0,)),
)
ENCODING = Encoding(CATALOGUE)
WEIGHTS = np.random.default_rng(5).normal(size=ENCODING.size)
ARTIFACT = build_linear_champion(ENCODING, WEIGHTS, "v7")
CHAMPION = ChampionModel(ARTIFACT, artifact_sha256(ARTIFACT), CATALOGUE)


def random_rows(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows = generator.normal(3, 40, (count, len(CATALOGUE.columns))).astype(np.float32)
    rows[:, 2] = generator.integers(-1, 6, count)
    rows[generator.random(rows.shape) < 0.2] = np.nan
    rows[generator.random(rows.shape) < 0.02] = np.inf
    return rows


def test_the_graph_computes_what_the_encoding_computes() -> None:
    rows = random_rows(1_000)
    bias, contributions, logits = ENCODING.logits_and_contributions(rows, WEIGHTS)
    terms = CHAMPION.contributions(rows)
    np.testing.assert_allclose(terms.contributions, contributions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(terms.logits, logits, rtol=0, atol=1e-11)
    assert (terms.bias == bias).all()
    assert terms.names == CATALOGUE.column_names


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.lists(st.integers(0, 700), max_size=6))
def test_a_row_scores_the_same_in_every_batch(count: int, places: list[int]) -> None:
    rows = random_rows(count)
    whole = CHAMPION.contributions(rows)
    bounds = sorted(min(place, count) for place in places)
    parts = [CHAMPION.contributions(part) for part in np.split(rows, bounds)]
    assert np.concatenate([part.logits for part in parts]).tobytes() == whole.logits.tobytes()
    joined = np.concatenate([part.contributions for part in parts])
    assert joined.tobytes() == whole.contributions.tobytes()


def test_parts_add_up_exactly() -> None:
    terms = CHAMPION.contributions(random_rows(300))
    total = terms.bias.copy()
    for column in range(terms.contributions.shape[1]):
        total += terms.contributions[:, column]
    assert total.tobytes() == terms.logits.tobytes()


def test_only_operators_with_cuda_kernels_are_used() -> None:
    graph = onnx.load_from_string(ARTIFACT).graph
    assert {node.op_type for node in graph.node} <= OPERATORS
    assert not any(node.domain for node in graph.node)
    assert [output.name for output in graph.output] == ["logit", "contributions", "bias"]


def test_the_same_weights_give_the_same_bytes() -> None:
    assert build_linear_champion(ENCODING, WEIGHTS, "v7") == ARTIFACT
    assert CHAMPION.version == "v7"


def test_a_changed_artifact_is_not_even_parsed() -> None:
    changed = bytearray(ARTIFACT)
    changed[len(changed) // 2] ^= 1
    with pytest.raises(ArtifactError, match="SHA-256"):
        ChampionModel(bytes(changed), artifact_sha256(ARTIFACT), CATALOGUE)


def test_bytes_that_are_no_graph_are_told() -> None:
    junk = b"not a graph"
    with pytest.raises(ArtifactError, match="no graph that can run"):
        ChampionModel(junk, artifact_sha256(junk), CATALOGUE)


def test_a_champion_of_another_catalogue_is_refused() -> None:
    other = FeatureCatalogue(1, CATALOGUE.attributes[:2], CATALOGUE.behaviour)
    with pytest.raises(ArtifactError, match="train one for this catalogue"):
        ChampionModel(ARTIFACT, artifact_sha256(ARTIFACT), other)


@pytest.mark.parametrize("attributes", [CATALOGUE.attributes, CATALOGUE.attributes[:2], ()])
def test_catalogues_without_one_kind_of_column_work(attributes: tuple[Attribute, ...]) -> None:
    catalogue = FeatureCatalogue(1, attributes, Behaviour())
    encoding = Encoding(catalogue)
    artifact = build_linear_champion(encoding, np.ones(encoding.size))
    champion = ChampionModel(artifact, artifact_sha256(artifact), catalogue)
    rows = np.zeros((3, len(catalogue.columns)), np.float32)
    expected = encoding.logits_and_contributions(rows, np.ones(encoding.size))[2]
    np.testing.assert_allclose(champion.predict_logit(rows), expected, atol=1e-12)


@pytest.mark.parametrize("weights", [np.zeros(3), np.full(ENCODING.size, np.nan)])
def test_weights_that_cannot_be_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite weights"):
        build_linear_champion(ENCODING, weights)


def test_training_finds_the_optimum_twice_the_same() -> None:
    rows = random_rows(3_000)
    rows[np.isinf(rows)] = 0
    truth = WEIGHTS * 0.3
    chance = np.random.default_rng(1).random(3_000)
    labels = chance < sigmoid(ENCODING.logits_and_contributions(rows, truth)[2])
    weights = train_static(ENCODING, rows, labels, l2=1.0)
    inputs = ENCODING.dense(rows)
    slope = inputs.T @ (sigmoid(inputs @ weights) - labels) + np.r_[0, weights[1:]]
    assert np.abs(slope).max() < 1e-4
    assert train_static(ENCODING, rows, labels, l2=1.0).tobytes() == weights.tobytes()


def test_training_survives_separable_outcomes() -> None:
    rows = random_rows(200)
    rows[np.isinf(rows)] = 0
    weights = train_static(ENCODING, rows, np.nan_to_num(rows[:, 0]) > 3, l2=1e-4)
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("outcome", [True, False])
def test_training_needs_both_outcomes(outcome: bool) -> None:
    with pytest.raises(ValueError, match="both outcomes"):
        train_static(ENCODING, random_rows(10), np.full(10, outcome))
