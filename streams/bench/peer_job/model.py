"""The job's model: log(1 + x), dense 64 ReLU, 32 ReLU, 1 sigmoid, weights from a fixed seed."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FEATURES = 31


def weights() -> list[NDArray[np.float32]]:
    """``[w1, b1, w2, b2, w3, b3]``; the same numbers on every machine."""
    rng = np.random.default_rng(20250101)
    out: list[NDArray[np.float32]] = []
    for n_in, n_out, gain in ((FEATURES, 64, 1.4), (64, 32, 1.4), (32, 1, 1.0)):
        out.append(rng.normal(0, gain / np.sqrt(n_in), (n_in, n_out)).astype(np.float32))
        out.append(rng.normal(0, 0.1, n_out).astype(np.float32))
    return out


def graph() -> bytes:
    """The ONNX model: ``features`` float32 [n, 31] -> ``probability`` float32 [n, 1]."""
    names = ["w1", "b1", "w2", "b2", "w3", "b3"]
    inits = [numpy_helper.from_array(np.array(1.0, np.float32), "one")]
    inits += [numpy_helper.from_array(w, n) for n, w in zip(names, weights(), strict=True)]
    nodes = [
        helper.make_node("Add", ["features", "one"], ["x1"]),
        helper.make_node("Log", ["x1"], ["x"]),
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("Gemm", ["r1", "w2", "b2"], ["h2"]),
        helper.make_node("Relu", ["h2"], ["r2"]),
        helper.make_node("Gemm", ["r2", "w3", "b3"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["probability"]),
    ]
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "lead_mlp",
            [value("features", TensorProto.FLOAT, ["n", FEATURES])],
            [value("probability", TensorProto.FLOAT, ["n", 1])],
            inits,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
