from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceclr_cli.core.encoders.prelu_expansion import expand_prelu


@pytest.mark.parametrize("width", [np.float32, np.float16])
def test_expanded_prelu_is_the_same_function_for_any_slope(width: type[np.floating]) -> None:
    slopes = np.array([-0.4, 0.0, 0.25, 1.0, 1.2], width).reshape(5, 1, 1)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(width))
    node = helper.make_node("PRelu", ["x", "slopes"], ["y"])
    shape = ("batch", 5, 3, 3)
    graph = helper.make_graph(
        [node],
        "prelu",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        [numpy_helper.from_array(slopes, "slopes")],
    )
    expand_prelu(graph)
    assert "PRelu" not in {each.op_type for each in graph.node}
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    values = np.random.default_rng(0).normal(size=(2, 5, 3, 3)).astype(width)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.where(values < 0, slopes * values, values)
    tolerance = 1e-6 if width is np.float32 else 2e-2
    np.testing.assert_allclose(session.run(None, {"x": values})[0], expected, atol=tolerance)


def test_a_slope_that_is_computed_stays() -> None:
    names = ("x", "slopes")
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2)) for name in names]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))
    graph = helper.make_graph([helper.make_node("PRelu", names, ["y"])], "prelu", inputs, [output])
    expand_prelu(graph)
    assert [node.op_type for node in graph.node] == ["PRelu"]
