"""An additive champion as an ONNX tensor graph: feature rows in, logit and contributions out.

Input `rows` float32 [n, C]; outputs `logit` float64 [n], `contributions` [n, T] (float64 of a
linear champion, float32 of tables) and `bias` float64 [1], with logit = bias + contributions
summed. Metadata: `format`, `catalogue` (hash), `version`, `terms` (JSON: each term's name and
columns) and `padded_block` (rows it must be given at once; 0 if any number will do). Missing values
and categories are handled inside, by operators that have CUDA kernels in ONNX Runtime (`OPERATORS`;
tree ensembles have none).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.champion.additive import AdditiveModel, Categorical, Numeric, Term
from models.features.encoding import CATEGORY, CLIP, VALUE_AND_FLAG, Encoding

OPSET, IR_VERSION = 17, 8
FORMAT = "leadstream-champion-1"
PADDED_BLOCK = 256
TableType = Literal["float32", "float16"]
# fmt: off
OPERATORS = frozenset({
    "Abs", "Add", "And", "Cast", "Clip", "Concat", "Div", "Gather", "GatherElements",
    "GreaterOrEqual", "Identity", "IsNaN", "Less", "Log", "Mul", "Neg", "ReduceSum", "Sub",
    "Transpose", "Unsqueeze", "Where",
})
# fmt: on


def build_linear_champion(
    encoding: Encoding, weights: NDArray[np.float64], version: str = ""
) -> bytes:
    """The ONNX bytes of a linear champion; the same bytes for the same arguments.

    One term per column, in float64. Its logarithms may differ in the last bits with the number of
    rows, so it is run on blocks of `PADDED_BLOCK` rows.

    Raises:
        ValueError: the weights are not of this encoding, or not finite.
    """
    weights = np.asarray(weights, np.float64)
    if weights.shape != (encoding.size,) or not np.isfinite(weights).all():
        raise ValueError(f"expected {encoding.size} finite weights, got shape {weights.shape}")
    graph = _Graph()
    category = encoding.form == CATEGORY
    parts, order = [], []
    for columns, add in (
        (np.flatnonzero(~category), _add_values),
        (np.flatnonzero(category), _add_categories),
    ):
        if len(columns):
            parts.append(add(graph, encoding, weights, columns))
            order.append(columns)
    back = graph.constant(np.argsort(np.concatenate(order)))
    contributions = graph.node(
        "Gather", [graph.joined(parts, 1), back], output="contributions", axis=1
    )
    one = graph.constant(np.array([1], np.int64))
    total = graph.node("ReduceSum", [contributions, one], keepdims=0)
    names = encoding.catalogue.column_names
    terms = [(name, (column,)) for column, name in enumerate(names)]
    return graph.finished(
        total, weights[0], terms, TensorProto.DOUBLE, len(names),
        {"catalogue": encoding.catalogue.hash, "version": version,
         "padded_block": str(PADDED_BLOCK)},
    )  # fmt: skip


def build_additive_champion(
    model: AdditiveModel, catalogue_hash: str, version: str = "", tables: TableType = "float32"
) -> bytes:
    """The ONNX bytes of an additive model; the same bytes for the same arguments.

    Comparisons, whole numbers and look-ups only, so each contribution is exactly the reference's
    and a row's never depends on the others. Columns lie before rows inside the graph, since
    a look-up of whole rows of memory costs a tenth of one of single numbers.

    Args:
        model: what the graph computes.
        catalogue_hash: of the catalogue whose rows it takes.
        version: named in each score; the artifact's digest if empty.
        tables: `float16` stores half the bytes; the graph then equals `model.rounded("float16")`.
    """
    graph = _Graph()
    turned = graph.node("Transpose", ["rows"], perm=[1, 0])
    used = sorted({column for term in model.terms for column in term.columns})
    numeric = [column for column in used if isinstance(model.bins[column], Numeric)]
    categorical = [column for column in used if isinstance(model.bins[column], Categorical)]
    parts = []
    if numeric:
        parts.append(_add_numeric_bins(graph, turned, model, numeric))
    if categorical:
        parts.append(_add_categorical_bins(graph, turned, model, categorical))
    bins = graph.joined(parts, 0)  # int32 [used columns, n]
    place = {column: number for number, column in enumerate(numeric + categorical)}
    entries, order = [], []
    for width in (1, 2):
        numbers = [t for t, term in enumerate(model.terms) if len(term.columns) == width]
        if numbers:
            terms = [model.terms[t] for t in numbers]
            entries.append(_add_entries(graph, bins, place, terms, tables))
            order += numbers
    found = graph.joined(entries, 0)  # float32 [terms, n]
    if order != sorted(order):
        found = graph.node("Gather", [found, graph.constant(np.argsort(order))], axis=0)
    contributions = graph.node("Transpose", [found], output="contributions", perm=[1, 0])
    wide = graph.node("Cast", [contributions], to=TensorProto.DOUBLE)
    one = graph.constant(np.array([1], np.int64))
    total = graph.node("ReduceSum", [wide, one], keepdims=0)
    named = [(name, t.columns) for name, t in zip(model.names, model.terms, strict=True)]
    return graph.finished(
        total, model.bias, named, TensorProto.FLOAT, len(model.columns),
        {"catalogue": catalogue_hash, "version": version, "padded_block": "0"},
    )  # fmt: skip


class _Graph:
    """Nodes and constants as they are added; a constant or node is known by its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def joined(self, parts: list[str], axis: int) -> str:
        return self.node("Concat", parts, axis=axis) if len(parts) > 1 else parts[0]

    def finished(
        self,
        total: str,
        bias: float,
        terms: Sequence[tuple[str, tuple[int, ...]]],
        kind: int,
        columns: int,
        meta: dict[str, str],
    ) -> bytes:
        """Add `bias` and `logit` = bias + total, then check and serialise the whole."""
        constant = self.constant(np.array([bias], np.float64))
        self.node("Add", [total, self.node("Identity", [constant], output="bias")], output="logit")
        outputs = [
            helper.make_tensor_value_info("logit", TensorProto.DOUBLE, ["n"]),
            helper.make_tensor_value_info("contributions", kind, ["n", len(terms)]),
            helper.make_tensor_value_info("bias", TensorProto.DOUBLE, [1]),
        ]
        rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", columns])
        made = helper.make_graph(self.nodes, "leadstream_champion", [rows], outputs, self.constants)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        model.producer_name = "leadstream"
        told = [{"name": name, "columns": list(columns_)} for name, columns_ in terms]
        meta = {**meta, "format": FORMAT, "terms": json.dumps(told)}
        helper.set_model_props(model, meta)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _add_values(
    graph: _Graph, encoding: Encoding, weights: NDArray[np.float64], columns: NDArray[Any]
) -> str:
    """Terms [n, len(columns)] of numeric columns: weight · clipped transform, or the flag's."""
    index = graph.constant(columns)
    zero = graph.constant(np.array(0.0))
    taken = graph.node("Gather", ["rows", index], axis=1)
    x = graph.node("Cast", [taken], to=TensorProto.DOUBLE)
    missing = graph.node("IsNaN", [x])
    known = graph.node("Where", [missing, zero, x])
    size = graph.node("Add", [graph.node("Abs", [known]), graph.constant(np.array(1.0))])
    log = graph.node("Log", [size])
    negative = graph.node("Less", [known, zero])
    log = graph.node("Where", [negative, graph.node("Neg", [log]), log])
    value = graph.node("Where", [graph.constant(encoding.is_log[None, columns]), log, known])
    value = graph.node("Sub", [value, graph.constant(encoding.center[None, columns])])
    value = graph.node("Div", [value, graph.constant(encoding.scale[None, columns])])
    limits = [graph.constant(np.array(-CLIP)), graph.constant(np.array(CLIP))]
    value = graph.node("Clip", [value, *limits])
    start = encoding.start[columns]
    term = graph.node("Mul", [value, graph.constant(weights[None, start])])
    has_flag = encoding.form[columns] == VALUE_AND_FLAG
    flag = np.where(has_flag, weights[start + has_flag], 0.0)
    return graph.node("Where", [missing, graph.constant(flag[None, :]), term])


def _add_categories(
    graph: _Graph, encoding: Encoding, weights: NDArray[np.float64], columns: NDArray[Any]
) -> str:
    """Terms [n, len(columns)] of categorical columns: the weight of the category's input."""
    x = graph.node("Gather", ["rows", graph.constant(columns)], axis=1)
    ids = _add_ids(graph, x, encoding.width[None, columns] - 1)
    place = graph.node("Cast", [ids], to=TensorProto.INT64)
    start = graph.constant(encoding.start[None, columns])
    place = graph.node("Add", [place, start])
    return graph.node("Gather", [graph.constant(weights), place], axis=0)


def _add_ids(graph: _Graph, x: str, categories: NDArray[Any]) -> str:
    """Category ids as float32, `categories` itself for what is no id (NaN too)."""
    last = graph.constant(categories.astype(np.float32))
    above = graph.node("Less", [graph.constant(np.array(-1.0, np.float32)), x])
    inside = graph.node("And", [above, graph.node("Less", [x, last])])  # false for NaN
    return graph.node("Where", [inside, x, last])


def _add_numeric_bins(graph: _Graph, turned: str, model: AdditiveModel, columns: list[int]) -> str:
    """Bins int32 [columns, n] of numeric columns: how many of -inf and the cuts are <= x.

    Shorter columns are filled up with NaN, which nothing reaches; NaN itself reaches none: bin 0.
    """
    width = max(model.bins[column].count for column in columns) - 1
    cuts = np.full((len(columns), width, 1), np.nan, np.float32)
    for number, column in enumerate(columns):
        own = model.bins[column]
        if isinstance(own, Numeric):
            cuts[number, 0] = -np.inf
            cuts[number, 1 : own.count - 1, 0] = own.cuts
    one = graph.constant(np.array([1], np.int64))
    x = graph.node("Gather", [turned, graph.constant(np.array(columns))], axis=0)
    x = graph.node("Unsqueeze", [x, one])
    reached = graph.node("GreaterOrEqual", [x, graph.constant(cuts)])  # [columns, width, n]
    reached = graph.node("Cast", [reached], to=TensorProto.FLOAT)
    count = graph.node("ReduceSum", [reached, one], keepdims=0)
    return graph.node("Cast", [count], to=TensorProto.INT32)


def _add_categorical_bins(
    graph: _Graph, turned: str, model: AdditiveModel, columns: list[int]
) -> str:
    """Bins int32 [columns, n] of categorical columns, looked up by id."""
    places, starts, categories, start = [], [], [], 0
    for column in columns:
        own = model.bins[column]
        if isinstance(own, Categorical):
            places.append(np.append(own.places, 0))
            categories.append([len(own.places)])
            starts.append([start])
            start += len(places[-1])
    x = graph.node("Gather", [turned, graph.constant(np.array(columns))], axis=0)
    ids = _add_ids(graph, x, np.array(categories))
    at = graph.node("Cast", [ids], to=TensorProto.INT32)
    at = graph.node("Add", [at, graph.constant(np.array(starts, np.int32))])
    table = graph.constant(np.concatenate(places).astype(np.int32))
    return graph.node("Gather", [table, at], axis=0)


def _add_entries(
    graph: _Graph, bins: str, place: dict[int, int], terms: list[Term], tables: TableType
) -> str:
    """Table entries float32 [terms, n] of terms that all have one column, or all have two."""
    width = max(term.table.size for term in terms)
    flat = np.zeros((len(terms), width), tables)
    for number, term in enumerate(terms):
        flat[number, : term.table.size] = term.table.ravel()
    at = graph.node("Gather", [bins, graph.constant(_places(place, terms, 0))], axis=0)
    if len(terms[0].columns) == 2:
        strides = np.array([[term.table.shape[1]] for term in terms], np.int32)
        right = graph.node("Gather", [bins, graph.constant(_places(place, terms, 1))], axis=0)
        at = graph.node("Add", [graph.node("Mul", [at, graph.constant(strides)]), right])
    table = graph.constant(flat)
    if tables != "float32":
        table = graph.node("Cast", [table], to=TensorProto.FLOAT)
    return graph.node("GatherElements", [table, at], axis=1)


def _places(place: dict[int, int], terms: list[Term], side: int) -> NDArray[np.int64]:
    return np.array([place[term.columns[side]] for term in terms], np.int64)
