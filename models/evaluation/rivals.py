"""What others would have said of the same rows: three named rivals, judged on the same rows.

Each sees the feature rows that leadstream sees, in the order of time. A label can be learned from
once it is known, and no earlier; only the static regression, which is fitted once on the rows
before the judged ones, may use labels that became known later, which favours it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from river import linear_model

from models.champion.train_static import train_static
from models.features.catalogue import FeatureCatalogue
from models.features.encoding import Encoding
from models.online.river_model import RiverModel

STATIC, RIVER, LIGHTGBM = "static_regression", "river_regression", "lightgbm"
WORDS = {
    STATIC: "static regression",
    RIVER: "river regression",
    LIGHTGBM: "LightGBM refitted",
}
REFIT_LABELS = 500

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Feature rows in the order of their time, with what became of them.

    Attributes:
        features: ``[n, C]``.
        positive: Outcomes ``[n]``.
        row_time: µs ``[n]``, ascending.
        known_at: µs ``[n]``, when the outcome was known.
    """

    features: NDArray[np.float32]
    positive: NDArray[np.bool_]
    row_time: I8
    known_at: I8

    def __len__(self) -> int:
        return len(self.positive)

    def by_knowledge(self) -> tuple[I8, I8]:
        """Row numbers ``[n]`` by when their labels became known; how many were before each row."""
        order = np.lexsort((self.row_time, self.known_at)).astype(np.int64)
        known = np.searchsorted(self.known_at[order], self.row_time, side="left")
        return order, known.astype(np.int64)


def rival_logits(
    catalogue: FeatureCatalogue, rows: LabelledRows, judged: NDArray[np.bool_]
) -> dict[str, F8]:
    """Logits ``[n]`` of every rival by name.

    Args:
        catalogue: What the rows' columns mean.
        rows: All labelled rows; the rivals learn from those that are not judged, too.
        judged: Which rows count ``[n]``; the static regression is fitted on the others, and is
            left out where they have one outcome only.
    """
    found = {}
    encoding = Encoding(catalogue)
    before = rows.positive[~judged]
    if before.any() and not before.all():
        weights = train_static(encoding, rows.features[~judged], before)
        found[STATIC] = encoding.logits_and_contributions(rows.features, weights)[2]
    found[RIVER] = river_regression(encoding, rows)
    found[LIGHTGBM] = refitted_lightgbm(catalogue, rows)
    return found


def river_regression(encoding: Encoding, rows: LabelledRows) -> F8:
    """River's logistic regression with its defaults, learning each label once it is known."""
    model = RiverModel(encoding, linear_model.LogisticRegression(), "river_logistic_regression")
    order, known = rows.by_knowledge()
    logits, learned = np.empty(len(rows)), 0
    for start, stop in _same(known):
        fresh = order[learned : known[start]]
        model.learn(rows.features[fresh], rows.positive[fresh])
        learned = int(known[start])
        logits[start:stop] = model.predict_logit(rows.features[start:stop])
    return logits


def refitted_lightgbm(
    catalogue: FeatureCatalogue, rows: LabelledRows, every: int = REFIT_LABELS
) -> F8:
    """LightGBM with its defaults, fitted anew on all known labels whenever ``every`` more are.

    Before the first fit it says the base rate of the labels known so far.
    """
    order, known = rows.by_knowledge()
    categorical = [i for i, c in enumerate(catalogue.columns) if c.categories]
    positives = np.concatenate(([0], np.cumsum(rows.positive[order])))
    logits, fitted, booster = np.empty(len(rows)), 0, None
    for start, stop in _same(known):
        count = int(known[start])
        if count // every > fitted:
            fitted = count // every
            train = order[: fitted * every]
            booster = _fit(rows.features[train], rows.positive[train], categorical)
        if booster is None:
            hits = positives[count] + 1
            logits[start:stop] = np.log(hits / (count + 2 - hits))
        else:
            part = rows.features[start:stop]
            logits[start:stop] = booster.predict(part, raw_score=True, num_threads=1)
    return logits


def _fit(features: NDArray[np.float32], positive: NDArray[np.bool_], categorical: list[int]) -> Any:
    fixed = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True}
    data = lightgbm.Dataset(
        features, positive, categorical_feature=categorical, params={"verbose": -1}
    )
    return lightgbm.train(fixed, data)


def _same(known: I8) -> list[tuple[int, int]]:
    """Stretches of rows that see the same labels."""
    edges = np.flatnonzero(np.diff(known)) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(known)], strict=True))
