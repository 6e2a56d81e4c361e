"""Rates, robust scales, a stack and a river model: learned once, in order, restored and un-learned.

The rows of these labels are made up, rates included: what scoring writes there is proven in
`scoring_features_test.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from learning_support import FIRST, Learning, epoch_end, label
from scoring_support import config, contents, restored

from models.champion.settings import ChampionSettings
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Rate, Transform
from models.features.encoding import Encoding
from models.features.rates import TargetRates
from models.features.scaling import RobustScaler
from models.lifecycle.settings import GateSettings, LifecycleSettings
from models.online.ftrl import FTRL
from models.workspaces import OnlineSettings, WorkspaceConfig
from streams.engine.changelog import ChangeRecords
from streams.engine.errors import ConfigurationError
from streams.scoring.model import Model, Weights

CATALOGUE = FeatureCatalogue(
    1,
    (
        Attribute("age", "numeric", "numbers.age", transform=Transform("robust", 40, 10)),
        Attribute("plan", "categorical", "texts.plan", values=("free", "pro"), buckets=1,
                  rate=Rate(30, 5)),
    ),
    Behaviour(kinds=("visit",), half_lives_days=(1.0,)),
)  # fmt: skip
ENCODING = Encoding(CATALOGUE)
NAMES = CATALOGUE.column_names
LOOSE = GateSettings(min_labels=50, draws=100, log_loss_margin=9, auc_margin=1, ece_margin=1)
LEARNED = ("weights", "calibration_a", "calibration_b", "rates", "centers", "scales", "mixture",
           "river_model", "base_rate")  # fmt: skip


def acme(**settings: Any) -> WorkspaceConfig:
    return config("acme", catalogue=CATALOGUE, training_window=100, **settings)


def whole(mixture: str = "stack") -> WorkspaceConfig:
    champion = ChampionSettings(
        trees=5, refit_labels=200, min_labels=100, window=400, mixture=mixture,  # type: ignore[arg-type]
        refit_on_drift=False,
    )  # fmt: skip
    return acme(
        online=OnlineSettings(model="mean", river="naive_bayes.GaussianNB"),
        champion=champion,
        lifecycle=LifecycleSettings(gate=LOOSE, watch_labels=0),
    )


def told(number: int, epoch: int = FIRST, **fields: Any) -> dict[str, Any]:
    """A label whose age and plan tell its outcome."""
    made = label(number, epoch)
    draw = np.random.default_rng([number, 7])
    row = draw.normal(1, 1, len(NAMES))
    row[NAMES.index("age")] = draw.normal(300 if made["positive"] else 250, 60)
    plan = float(draw.choice([0, 1, 2], p=[0.2, 0.6, 0.2] if made["positive"] else [0.5, 0.2, 0.3]))
    row[NAMES.index("plan")] = np.nan if draw.random() < 0.2 else plan
    features = row.astype(np.float32).tolist()
    version = CATALOGUE.catalogue_version
    return {**made, "features": features, "catalogue_version": version, **fields}


def epochs(first: int, count: int, size: int = 40) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(first, first + count):
        rows += [told(epoch * size + n, FIRST + epoch) for n in range(size)]
        rows.append(epoch_end(FIRST + epoch, catalogue_version=CATALOGUE.catalogue_version))
    return rows


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Labels in the order in which they are learned."""
    labels = [r for r in rows if r["record_kind"] == "label"]
    keys = ("epoch", "resolved_at", "lead_id")
    return sorted(labels, key=lambda r: tuple(r[k] for k in keys))


def features(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([r["features"] for r in rows], np.float32)


def online(run: Learning) -> list[dict[str, Any]]:
    return [w for w in run.weights() if w["slot"] == "online"]


def last(run: Learning) -> dict[str, Any]:
    return online(run)[-1]


def test_rates_and_scales_are_those_of_the_labels_learned() -> None:
    run, rows = Learning(acme()), epochs(0, 4)
    run.feed(*rows)
    labels = in_order(rows)
    x = features(labels)
    plan = x[:, NAMES.index("plan")]
    rates = TargetRates(3, Rate(30, 5))
    resolved = np.array([r["resolved_at"] for r in labels])
    ids = np.where(np.isnan(plan), -1, np.nan_to_num(plan)).astype(np.int64)
    rates.learn(ids, np.array([r["positive"] for r in labels]), resolved)
    ((name, found),) = last(run)["rates"]
    assert name == "plan"
    assert found == rates.rates(int(resolved[-1])).tolist()
    assert found[1] > 0.3 > -0.1 > found[0]
    scaler = RobustScaler(CATALOGUE)
    scaler.add(x)
    assert last(run)["centers"] == scaler.center.tolist()
    assert last(run)["scales"] == scaler.scale.tolist()
    assert 200 < last(run)["centers"][0] < 320 and 30 < last(run)["scales"][0] < 120


def test_each_label_is_learned_by_the_scales_of_the_labels_before_it() -> None:
    """Row by row: learn the label as scaled so far, then the scales."""
    run, rows = Learning(acme()), epochs(0, 2)
    run.feed(*rows)
    model, scaler = FTRL(ENCODING), RobustScaler(CATALOGUE)
    for row in in_order(rows):
        model.encoding = ENCODING.scaled(scaler.center, scaler.scale)
        model.learn(features([row]), np.array([row["positive"]]))
        scaler.add(features([row]))
    assert last(run)["weights"] == model.weights().tolist()


def test_a_workspace_without_them_publishes_none() -> None:
    run = Learning()
    run.feed(label(1), label(2), epoch_end())
    assert (last(run)["rates"], last(run)["centers"], last(run)["scales"]) == ([], [], [])


@pytest.mark.parametrize("places", [[], [1, 97, 201], [41, 150, 204]])
def test_cuts_and_restarts_change_nothing(places: list[int]) -> None:
    rows = epochs(0, 6)
    undisturbed = Learning(whole())
    undisturbed.feed(*rows)
    run, log = Learning(whole()), ChangeRecords()
    for start, stop in zip([0, *sorted(places)], [*sorted(places), len(rows)], strict=True):
        run.feed(*rows[start:stop])
        run.state = restored(run.processor, run.state, log)
    assert [{n: w[n] for n in LEARNED} for w in online(run)] == [
        {n: w[n] for n in LEARNED} for w in online(undisturbed)
    ]
    run.feed(*epochs(6, 1))
    undisturbed.feed(*epochs(6, 1))
    assert contents(run.state) == contents(undisturbed.state)
    shares = last(run)["mixture"]
    assert len(shares) == 3 and sum(shares) == pytest.approx(1) and shares[0] != shares[1]
    assert shares[2] == pytest.approx(1 / 3)


@pytest.mark.parametrize("mixture", ["mean", "stack"])
def test_un_learning_leaves_no_trace_in_any_of_them(mixture: str) -> None:
    """With a champion that stays the same meanwhile; its next refit forgets the labels too."""
    taken, rows = (230, 240, 241), epochs(0, 7)
    run, never = Learning(whole(mixture)), Learning(whole(mixture))
    run.feed(*rows)
    never.feed(*(r for r in rows if r["label_id"] not in map(str, taken)))
    for name in ("weights", "rates", "centers", "river_model", "calibration_a"):
        assert last(run)[name] != last(never)[name], name
    assert last(run)["champion_version"] == last(never)["champion_version"] is not None
    back = [told(n, FIRST + n // 40, record_kind="retraction", outcome="retracted") for n in taken]
    end = epoch_end(FIRST + 7, catalogue_version=CATALOGUE.catalogue_version)
    run.feed(*({**r, "epoch": FIRST + 7} for r in back), end)
    for name in LEARNED:
        assert last(run)[name] == last(never)[name], name
    after = [told(n, FIRST + 8) for n in range(300, 320)]
    end = epoch_end(FIRST + 8, catalogue_version=CATALOGUE.catalogue_version)
    for each in (run, never):
        each.feed(*after, end)
    for name in LEARNED:
        assert last(run)[name] == last(never)[name], name


def test_what_is_published_says_of_a_row_what_the_learner_says() -> None:
    """The river model's part and the scales included; contributions add up."""
    run = Learning(whole("mean"))
    run.feed(*epochs(0, 2))
    row = last(run)
    model = Model.of(whole("mean").workspace.online, ENCODING, Weights.of_record(row), None)
    x = features(in_order(epochs(2, 1)))
    (learner,) = run.state.learners.values()  # type: ignore[attr-defined]
    linear, river = learner.online.predict_logit(x), learner._members.river.predict_logit(x)
    wanted = row["calibration_a"] * (linear + river) / 2 + row["calibration_b"]
    mixed = model.mixture.score(x, 20)
    assert np.allclose(mixed.logits, wanted, atol=1e-12)
    assert np.abs(mixed.bias + mixed.value.sum(axis=1) + mixed.other - mixed.logits).max() < 1e-12
    assert model.mixture.names[-1] == "naive_bayes.GaussianNB"
    place = len(model.mixture.names) - 1
    term = np.where(mixed.index == place, mixed.value, 0.0).sum(axis=1)
    assert np.allclose(term, row["calibration_a"] * river / 2, atol=1e-12)
    assert np.abs(river).max() > 1


def test_a_river_model_alone_is_refused_with_what_to_write() -> None:
    online = OnlineSettings(model="tree.HoeffdingTreeClassifier")
    with pytest.raises(ConfigurationError, match=r"river: tree\.HoeffdingTreeClassifier"):
        Learning(acme(online=online))
