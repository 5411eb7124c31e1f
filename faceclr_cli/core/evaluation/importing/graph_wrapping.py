"""Foreign graphs inside the interface of exported encoders: 8-bit crops to L2-normalized embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from faceclr_cli.core.encoders.architecture import InputNormalization
from faceclr_cli.core.encoders.onnx_file import INPUT, OUTPUT
from faceclr_cli.core.evaluation.importing.foreign_graph import RAW, ForeignGraph

_REVERSED = (2, 1, 0)


def wrap_graph(graph: ForeignGraph, normalization: InputNormalization) -> onnx.ModelProto:
    """Adds the conversion of the crops before a graph, and L2 normalization after it.

    Args:
        graph: The graph.
        normalization: The pixels that it takes.

    Returns:
        A model from `crops`, RGB, 0-255, uint8, shape (batch, side, side, 3), to `embeddings`, float32, shape
        (batch, dim). `batch` is 1 if the graph takes one picture at a time.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    inner = model.graph
    before, after = _Chain(INPUT), _Chain(graph.output)
    if normalization.channels == "bgr":
        before.add("Gather", np.array(_REVERSED, np.int64), {"axis": 3})
    if not graph.takes_bytes:
        before.add("Cast", attributes={"to": TensorProto.FLOAT})
        order = slice(None, None, -1 if normalization.channels == "bgr" else 1)
        if normalization.mean != RAW.mean:
            before.add("Sub", np.array(normalization.mean, np.float32)[order])
        if normalization.std != RAW.std:
            before.add("Div", np.array(normalization.std, np.float32)[order])
    if graph.layout == "nchw":
        before.add("Transpose", attributes={"perm": (0, 3, 1, 2)})
    if graph.element not in (TensorProto.FLOAT, TensorProto.UINT8):
        before.add("Cast", attributes={"to": graph.element})
    before.finish(graph.input)
    after.add("Cast", attributes={"to": TensorProto.FLOAT})
    after.add("Reshape", np.array((-1, graph.dim), np.int64))
    after.add("LpNormalization", attributes={"axis": 1, "p": 2})
    after.finish(OUTPUT)
    batch = "batch" if graph.batched else 1
    wrapped = helper.make_graph(
        [*before.nodes, *inner.node, *after.nodes],
        "encoder",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, (batch, graph.side, graph.side, 3))],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (batch, graph.dim))],
        [*before.constants, *inner.initializer, *after.constants],
    )
    wrapped.sparse_initializer.extend(inner.sparse_initializer)
    model.graph.CopyFrom(wrapped)
    return model


class _Chain:
    """Nodes that each take the result of the previous one.

    Args:
        start: Name of the value that the first one takes.
    """

    def __init__(self, start: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._start = self._value = start

    def add(
        self, kind: str, constant: NDArray[np.generic] | None = None, attributes: Mapping[str, Any] | None = None
    ) -> None:
        place = f"{self._start}/{len(self.nodes)}"
        inputs = [self._value]
        if constant is not None:
            self.constants.append(numpy_helper.from_array(constant, f"{place}/constant"))
            inputs.append(f"{place}/constant")
        self.nodes.append(helper.make_node(kind, inputs, [place], **(attributes or {})))
        self._value = place

    def finish(self, name: str) -> None:
        """Names the result."""
        self.nodes.append(helper.make_node("Identity", [self._value], [name]))
