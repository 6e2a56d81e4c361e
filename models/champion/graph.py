"""An additive champion as an ONNX tensor graph: feature rows in, logit and contributions out.

The graph holds the encoding and the weights of a linear model and computes in float64. It uses
only operators that have CUDA kernels in ONNX Runtime (`OPERATORS`; tree ensembles have none).
Every column's term is computed for itself, so a richer additive model (sums of one- and
two-feature terms) keeps the same inputs and outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.features.encoding import CATEGORY, CLIP, VALUE_AND_FLAG, Encoding

OPSET, IR_VERSION = 17, 8
# fmt: off
OPERATORS = frozenset({
    "Abs", "Add", "And", "Cast", "Clip", "Concat", "Div", "Gather", "Identity",
    "IsNaN", "Less", "Log", "Mul", "Neg", "ReduceSum", "Sub", "Where",
})
# fmt: on


def build_linear_champion(
    encoding: Encoding, weights: NDArray[np.float64], version: str = ""
) -> bytes:
    """The ONNX bytes of a linear champion; the same bytes for the same arguments.

    Input `rows` float32 [n, C]; outputs `logit` float64 [n], `contributions` float64 [n, C] and
    `bias` float64 [1], with logit = bias + contributions summed. Metadata names the catalogue.

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
    joined = graph.node("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
    back = graph.constant(np.argsort(np.concatenate(order)))
    contributions = graph.node("Gather", [joined, back], output="contributions", axis=1)
    bias = graph.node("Identity", [graph.constant(weights[:1])], output="bias")
    one = graph.constant(np.array([1], np.int64))
    total = graph.node("ReduceSum", [contributions, one], keepdims=0)
    graph.node("Add", [total, bias], output="logit")
    columns_ = len(encoding.form)
    made = helper.make_graph(
        graph.nodes,
        "leadstream_champion",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", columns_])],
        [
            helper.make_tensor_value_info("logit", TensorProto.DOUBLE, ["n"]),
            helper.make_tensor_value_info("contributions", TensorProto.DOUBLE, ["n", columns_]),
            helper.make_tensor_value_info("bias", TensorProto.DOUBLE, [1]),
        ],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    model.producer_name = "leadstream"
    helper.set_model_props(model, {"catalogue": encoding.catalogue.hash, "version": version})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


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
    index = graph.constant(columns)
    x = graph.node("Gather", ["rows", index], axis=1)
    last = graph.constant((encoding.width[None, columns] - 1).astype(np.float32))
    above = graph.node("Less", [graph.constant(np.array(-1.0, np.float32)), x])
    inside = graph.node("And", [above, graph.node("Less", [x, last])])  # false for NaN
    known = graph.node("Where", [inside, x, last])
    place = graph.node("Cast", [known], to=TensorProto.INT64)
    start = graph.constant(encoding.start[None, columns])
    place = graph.node("Add", [place, start])
    return graph.node("Gather", [graph.constant(weights), place], axis=0)
