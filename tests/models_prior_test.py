"""A new workspace starts from pooled weights and leaves them as its own labels come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scoring_support import CATALOGUE

from models.config import ConfigError
from models.features.encoding import Encoding
from models.online.prior import Prior, load_prior, pooled, save_prior
from models.online.registry import make_online_model
from models.workspaces import OnlineSettings, load_workspace

ENCODING = Encoding(CATALOGUE)
EXAMPLE = Path(__file__).parent.parent / "infra" / "dev" / "workspaces" / "bank"


def stream(count: int, seed: int, turned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(1, 1, (count, len(CATALOGUE.columns))).astype(np.float32)
    logit = 2 * (rows[:, 0] - 1) * (-1 if turned else 1)
    rows[:, 0] = 40 + 10 * (rows[:, 0] - 1)  # ages
    return rows, rng.random(count) < 1 / (1 + np.exp(-logit))


def prior_of(seed: int) -> Prior:
    model = make_online_model(OnlineSettings(model="mean"), ENCODING)
    model.learn(*stream(2_000, seed))
    return pooled([("other", dict(zip(ENCODING.input_names, model.weights(), strict=True)), 2_000)])


@pytest.mark.parametrize("name", ["ftrl", "adagrad", "second_order", "mean"])
def test_it_scores_as_the_pooled_model_at_first_and_as_its_own_labels_say_in_the_end(
    name: str,
) -> None:
    prior = prior_of(1)
    model = make_online_model(OnlineSettings(model=name), ENCODING, prior)
    np.testing.assert_allclose(model.weights(), prior.of(ENCODING), atol=1e-12)
    rows, _ = stream(500, 2)
    assert np.corrcoef(model.predict_logit(rows), rows[:, 0])[0, 1] > 0.8
    model.learn(*stream(6_000, 3, turned=True))
    assert np.corrcoef(model.predict_logit(rows), rows[:, 0])[0, 1] < -0.8


def test_an_untouched_input_keeps_its_pooled_weight() -> None:
    prior = Prior({"plan#0": 0.7}, 10)
    model = make_online_model(OnlineSettings(model="ftrl"), ENCODING, prior)
    rows = np.full((50, len(CATALOGUE.columns)), np.nan, np.float32)
    model.learn(rows, np.zeros(50, np.bool_))
    assert model.weights()[ENCODING.input_names.index("plan#0")] == 0.7


def test_pooling_weighs_by_labels_and_matches_by_name(tmp_path: Path) -> None:
    made = pooled([("a", {"x": 1.0, "only_a": 2.0}, 30), ("b", {"x": 3.0}, 10), ("c", {"x": 9}, 0)])
    assert made.weights == {"only_a": 2.0, "x": 1.5}
    assert (made.labels, made.sources) == (40, ("a", "b"))
    save_prior(made, tmp_path / "prior.json")
    assert load_prior(tmp_path / "prior.json") == made
    with pytest.raises(ValueError, match="learned a label"):
        pooled([("c", {"x": 9.0}, 0)])


def test_a_workspace_names_its_file_and_is_told_when_it_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    folder.mkdir()
    for path in EXAMPLE.iterdir():
        text = path.read_text("utf-8").replace("model: mean", "model: mean\n  prior: p.json")
        (folder / path.name).write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"workspace.yaml:\d+: online.prior: there is no file"):
        load_workspace(folder)
    (folder / "p.json").write_text("{}")
    with pytest.raises(ConfigError, match="no file of `leadstream train prior`"):
        load_workspace(folder)
    save_prior(Prior({"age": 0.1}, 5), folder / "p.json")
    assert load_workspace(folder).prior == Prior({"age": 0.1}, 5)


def test_models_without_weights_refuse_a_prior() -> None:
    with pytest.raises(ValueError, match="cannot start from a prior"):
        make_online_model(OnlineSettings(model="naive_bayes.GaussianNB"), ENCODING, Prior({}, 1))
