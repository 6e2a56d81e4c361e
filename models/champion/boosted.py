"""Train an additive champion: boosted trees of depth 2, taken apart into one- and two-column terms.

A tree of depth 2 asks for one column at its root and one on either side, so it is the sum of a
table over (root, left) and one over (root, right); a boosted sum of such trees is an additive
model, exactly. Tables of the same columns are added up and then purified: what a pair says of one
of its columns alone moves to that column's own term, so that a pair holds the interaction and
nothing else (functional ANOVA under the training data's weights; Lengerich et al. 2020, "Purifying
Interaction Effects with the Functional ANOVA").

How many trees: as the workspace says, or by early stopping on the newest fifth of the labels and
then a fit on all labels with that number (on small windows that number is mostly noise). A column
that the user declared monotone gets a term of its own and no pairs, so that its contribution itself
rises (or falls), not only the sum.
"""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from models.calibration.affine import sigmoid
from models.champion.additive import AdditiveModel
from models.champion.settings import ChampionSettings
from models.champion.trees import additive_of_trees
from models.features.catalogue import FeatureCatalogue

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]

MIN_LABELS = 100
_HELD_OUT = 0.2
_PATIENCE = 30
_TREES_A_LABEL = 2  # of the rarer outcome; more trees than that learn labels by heart
_SEED = 7


def train_boosted(
    catalogue: FeatureCatalogue,
    rows: F4,
    labels: NDArray[np.bool_],
    settings: ChampionSettings,
    weights: F8 | None = None,
) -> AdditiveModel:
    """An additive model of labelled feature rows; the same one for the same arguments.

    Args:
        catalogue: of the rows.
        rows: [n, C], oldest first.
        labels: [n].
        settings: of the training; only the newest `window` rows are used.
        weights: of the rows [n]; equal ones if None.

    Raises:
        ValueError: fewer than 100 labels, or only one outcome.
    """
    rows = known_values(catalogue, rows[-settings.window :])
    labels = labels[-settings.window :]
    weights = np.ones(len(rows)) if weights is None else weights[-settings.window :]
    positives = int(np.count_nonzero(labels))
    if len(rows) < MIN_LABELS or not 0 < positives < len(labels):
        raise ValueError(
            f"{positives} positives in {len(labels)} labels: a champion needs {MIN_LABELS} labels "
            "and both outcomes; wait for more labels"
        )
    booster = boost(catalogue, rows, labels, settings, weights)
    model = additive_of_trees(catalogue, booster.dump_model(), rows, weights)
    return limited(model, settings.max_terms, rows, labels, weights)


def known_values(catalogue: FeatureCatalogue, rows: F4) -> F4:
    """Rows [n, C] with NaN for infinities and for category ids that the catalogue has not."""
    rows = np.where(np.isinf(rows), np.float32(np.nan), rows)
    for place, column in enumerate(catalogue.columns):
        if column.categories:
            ids = rows[:, place]
            known = (ids > -1) & (ids < column.categories)
            rows[:, place] = np.where(known, np.trunc(ids), np.float32(np.nan))
    return rows


def boost(
    catalogue: FeatureCatalogue,
    rows: F4,
    labels: NDArray[np.bool_],
    settings: ChampionSettings,
    weights: F8,
) -> lightgbm.Booster:
    """The boosted trees of known values [n, C], oldest first."""
    cut = len(rows) - int(len(rows) * _HELD_OUT)
    rarer = min(np.count_nonzero(labels), np.count_nonzero(~labels))
    trees = max(1, min(settings.trees, _TREES_A_LABEL * int(rarer)))
    parameters = _parameters(catalogue, settings)
    both = all(0 < np.count_nonzero(part) < len(part) for part in (labels[:cut], labels[cut:]))
    if settings.early_stopping and both:
        before = _dataset(catalogue, rows[:cut], labels[:cut], weights[:cut], settings)
        after = _dataset(catalogue, rows[cut:], labels[cut:], weights[cut:], settings, before)
        stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
        tried = lightgbm.train(parameters, before, trees, valid_sets=[after], callbacks=[stop])
        trees = max(1, tried.best_iteration)
    return lightgbm.train(parameters, _dataset(catalogue, rows, labels, weights, settings), trees)


def _parameters(catalogue: FeatureCatalogue, settings: ChampionSettings) -> dict[str, Any]:
    columns = range(len(catalogue.columns))
    rises = {"increasing": 1, "decreasing": -1, None: 0}
    monotone = [rises[a.monotone] for a in catalogue.attributes]
    monotone += [0] * (len(columns) - len(monotone))
    parameters = {
        "objective": "binary",
        "max_depth": 2,
        "num_leaves": 4,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.min_data_in_leaf,
        "min_data_per_group": settings.min_data_in_leaf,
        "lambda_l2": settings.l2,
        # one category against the rest: sets of categories learn the rare ones by heart
        "max_cat_to_onehot": 100_000,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "seed": _SEED,
        "verbosity": -1,
    }
    if any(monotone):
        alone = [[column] for column in columns if monotone[column]]
        others = [column for column in columns if not monotone[column]]
        parameters["monotone_constraints"] = monotone
        parameters["interaction_constraints"] = [*alone, others] if others else alone
    return parameters


def _dataset(
    catalogue: FeatureCatalogue,
    rows: F4,
    labels: NDArray[np.bool_],
    weights: F8,
    settings: ChampionSettings,
    cut_as: lightgbm.Dataset | None = None,
) -> lightgbm.Dataset:
    categorical = [place for place, c in enumerate(catalogue.columns) if c.categories]
    return lightgbm.Dataset(
        rows,
        labels,
        reference=cut_as,
        weight=weights,
        categorical_feature=categorical,
        params={
            "max_bin": settings.max_bins,
            "num_threads": 1,
            "verbosity": -1,
            "feature_pre_filter": False,
        },
    )


def limited(
    model: AdditiveModel, max_terms: int, rows: F4, labels: NDArray[np.bool_], weights: F8
) -> AdditiveModel:
    """The model with its strongest terms only, columns before pairs.

    A purified pair adds nothing that one column alone could say, so leaving it out moves only the
    mean probability; the bias is set anew so that it equals the share of positives again.
    """
    if len(model.terms) <= max_terms:
        return model
    entries = model.contributions(rows).contributions
    strength = np.average(entries**2, axis=0, weights=weights)
    order = sorted(
        range(len(model.terms)), key=lambda t: (len(model.terms[t].columns), -strength[t], t)
    )
    kept = tuple(model.terms[t] for t in sorted(order[:max_terms]))
    shorter = model.with_terms(kept, model.bias)
    return shorter.with_terms(kept, _balanced_bias(shorter, rows, labels, weights))


def _balanced_bias(model: AdditiveModel, rows: F4, labels: NDArray[np.bool_], weights: F8) -> float:
    """The bias under which the mean probability is the share of positives, by Newton's method."""
    logits, shift = model.predict_logit(rows), 0.0
    for _ in range(20):
        probability = sigmoid(logits + shift)
        slope = float((weights * (probability - labels)).sum())
        shift -= slope / float((weights * probability * (1.0 - probability)).sum())
        if abs(slope) < 1e-9 * len(rows):
            break
    return model.bias + shift
