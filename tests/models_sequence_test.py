"""Distinct values and sequences in a lead's row, against plain lists, under every cut."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from models.champion.additive import Categorical
from models.champion.artifact import artifact_sha256
from models.champion.boosted import train_boosted
from models.champion.graph import build_additive_champion, build_linear_champion
from models.champion.parity import prove_parity
from models.champion.runtime import ChampionModel
from models.champion.settings import ChampionSettings
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue, Indicator, Rate
from models.features.encoding import Encoding
from models.features.extract import Extractor, sketch_bit
from models.features.kernels import FeatureKernels
from models.features.state import SEQUENCE, StateViews, gap_seconds, lead_dtype

START = 1_700_000_000_000_000
CATALOGUE = FeatureCatalogue(
    1,
    (Attribute("owner", "categorical", "texts.owner", buckets=4, rate=Rate()),),
    Behaviour(("visit", "demo"), (7.0,), distinct=("url", "campaign"), sequence=True),
    (Indicator("euribor", "ecb/euribor3m"),),
)
NAMES = CATALOGUE.column_names
KERNELS = FeatureKernels(CATALOGUE)
EXTRACTOR = Extractor(CATALOGUE)
Event = tuple[int, int, str, str | None, str]  # lead, time, kind, url, campaign

events = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 10_000_000).map(lambda s: START + s * 1_000_000),
        st.sampled_from(["visit", "demo", "other"]),
        st.one_of(st.none(), st.integers(0, 40).map(lambda n: f"https://a.example/{n}")),
        st.sampled_from(["", "spring", "autumn", "x" * 50]),
    ),
    min_size=1,
    max_size=120,
)
cuts = st.lists(st.integers(0, 120), max_size=4)


def run(batch: list[Event], table: Any) -> np.ndarray:
    found = EXTRACTOR.extract(
        pa.array([e[2] for e in batch], pa.string()),
        pa.array([[] for _ in batch], pa.map_(pa.string(), pa.float64())),
        pa.array([[("campaign", e[4])] for e in batch], pa.map_(pa.string(), pa.string())),
        pa.array([e[3] for e in batch], pa.string()),
    )
    return KERNELS.update_rows(
        StateViews.of(table),
        np.array([e[0] for e in batch]),
        np.array([e[1] for e in batch]),
        found.kind,
        found.attr_event,
        found.attr_slot,
        found.attr_value,
        distinct=found.distinct,
    )


def counted(values: set[str]) -> float:
    """Linear counting, as its paper has it."""
    empty = 128 - len({sketch_bit(value) for value in values})
    return round(-128 * math.log(max(empty, 0.5) / 128))


def expected(stream: list[Event]) -> list[list[float]]:
    rows = []
    for n in range(len(stream)):
        mine = [e for e in stream[: n + 1] if e[0] == stream[n][0]]
        kinds, newest = [], -1
        for event in mine:
            if event[1] >= newest:
                kinds.append(("visit", "demo", "other").index(event[2]))
                newest = event[1]
        last8 = kinds[-8:]
        rows.append(
            [
                counted({e[3] for e in mine if e[3]}),
                counted({e[4] for e in mine if e[4]}),
                kinds[-1],
                kinds[-2] if len(kinds) > 1 else math.nan,
                np.float32(last8.count(last8[-1]) / len(last8)),
                math.nan,  # the rate and the indicator are not the kernels'
                math.nan,
            ]
        )
    return rows


@settings(max_examples=40, deadline=None)
@given(events, cuts)
def test_any_cut_gives_what_plain_lists_give(stream: list[Event], places: list[int]) -> None:
    table = np.zeros(4, lead_dtype(CATALOGUE, [("mine", "f8")]))
    bounds = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    rows = np.concatenate([run(stream[a:b], table) for a, b in pairwise(bounds)])
    first = NAMES.index("distinct.url")
    np.testing.assert_array_equal(rows[:, first:], np.array(expected(stream), np.float32))
    assert not table["mine"].any()


@settings(max_examples=30, deadline=None)
@given(events)
def test_the_row_before_and_ageing_hold_the_new_columns_too(stream: list[Event]) -> None:
    table = np.zeros(4, lead_dtype(CATALOGUE))
    rows = run(stream, table)
    state = table.tobytes()
    last = np.array([stream[-1][0]])
    aged = KERNELS.feature_rows(StateViews.of(table), last, table["last_seen"][last] + 10**12)
    first = NAMES.index("distinct.url")
    np.testing.assert_array_equal(aged[0, first:], rows[-1, first:])
    assert table.tobytes() == state


def test_the_state_tells_the_last_32_events_newest_first_with_their_gaps() -> None:
    table = np.zeros(2, lead_dtype(CATALOGUE))
    gaps = [0, 1, 60, 3_600, 86_400, 30 * 86_400, 86_400 * 400]
    at, stream = START, list[Event]()
    for n in range(40):
        at += gaps[n % len(gaps)] * 1_000_000
        stream.append((0, at, ("visit", "demo", "other")[n % 3], None, ""))
    run(stream, table)
    kinds = [("visit", "demo", "other").index(e[2]) for e in stream]
    assert table["recent_kinds"][0].tolist() == [1 + k for k in kinds[::-1][:SEQUENCE]]
    told = gap_seconds(table["recent_gaps"][0])
    true = np.array([gaps[n % len(gaps)] for n in range(40)][::-1][:SEQUENCE])
    assert np.allclose(told, true, rtol=0.05, atol=0.1)


def test_a_sketch_counts_few_values_well_and_many_roughly() -> None:
    draw = np.random.default_rng(1)
    for many, error in ((1, 0.0), (5, 0.2), (20, 0.15), (100, 0.15), (400, 0.35)):
        worst = []
        for _ in range(20):
            values = {f"https://a.example/{n}" for n in draw.integers(0, 2**60, many)}
            table = np.zeros(2, lead_dtype(CATALOGUE))
            row = run([(0, START, "visit", value, "") for value in sorted(values)], table)[-1]
            worst.append(abs(row[NAMES.index("distinct.url")] - many) / many)
        assert np.mean(worst) <= error


def test_a_catalogue_without_them_keeps_its_row_as_it_was() -> None:
    plain = FeatureCatalogue(1, CATALOGUE.attributes, Behaviour(("visit", "demo"), (7.0,)))
    assert lead_dtype(plain).names == (
        "first_seen", "last_seen", "kind_last", "event_count", "sessions", "gap_days",
        "attributes", "kind_counts", "kind_decayed",
    )  # fmt: skip
    assert lead_dtype(CATALOGUE).itemsize - lead_dtype(plain).itemsize == 2 * 16 + 2 * 32


def test_models_take_the_new_columns_as_they_are_meant() -> None:
    """Kinds are categories to the trees and to the linear graph; columns all missing do no harm."""
    draw = np.random.default_rng(4)
    rows = np.full((3_000, len(NAMES)), np.nan, np.float32)
    known = {name: place for place, name in enumerate(NAMES)}
    rows[:, known["sequence.last"]] = draw.integers(0, 3, 3_000)
    rows[:, known["distinct.url"]] = draw.integers(0, 9, 3_000)
    rows[:, known["sequence.same"]] = draw.random(3_000)
    labels = draw.random(3_000) < np.where(rows[:, known["sequence.last"]] == 1, 0.6, 0.2)
    model = train_boosted(CATALOGUE, rows, labels, ChampionSettings())
    prove_parity(model, build_additive_champion(model, CATALOGUE.hash), rows)
    assert isinstance(model.bins[known["sequence.last"]], Categorical)
    parts = [t.columns for t in model.terms]
    assert (known["sequence.last"],) in parts
    encoding = Encoding(CATALOGUE)
    weights = draw.normal(size=encoding.size)
    artifact = build_linear_champion(encoding, weights)
    graph = ChampionModel(artifact, artifact_sha256(artifact), CATALOGUE)
    _, terms, _ = encoding.logits_and_contributions(rows, weights)
    np.testing.assert_allclose(graph.contributions(rows).contributions, terms, rtol=0, atol=1e-12)
