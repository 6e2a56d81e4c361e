"""Cross-validation: each row is judged by models that never saw it."""

from __future__ import annotations

import numpy as np
from scoring_support import CATALOGUE, config, target

from models.evaluation.folds import CHAMPION, MIXTURE, ONLINE, cross_validated
from models.evaluation.metrics import auc

N = 2_000


def drawn(signal: float) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(5)
    features = np.zeros((N, len(CATALOGUE.columns)), np.float32)
    features[:, 0] = draw.normal(40, 10, N)
    chance = 1 / (1 + np.exp(-signal * (features[:, 0] - 40) / 10))
    return features, draw.random(N) < chance


def test_every_model_finds_what_there_is_to_find_and_the_mixture_is_their_mean() -> None:
    features, positive = drawn(2.0)
    said = cross_validated(config("acme", target("conversion", 10.0)), features, positive)
    assert set(said) == {ONLINE, CHAMPION, MIXTURE}
    for probabilities in said.values():
        assert (auc(positive, probabilities) or 0) > 0.8
    logits = {name: np.log(p / (1 - p)) for name, p in said.items()}
    assert np.allclose(logits[MIXTURE], (logits[ONLINE] + logits[CHAMPION]) / 2)


def test_nothing_is_found_where_there_is_nothing() -> None:
    features, positive = drawn(0.0)
    said = cross_validated(config("acme", target("conversion", 10.0)), features, positive)
    for probabilities in said.values():
        assert 0.45 < (auc(positive, probabilities) or 0) < 0.55
