"""Boosted trees of depth 2 as an additive model: tables of one or two columns, purified.

See `boosted.py` for the method. Works on LightGBM's dump, a plain nested dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.champion.additive import AdditiveModel, Categorical, Numeric, Term
from models.features.catalogue import FeatureCatalogue

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
Bins = tuple[Numeric | Categorical, ...]
Tables = dict[tuple[int, ...], F8]
Node = Mapping[str, Any]


def additive_of_trees(
    catalogue: FeatureCatalogue, dump: Mapping[str, Any], rows: F4, weights: F8
) -> AdditiveModel:
    """The additive model that equals the trees on every row of the kind they were trained on.

    Where a column was never missing in the training rows, its missing bin says nothing (0).

    Args:
        catalogue: of the rows.
        dump: `dump_model()` of a LightGBM booster with trees of depth 2.
        rows: the training rows [n, C].
        weights: of the rows [n].
    """
    roots = [tree["tree_structure"] for tree in dump["tree_info"]]
    bins = _bins(catalogue, roots, rows)
    tables: Tables = {}
    bias = sum(_add_tree(root, bins, tables) for root in roots)
    used = sorted({column for columns in tables for column in columns})
    places = {column: bins[column].bins(rows[:, column]) for column in used}
    mass = {column: np.bincount(places[column], weights, bins[column].count) for column in used}
    for pair in [columns for columns in tables if len(columns) == 2]:
        left, right = pair
        shape = (bins[left].count, bins[right].count)
        flat = places[left] * shape[1] + places[right]
        joint: F8 = np.bincount(flat, weights, shape[0] * shape[1]).reshape(shape).astype(float)
        for column, own in zip(pair, _purify(tables[pair], joint), strict=True):
            tables[column,] = tables.get((column,), np.zeros(bins[column].count)) + own
    for column in used:
        mean = float(np.average(tables[column,], weights=mass[column]))
        tables[column,] -= mean
        bias += mean
    for columns, table in tables.items():
        for axis, column in enumerate(columns):
            if mass[column][0] == 0:
                np.moveaxis(table, axis, 0)[0] = 0.0
    named = sorted(tables, key=lambda columns: (len(columns), columns))
    terms = [Term(columns, tables[columns].astype(np.float32)) for columns in named]
    terms = [term for term in terms if term.table.any()]
    if not terms:  # no split at all: a term that says nothing, since a model has at least one
        terms = [Term((0,), np.zeros(bins[0].count, np.float32))]
    return AdditiveModel(catalogue.column_names, bins, tuple(terms), bias)


def _splits(node: Node) -> Iterator[Node]:
    if "split_feature" in node:
        yield node
        yield from _splits(node["left_child"])
        yield from _splits(node["right_child"])


def _cut(node: Node) -> np.float32:
    """The smallest float32 that goes right: a row goes left if its value is <= the threshold.

    Infinite where no number goes right, only a missing value.
    """
    threshold = min(float(node["threshold"]), float(np.finfo(np.float32).max))
    cut = np.float32(threshold)
    if float(cut) > threshold:
        return cut
    with np.errstate(over="ignore"):
        return np.float32(np.nextafter(cut, np.float32(np.inf)))


def _left_ids(node: Node) -> NDArray[np.int64]:
    return np.array(str(node["threshold"]).split("||"), np.int64)


def _bins(catalogue: FeatureCatalogue, roots: list[Node], rows: F4) -> Bins:
    """The coarsest bins of each column that tell apart what any tree tells apart."""
    splits: list[list[Node]] = [[] for _ in catalogue.columns]
    for root in roots:
        for node in _splits(root):
            splits[node["split_feature"]].append(node)
    bins: list[Numeric | Categorical] = []
    for column, nodes in enumerate(splits):
        if categories := catalogue.columns[column].categories:
            ids = rows[:, column]
            seen = np.unique(ids[~np.isnan(ids)].astype(np.int64))
            bins.append(_grouped(categories, nodes, seen))
        else:
            cuts = np.unique(np.array([_cut(node) for node in nodes], np.float32))
            bins.append(Numeric(cuts[np.isfinite(cuts)]))
    return tuple(bins)


def _grouped(categories: int, nodes: list[Node], seen: NDArray[np.int64]) -> Categorical:
    """Categories that go the same way at every node share a bin; one never seen is missing."""
    goes_left = np.zeros((categories, len(nodes)), np.bool_)
    for number, node in enumerate(nodes):
        goes_left[_left_ids(node), number] = True
    places = np.zeros(categories, np.int32)
    if len(seen):
        places[seen] = 1 + np.unique(goes_left[seen], axis=0, return_inverse=True)[1].ravel()
    return Categorical(places)


def _add_tree(root: Node, bins: Bins, tables: Tables) -> float:
    """Add a tree to the tables; returns what it adds to the bias."""
    if "split_feature" not in root:
        return float(root["leaf_value"])
    column, goes_left = root["split_feature"], _goes_left(root, bins)
    for here, child in ((goes_left, root["left_child"]), (~goes_left, root["right_child"])):
        inner, table = _child(child, bins)
        columns: tuple[int, ...]
        if inner is None or inner == column:
            columns, part = (column,), here * table
        elif inner < column:
            columns, part = (inner, column), np.outer(table, here)
        else:
            columns, part = (column, inner), np.outer(here, table)
        tables[columns] = tables[columns] + part if columns in tables else part
    return 0.0


def _child(node: Node, bins: Bins) -> tuple[int | None, Any]:
    """A child of the root as its column and a table over the column's bins; a leaf as a number."""
    if "split_feature" not in node:
        return None, float(node["leaf_value"])
    values = [float(node[side]["leaf_value"]) for side in ("left_child", "right_child")]
    return node["split_feature"], np.where(_goes_left(node, bins), *values)


def _goes_left(node: Node, bins: Bins) -> NDArray[np.bool_]:
    """Which bins of its column a node sends left."""
    own = bins[node["split_feature"]]
    if isinstance(own, Categorical):
        goes_left = np.zeros(own.count, np.bool_)
        goes_left[own.places[_left_ids(node)]] = True
        goes_left[0] = False
        return goes_left
    goes_left = np.arange(own.count) < 2 + np.searchsorted(own.cuts, _cut(node))
    goes_left[0] = (
        node["default_left"] if node["missing_type"] == "NaN" else float(node["threshold"]) >= 0.0
    )
    return goes_left


def _purify(table: F8, mass: F8) -> tuple[F8, F8]:
    """Take out of a pair's table what either column says alone; changes the table in place.

    The weighted least-squares fit of left[a] + right[b], so that every row and every column of
    what remains has weighted mean 0. Bins without training rows get 0.

    Returns:
        left [A] and right [B].
    """
    rows, columns = mass.sum(axis=1), mass.sum(axis=0)
    share = mass / np.where(rows > 0, rows, 1.0)[:, None]
    means = (share * table).sum(axis=1)
    # the right part alone: the row means are taken out of both sides (Schur complement); the
    # constant that left and right could exchange, and empty bins, are pinned by the ridge
    matrix = np.diag(columns) - mass.T @ share
    matrix[np.diag_indices_from(matrix)] += 1e-10 * max(float(columns.max()), 1.0)
    right = np.linalg.solve(matrix, (mass * table).sum(axis=0) - mass.T @ means)
    right[columns == 0] = 0.0
    left = means - share @ right
    left[rows == 0] = 0.0
    table -= left[:, None] + right[None, :]
    return left, right
