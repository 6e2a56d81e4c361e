"""Rivals learn from what was known before a row, and from nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scoring_support import CATALOGUE

from models.evaluation.metrics import auc
from models.evaluation.rivals import (
    LIGHTGBM,
    RIVER,
    STATIC,
    LabelledRows,
    refitted_lightgbm,
    rival_logits,
    river_regression,
)
from models.features.encoding import Encoding

DELAY = 50


def labelled(n: int = 600, signal: float = 2.0) -> LabelledRows:
    """Rows one unit of time apart, whose labels are known ``DELAY`` later."""
    draw = np.random.default_rng(3)
    features = np.zeros((n, len(CATALOGUE.columns)), np.float32)
    features[:, 0] = draw.normal(40, 10, n)
    chance = 1 / (1 + np.exp(-signal * (features[:, 0] - 40) / 10))
    at = np.arange(n, dtype=np.int64)
    return LabelledRows(features, draw.random(n) < chance, at, at + DELAY)


def test_every_rival_finds_what_there_is_to_find() -> None:
    rows = labelled(1_500)
    judged = np.arange(len(rows)) >= 750
    found = rival_logits(CATALOGUE, rows, judged)
    assert set(found) == {STATIC, RIVER, LIGHTGBM}
    for logits in found.values():
        assert (auc(rows.positive[judged], logits[judged]) or 0) > 0.75


def test_what_becomes_known_later_changes_nothing() -> None:
    rows = labelled()
    late = rows.known_at >= 400
    other = dataclasses.replace(rows, positive=rows.positive ^ late)
    before = rows.row_time <= 400
    encoding = Encoding(CATALOGUE)
    for said, said_otherwise in (
        (river_regression(encoding, rows), river_regression(encoding, other)),
        (refitted_lightgbm(CATALOGUE, rows, 100), refitted_lightgbm(CATALOGUE, other, 100)),
    ):
        assert np.array_equal(said[before], said_otherwise[before])
        assert not np.array_equal(said[~before], said_otherwise[~before])


def test_lightgbm_says_the_base_rate_until_it_is_fitted() -> None:
    rows = labelled()
    logits = refitted_lightgbm(CATALOGUE, rows, every=200)
    assert np.all(logits[: DELAY + 1] == 0.0)
    known = rows.positive[:100].sum() + 1
    assert logits[100 + DELAY] == pytest.approx(np.log(known / (102 - known)))
    assert len(np.unique(logits[200 + DELAY + 1 :])) > 50


def test_rows_of_one_outcome_have_no_static_rival() -> None:
    rows = labelled()
    judged = np.arange(len(rows)) >= 300
    never = dataclasses.replace(rows, positive=rows.positive & judged)
    assert set(rival_logits(CATALOGUE, never, judged)) == {RIVER, LIGHTGBM}
