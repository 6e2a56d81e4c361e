"""The graph of an additive model says exactly what the model says, on any rows, in any batch."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.champion.additive import AdditiveModel, Categorical, Numeric, Term
from models.champion.artifact import ArtifactError, artifact_sha256
from models.champion.graph import OPERATORS, TableType, build_additive_champion
from models.champion.parity import adversarial_rows, export_champion, prove_parity
from models.champion.runtime import ChampionGraph, ChampionModel
from models.features.catalogue import Attribute, Behaviour, FeatureCatalogue


def catalogue_of(numeric: int, categorical: int) -> FeatureCatalogue:
    attributes = [Attribute(f"n{i}", "numeric", f"numbers.n{i}") for i in range(numeric)]
    attributes += [
        Attribute(f"k{i}", "categorical", f"texts.k{i}", buckets=2 + 3 * i)
        for i in range(categorical)
    ]
    return FeatureCatalogue(1, tuple(attributes), Behaviour())


def random_model(
    catalogue: FeatureCatalogue, seed: int, most_cuts: int, pairs: int, shuffled: bool = False
) -> AdditiveModel:
    """Cuts of all sizes and signs, some columns unused, categories that share bins."""
    generator = np.random.default_rng(seed)
    bins: list[Numeric | Categorical] = []
    for number in range(len(catalogue.columns)):
        attribute = catalogue.attributes[number] if number < len(catalogue.attributes) else None
        if attribute is not None and attribute.type == "categorical":
            places = generator.integers(0, 4, attribute.categories).astype(np.int32)
            bins.append(Categorical(places))
        else:
            scale = 10.0 ** generator.integers(-6, 7)
            count = int(generator.integers(0, most_cuts + 1))
            cuts = np.unique((scale * generator.normal(size=count)).astype(np.float32))
            bins.append(Numeric(cuts))
    every = range(len(bins))
    columns: list[tuple[int, ...]] = [(c,) for c in every if generator.random() < 0.7] or [(0,)]
    both = [(a, b) for a in every for b in every if a < b]
    columns += [both[i] for i in generator.permutation(len(both))[:pairs]]
    if shuffled:
        columns = [columns[i] for i in generator.permutation(len(columns))]
    terms = [
        Term(c, generator.normal(size=[bins[i].count for i in c]).astype(np.float32))
        for c in columns
    ]
    return AdditiveModel(catalogue.column_names, tuple(bins), tuple(terms), generator.normal())


def random_rows(model: AdditiveModel, count: int, seed: int) -> np.ndarray:
    """Values near the cuts, on them, far away, absent, and ids that do and do not exist."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(0, 5, (count, len(model.bins))).astype(np.float32)
    for column, own in enumerate(model.bins):
        if isinstance(own, Categorical):
            rows[:, column] = generator.integers(-2, len(own.places) + 2, count)
        elif len(own.cuts):
            picked = generator.choice(own.cuts, count)
            off = generator.choice(np.array([1, 1, 1.0000001, 0.5, -1], np.float32), count)
            rows[:, column] = picked * off
    rows[generator.random(rows.shape) < 0.1] = np.nan
    rows[generator.random(rows.shape) < 0.02] = np.inf
    return rows


CATALOGUE = catalogue_of(4, 2)
MODEL = random_model(CATALOGUE, 3, 12, 9, shuffled=True)
ROWS = random_rows(MODEL, 300, 4)
ARTIFACT = export_champion(MODEL, CATALOGUE, ROWS, "v9")
CHAMPION = ChampionModel(ARTIFACT, artifact_sha256(ARTIFACT), CATALOGUE)


def changed(edit: str, value: str) -> bytes:
    """The artifact with one entry of its metadata set, or taken away."""
    graph = onnx.load_from_string(ARTIFACT)
    kept = {p.key: p.value for p in graph.metadata_props if p.key != edit}
    onnx.helper.set_model_props(graph, kept | ({edit: value} if value else {}))
    return bytes(graph.SerializeToString())


@settings(max_examples=40, deadline=None)
@given(
    numeric=st.integers(0, 4),
    categorical=st.integers(0, 3),
    cuts=st.integers(0, 40),
    pairs=st.integers(0, 12),
    shuffled=st.booleans(),
    seed=st.integers(0, 100_000),
    tables=st.sampled_from(["float32", "float16"]),
)
def test_graph_and_model_are_equal_to_the_last_bit(
    numeric: int, categorical: int, cuts: int, pairs: int, shuffled: bool, seed: int,
    tables: TableType,
) -> None:  # fmt: skip
    catalogue = catalogue_of(numeric, categorical)
    model = random_model(catalogue, seed, cuts, pairs, shuffled)
    rows = np.concatenate([random_rows(model, 300, seed), adversarial_rows(model)])
    artifact = export_champion(model, catalogue, rows, tables=tables)
    champion = ChampionModel(artifact, artifact_sha256(artifact), catalogue)
    said, told = model.rounded(tables).contributions(rows), champion.contributions(rows)
    assert told.names == said.names
    for part in ("bias", "contributions", "logits"):
        assert getattr(told, part).tobytes() == getattr(said, part).tobytes()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 1_500), st.lists(st.integers(0, 1_500), max_size=8))
def test_a_row_scores_the_same_in_every_batch(count: int, places: list[int]) -> None:
    rows = random_rows(MODEL, count, count)
    whole = CHAMPION.contributions(rows)
    bounds = sorted(min(place, count) for place in places)
    parts = [CHAMPION.contributions(part) for part in np.split(rows, bounds)]
    assert np.concatenate([part.logits for part in parts]).tobytes() == whole.logits.tobytes()
    joined = np.concatenate([part.contributions for part in parts])
    assert joined.tobytes() == whole.contributions.tobytes()


def test_a_cut_belongs_to_the_bin_above_it_and_missing_has_its_own() -> None:
    own = Numeric(np.array([0.0, 1.5], np.float32))
    values = np.array([np.nan, -np.inf, -1, -0.0, 0, 1.4, 1.5, np.inf], np.float32)
    assert own.bins(values).tolist() == [0, 1, 1, 2, 2, 2, 3, 3]
    ids = Categorical(np.array([2, 1, 0], np.int32))
    values = np.array([np.nan, -1, -0.5, 0, 1, 2, 2.5, 3, 1e30, -np.inf], np.float32)
    assert ids.bins(values).tolist() == [0, 0, 2, 2, 1, 0, 0, 0, 0, 0]


def test_the_proof_looks_up_every_entry_of_every_table() -> None:
    rows = adversarial_rows(MODEL)
    places = [bins.bins(rows[:, column]) for column, bins in enumerate(MODEL.bins)]
    for term in MODEL.terms:
        seen = np.zeros(term.table.shape, np.bool_)
        seen[tuple(places[column] for column in term.columns)] = True
        some = [bins_with_values(MODEL.bins[column]) for column in term.columns]
        assert seen[np.ix_(*some)].all()


def bins_with_values(bins: Numeric | Categorical) -> np.ndarray:
    if isinstance(bins, Numeric):
        return np.arange(bins.count)
    return np.unique(np.append(bins.places, 0))


def test_terms_are_named_after_their_columns() -> None:
    meta = {p.key: p.value for p in onnx.load_from_string(ARTIFACT).metadata_props}
    names = CATALOGUE.column_names
    want = [
        {"name": "*".join(names[c] for c in term.columns), "columns": list(term.columns)}
        for term in MODEL.terms
    ]
    assert json.loads(meta["terms"]) == want
    assert CHAMPION.names == tuple(str(term["name"]) for term in want)
    assert CHAMPION.version == "v9"


def test_only_operators_with_cuda_kernels_are_used() -> None:
    for tables in ("float32", "float16"):
        graph = onnx.load_from_string(build_additive_champion(MODEL, "", "", tables)).graph
        assert {node.op_type for node in graph.node} <= OPERATORS
        assert not any(node.domain for node in graph.node)
        assert [output.name for output in graph.output] == ["logit", "contributions", "bias"]
        # sums of 64-bit whole numbers, comparisons of them and so on have no CUDA kernels
        made = onnx.shape_inference.infer_shapes(onnx.load_from_string(ARTIFACT)).graph
        kinds = {value.type.tensor_type.elem_type for value in made.value_info}
        assert onnx.TensorProto.INT64 not in kinds


def test_the_same_model_gives_the_same_bytes() -> None:
    assert export_champion(MODEL, CATALOGUE, ROWS, "v9") == ARTIFACT


def test_smaller_tables_make_a_smaller_artifact_that_is_still_proven() -> None:
    small = export_champion(MODEL, CATALOGUE, ROWS, "v9", "float16")
    assert len(small) < len(ARTIFACT)
    gap = MODEL.predict_logit(ROWS) - MODEL.rounded("float16").predict_logit(ROWS)
    assert 0 < np.abs(gap).max() < 0.05


def test_a_graph_that_says_something_else_is_not_proven() -> None:
    tables = list(MODEL.terms)
    table = tables[1].table.copy()
    table.flat[0] += 1e-4
    tables[1] = Term(tables[1].columns, table)
    other = MODEL.with_terms(tuple(tables), MODEL.bias)
    with pytest.raises(ArtifactError, match="contributions of adversarial rows"):
        prove_parity(other, ARTIFACT, ROWS[:0])
    with pytest.raises(ArtifactError, match="in the bias of training rows"):
        prove_parity(MODEL.with_terms(MODEL.terms, MODEL.bias + 1e-5), ARTIFACT, ROWS)
    with pytest.raises(ArtifactError, match="export this model anew"):
        prove_parity(MODEL.with_terms(MODEL.terms[:3], MODEL.bias), ARTIFACT, ROWS)


def test_a_cut_moved_by_one_unit_in_the_last_place_is_found() -> None:
    number, own = next(
        (n, b) for n, b in enumerate(MODEL.bins)
        if isinstance(b, Numeric) and len(b.cuts) and (n,) in [t.columns for t in MODEL.terms]
    )  # fmt: skip
    cuts = own.cuts.copy()
    cuts[0] = np.nextafter(cuts[0], np.float32(-np.inf))
    bins = (*MODEL.bins[:number], Numeric(cuts), *MODEL.bins[number + 1 :])
    with pytest.raises(ArtifactError, match="adversarial rows"):
        prove_parity(AdditiveModel(MODEL.columns, bins, MODEL.terms, MODEL.bias), ARTIFACT, ROWS)


@pytest.mark.parametrize(
    ("artifact", "told"),
    [
        (ARTIFACT[: len(ARTIFACT) // 2], "no graph that can run"),
        (b"", "no graph that can run"),
        (changed("format", ""), "format None"),
        (changed("format", "other-2"), "format 'other-2'"),
        (changed("terms", "["), "metadata cannot be read"),
        (changed("terms", "[1, 2]"), "metadata cannot be read"),
        (changed("terms", json.dumps([{"name": "age"}])), "names 1 terms but gives"),
        (changed("padded_block", "7"), "in blocks of 7"),
        (changed("catalogue", "ab12"), "made for catalogue ab12"),
    ],
)
def test_what_is_no_champion_of_ours_is_refused(artifact: bytes, told: str) -> None:
    with pytest.raises(ArtifactError, match=told):
        ChampionModel(artifact, artifact_sha256(artifact), CATALOGUE)


def test_a_foreign_graph_is_refused() -> None:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph(
        [node], "g", [value("x", 1, ["n", 4])], [value("y", 1, ["n", 4])]
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    foreign = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    with pytest.raises(ArtifactError, match="export it by leadstream"):
        ChampionGraph(foreign.SerializeToString(), gpu=False)


def test_a_graph_over_rows_of_another_width_is_refused() -> None:
    artifact = build_additive_champion(MODEL, catalogue_of(1, 1).hash)
    with pytest.raises(ArtifactError, match="takes rows of 10 columns, the catalogue has 6"):
        ChampionModel(artifact, artifact_sha256(artifact), catalogue_of(1, 1))


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ((), "at least one term"),
        ((MODEL.terms[0], MODEL.terms[0]), "add their tables"),
        ((Term((0, 0), np.zeros((2, 2), np.float32)),), "two different ones"),
        ((Term((0,), np.zeros(1, np.float32)),), "its bins are"),
        ((Term((0,), np.full(MODEL.bins[0].count, np.nan, np.float32)),), "not finite"),
    ],
)
def test_a_model_that_cannot_be_is_refused(terms: tuple[Term, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        MODEL.with_terms(terms, 0.0)
