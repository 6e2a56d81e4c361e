"""One suite of checks over every online model; the compiled ones against their references."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river import linear_model, optim

from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Transform
from models.features.encoding import Encoding
from models.features.extract import category
from models.online.adagrad import AdaGrad
from models.online.ftrl import FTRL
from models.online.interface import OnlineModel, pack_arrays, unpack_arrays
from models.online.mean import Mean
from models.online.registry import make_online_model
from models.online.river_reference import RiverFTRL
from models.online.river_snapshot import dump_estimator, load_estimator
from models.online.second_order import SecondOrder
from models.workspaces import OnlineSettings, load_workspaces

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age", transform=Transform("standard", 40, 10)),
        Attribute("income", "numeric", "numbers.income", transform=Transform("log1p")),
        Attribute("job", "categorical", "texts.job", values=("nurse",), buckets=3),
    ),
    Behaviour(("visit",), (7.0,)),
)
ENCODING = Encoding(CATALOGUE)
ROOT = Path(__file__).parent.parent

MODELS = [
    "ftrl",
    "adagrad",
    "second_order",
    "mean",
    "river_ftrl",
    "linear_model.LogisticRegression",
    "linear_model.ALMAClassifier",
    "naive_bayes.BernoulliNB",
    "naive_bayes.GaussianNB",
    "tree.HoeffdingTreeClassifier",
    "tree.HoeffdingAdaptiveTreeClassifier",
    "forest.AMFClassifier",
    "forest.ARFClassifier",
]


def random_rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    rows = np.abs(generator.normal(3, 2, (count, len(CATALOGUE.columns)))).astype(np.float32)
    rows[:, 0] = generator.normal(40, 15, count)
    rows[:, 2] = generator.integers(0, 4, count)
    rows[generator.random(rows.shape) < 0.15] = np.nan
    return rows


def outcomes(rows: NDArray[np.float32], seed: int = 1) -> NDArray[np.bool_]:
    logits = np.nan_to_num(rows[:, 0] - 40) / 10 - (rows[:, 2] == 1) * 2.0
    chance = np.random.default_rng(seed).random(len(rows))
    return np.asarray(chance < 1 / (1 + np.exp(-logits)), np.bool_)


@pytest.fixture(params=MODELS)
def fresh(request: pytest.FixtureRequest) -> Callable[[], OnlineModel]:
    parameters: dict[str, float | int | str | bool] = (
        {"n_estimators": 2} if "AMF" in request.param else {}
    )
    if "ARF" in request.param:
        parameters = {"n_models": 2}
    choice = OnlineSettings(model=request.param, parameters=parameters)
    return lambda: make_online_model(choice, ENCODING)


def test_a_fresh_model_knows_nothing(fresh: Callable[[], OnlineModel]) -> None:
    assert fresh().predict_logit(random_rows(3)).tolist() == [0, 0, 0]


def test_it_learns_what_can_be_learned(fresh: Callable[[], OnlineModel]) -> None:
    model, rows = fresh(), random_rows(400)
    labels = outcomes(rows)
    model.learn(rows, labels)
    logits = model.predict_logit(random_rows(300, 7))
    wanted = outcomes(random_rows(300, 7), 8)
    assert model.labels_learned == 400
    assert logits[wanted].mean() > logits[~wanted].mean() + 0.1


def test_neither_learning_nor_predicting_depends_on_the_cut(
    fresh: Callable[[], OnlineModel],
) -> None:
    whole, cut, rows = fresh(), fresh(), random_rows(120)
    labels = outcomes(rows)
    whole.learn(rows, labels)
    for part in (slice(0, 1), slice(1, 50), slice(50, 50), slice(50, 120)):
        cut.learn(rows[part], labels[part])
    logits = whole.predict_logit(rows)
    parts = [cut.predict_logit(rows[part]) for part in (slice(0, 7), slice(7, 120))]
    assert np.concatenate(parts).tobytes() == logits.tobytes()


def test_contributions_add_up_to_the_logit(fresh: Callable[[], OnlineModel]) -> None:
    model, rows = fresh(), random_rows(100)
    model.learn(rows, outcomes(rows))
    terms = model.contributions(rows)
    total = terms.bias.copy()
    for column in range(terms.contributions.shape[1]):
        total += terms.contributions[:, column]
    assert total.tobytes() == terms.logits.tobytes() == model.predict_logit(rows).tobytes()
    if model.additive:
        assert terms.names == CATALOGUE.column_names
        logits = ENCODING.logits_and_contributions(rows, model.weights())[2]
        assert logits.tobytes() == terms.logits.tobytes()
    else:
        assert terms.names == (model.name,)
        assert len(model.weights()) == 0


def test_a_restored_model_goes_on_as_if_never_stopped(fresh: Callable[[], OnlineModel]) -> None:
    model, restored, rows = fresh(), fresh(), random_rows(300)
    labels = outcomes(rows)
    model.learn(rows[:200], labels[:200])
    saved = model.snapshot()
    restored.restore(saved)
    assert restored.snapshot() == saved
    for each in (model, restored):
        each.learn(rows[200:], labels[200:])
    assert restored.labels_learned == model.labels_learned == 300
    assert restored.predict_logit(rows).tobytes() == model.predict_logit(rows).tobytes()


def test_a_wrong_snapshot_is_refused(fresh: Callable[[], OnlineModel]) -> None:
    model = fresh()
    other = Encoding(msgspec.structs.replace(CATALOGUE, attributes=CATALOGUE.attributes[:2]))
    for data in (b"", b"\x80", b"not a snapshot", FTRL(other).snapshot()):
        with pytest.raises(ValueError, match="snapshot"):
            model.restore(data)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(0.005, 1.0),
    st.floats(0.0, 2.0),
    st.sampled_from([0.0, 0.01, 0.3]),
    st.sampled_from([0.0, 1.0, 10.0]),
)
def test_ftrl_equals_river_on_random_streams(
    seed: int, alpha: float, beta: float, l1: float, l2: float
) -> None:
    rows = random_rows(150, seed)
    compare(ENCODING, rows, outcomes(rows, seed), (alpha, beta + 0.1, l1, l2))


def compare(
    encoding: Encoding,
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    parameters: tuple[float, float, float, float],
) -> None:
    """Learn row by row with both; weights, and river's own probabilities, agree to 1e-9."""
    ours, river = FTRL(encoding, *parameters), RiverFTRL(encoding, *parameters)
    for place in range(len(rows)):
        row = rows[place : place + 1]
        probability = 1 / (1 + np.exp(-ours.predict_logit(row)[0]))
        expected = river.estimator.predict_proba_one(encoding.as_dict(row[0]))[True]
        assert abs(probability - expected) < 1e-9
        ours.learn(row, labels[place : place + 1])
        river.learn(row, labels[place : place + 1])
    np.testing.assert_allclose(ours.weights(), river.weights(), rtol=0, atol=1e-9)


def adagrad_equals_rivers(
    encoding: Encoding, rows: NDArray[np.float32], labels: NDArray[np.bool_], rate: float
) -> None:
    ours = AdaGrad(encoding, rate)
    river = linear_model.LogisticRegression(optimizer=optim.AdaGrad(rate), intercept_lr=0.0)
    for place in range(len(rows)):
        row, x = rows[place : place + 1], encoding.as_dict(rows[place])
        probability = 1 / (1 + np.exp(-ours.predict_logit(row)[0]))
        assert abs(probability - river.predict_proba_one(x)[True]) < 1e-9
        ours.learn(row, labels[place : place + 1])
        river.learn_one(x, bool(labels[place]))
    expected = [river.weights.get(name, 0.0) for name in encoding.input_names]
    np.testing.assert_allclose(ours.weights(), expected, rtol=0, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 1.0))
def test_adagrad_equals_river_on_random_streams(seed: int, rate: float) -> None:
    rows = random_rows(150, seed)
    adagrad_equals_rivers(ENCODING, rows, outcomes(rows, seed), rate)


def test_adagrad_equals_river_on_bank_marketing() -> None:
    adagrad_equals_rivers(*bank_rows(3_000), rate=0.02)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 1.0), st.sampled_from([1.0, 0.999, 0.9]))
def test_second_order_equals_the_textbooks_filter(seed: int, variance: float, keep: float) -> None:
    rows = random_rows(120, seed)
    labels = outcomes(rows, seed)
    ours = SecondOrder(ENCODING, variance, keep)
    ours.learn(rows, labels)
    w, p = np.zeros(ENCODING.size), np.eye(ENCODING.size) * variance
    for x, label in zip(ENCODING.dense(rows), labels, strict=True):
        chance = 1 / (1 + np.exp(-(w @ x)))
        h = chance * (1 - chance)
        g = p @ x / (1 + h * (x @ p @ x))
        w = w + g * (label - chance)
        p = (p - h * np.outer(g, p @ x)) / keep
        shrink = np.sqrt(np.minimum(1.0, variance / np.diag(p)))
        p = p * np.outer(shrink, shrink)
    np.testing.assert_allclose(ours.weights(), w, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours._state["p"], p, rtol=0, atol=1e-9)
    assert np.linalg.eigvalsh(p).min() > 0


def test_too_many_inputs_for_a_covariance_are_told() -> None:
    wide = Attribute("job", "categorical", "texts.job", buckets=600)
    encoding = Encoding(msgspec.structs.replace(CATALOGUE, attributes=(wide,)))
    for model in ("second_order", "mean"):
        with pytest.raises(ValueError, match="use ftrl"):
            make_online_model(OnlineSettings(model=model), encoding)


def test_the_mean_is_the_mean_of_its_members_logits() -> None:
    members = [FTRL(ENCODING), AdaGrad(ENCODING), SecondOrder(ENCODING)]
    mean, rows = Mean(ENCODING, members), random_rows(300)
    mean.learn(rows, outcomes(rows))
    expected = np.mean([m.predict_logit(rows) for m in members], axis=0)
    np.testing.assert_allclose(mean.predict_logit(rows), expected, rtol=0, atol=1e-12)
    assert mean.labels_learned == 300


def test_a_mean_that_cannot_be_restored_whole_stays_as_it_is() -> None:
    rows = random_rows(50)
    mean = Mean(ENCODING, [FTRL(ENCODING), AdaGrad(ENCODING)])
    mean.learn(rows, outcomes(rows))
    before = mean.snapshot()
    meta, arrays = unpack_arrays(before)
    meta["members"]["adagrad"] = b"\x80"
    with pytest.raises(ValueError, match="snapshot"):
        mean.restore(pack_arrays(meta, arrays))
    with pytest.raises(ValueError, match="expected"):
        mean.restore(Mean(ENCODING, [FTRL(ENCODING)]).snapshot())
    assert mean.snapshot() == before


def bank_rows(limit: int) -> tuple[Encoding, NDArray[np.float32], NDArray[np.bool_]]:
    """Feature rows of the shipped excerpt of bank_marketing, one contact a lead."""
    path = ROOT / "connectors" / "files" / "excerpts" / "bank_marketing.csv.gz"
    if not path.exists():
        pytest.skip("the excerpt of bank_marketing is not here")
    catalogue = load_workspaces(ROOT / "infra" / "dev" / "workspaces")["bank"].catalogue
    rows, labels = [], []
    with gzip.open(path, "rt") as file:
        first = file.readline()
        names = first.rstrip("\n").split(";" if ";" in first else ",")
        reader = csv.DictReader(file, names, delimiter=";" if ";" in first else ",")
        for _, given in zip(range(limit), reader, strict=False):
            record = {name.strip('"').replace(".", "_"): value for name, value in given.items()}
            row = np.full(len(catalogue.columns), 1.0, np.float32)
            for slot, attribute in enumerate(catalogue.attributes):
                text = record[attribute.name]
                numeric = attribute.type == "numeric"
                row[slot] = float(text) if numeric else category(attribute, text)
            rows.append(row)
            labels.append(record["y"] == "yes")
    return Encoding(catalogue), np.array(rows, np.float32), np.array(labels, np.bool_)


def test_ftrl_equals_river_on_bank_marketing() -> None:
    encoding, rows, labels = bank_rows(3_000)
    compare(encoding, rows, labels, (0.05, 1.0, 0.0, 1.0))


def test_models_learn_the_same_in_another_process() -> None:
    code = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/tests']\n"
        "from models_online_test import *\n"
        "rows = random_rows(150)\n"
        "for name in MODELS:\n"
        "    model = make_online_model(OnlineSettings(model=name), ENCODING)\n"
        "    model.learn(rows, outcomes(rows))\n"
        "    print(name, model.predict_logit(rows[:40]).tobytes().hex())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(ROOT)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    "node",
    [
        ["object", 0, "os:system", ["true"], None, [], []],
        ["object", 0, "builtins:eval", ["1"], None, [], []],
        ["object", 0, "river.base.estimator:os.system", ["true"], None, [], []],
        ["object", 0, "builtins:getattr", ["text", "__class__"], None, [], []],
        ["name", "subprocess:Popen"],
        ["same", 4],
    ],
)
def test_a_snapshot_cannot_name_other_code(node: object) -> None:
    with pytest.raises((ValueError, AttributeError)):
        load_estimator(msgspec.msgpack.encode(node))


def test_what_is_not_rivers_is_not_snapshot() -> None:
    with pytest.raises(ValueError, match=r"cannot snapshot|may not name"):
        dump_estimator({"open": Path})


@pytest.mark.parametrize("model", ["nonsense", "tree.Nothing", "metrics.Accuracy", "os.path"])
def test_an_unknown_model_is_told(model: str) -> None:
    with pytest.raises(ValueError, match="Fix: "):
        make_online_model(OnlineSettings(model=model), ENCODING)


def test_wrong_parameters_are_told() -> None:
    with pytest.raises(ValueError, match=r"correct online\.parameters"):
        make_online_model(
            OnlineSettings(model="tree.HoeffdingTreeClassifier", parameters={"n": 1}), ENCODING
        )
    with pytest.raises(ValueError, match=r"correct online\.parameters"):
        make_online_model(OnlineSettings(model="adagrad", parameters={"speed": 1}), ENCODING)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("adagrad", {"rate": 0.0}),
        ("adagrad", {"rate": "fast"}),
        ("second_order", {"keep": 0.0}),
        ("second_order", {"keep": 1.5}),
        ("second_order", {"variance": -1.0}),
    ],
)
def test_parameters_that_would_publish_nonsense_are_told(
    model: str, parameters: dict[str, float | int | str | bool]
) -> None:
    with pytest.raises(ValueError, match="Fix: "):
        make_online_model(OnlineSettings(model=model, parameters=parameters), ENCODING)
