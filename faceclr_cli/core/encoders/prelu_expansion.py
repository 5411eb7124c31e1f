"""PReLU in ONNX graphs as operations that ONNX Runtime computes fast on CPUs."""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper


def expand_prelu(graph: onnx.GraphProto) -> None:
    """Replaces each PReLU by `slope * x + (1 - slope) * relu(x)`, which is the same function for any slope.

    ONNX Runtime's fast convolutions on CPUs have a memory layout of their own, which PReLU lacks, so that each PReLU
    costs two conversions. Without them, SFace is 1.7 times as fast.

    Args:
        graph: The graph, which is changed. PReLUs whose slopes are not constants stay.
    """
    constants = {constant.name: constant for constant in graph.initializer}
    nodes = list[onnx.NodeProto]()
    for node in graph.node:
        if node.op_type != "PRelu" or node.input[1] not in constants:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        slope = numpy_helper.to_array(constants[node.input[1]])
        graph.initializer.append(numpy_helper.from_array(1 - slope, f"{node.output[0]}_rest"))
        nodes += _expand(node.input[0], node.input[1], node.output[0])
    graph.ClearField("node")
    graph.node.extend(nodes)


def _expand(values: str, slope: str, result: str) -> list[onnx.NodeProto]:
    positive, scaled, raised = (f"{result}_{part}" for part in ("positive", "scaled", "raised"))
    return [
        helper.make_node("Relu", [values], [positive]),
        helper.make_node("Mul", [values, slope], [scaled]),
        helper.make_node("Mul", [positive, f"{result}_rest"], [raised]),
        helper.make_node("Add", [scaled, raised], [result]),
    ]
