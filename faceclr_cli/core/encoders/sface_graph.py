"""SFace's weights as float32 numbers, and as a graph for ONNX Runtime. Does not import torch.

The published file stores its weights in 8 bits with a scale for each block of numbers; the network computes in float.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
from faceclr_cli.core.encoders.onnx_file import INPUT, OUTPUT, OnnxFile
from faceclr_cli.core.encoders.prelu_expansion import expand_prelu
from faceclr_cli.core.encoders.sface_description import DIM, NAME, SIZE, describe_sface
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.weights import SFACE

Floats = NDArray[np.float32]

_CHUNK = 4
"""Crops that each core computes at a time: their feature maps stay in its cache."""

_ATTRIBUTES_ONLY = ("DequantizeLinear", "Reshape", "Dropout", "Constant")
"""Operations that restore weights or do nothing outside training."""


def read_sface_weights() -> dict[str, Floats]:
    """Returns the weights by their names in the file, such as `conv_2_dw_conv2d_weight` and `conv_2_batchnorm_gamma`.

    Raises:
        ModelError: The file is missing, or its digest is not the pinned one.
    """
    return _restore_weights(_read_graph())


def build_sface_graph() -> bytes:
    """Returns an ONNX model that maps 8-bit RGB crops to L2-normalized embeddings, as those of `faceclr export`.

    Its second output is the embeddings before normalization.

    Raises:
        ModelError: The file is missing, or its digest is not the pinned one.
    """
    graph = _read_graph()
    weights = _restore_weights(graph)
    nodes = [
        helper.make_node("Cast", [INPUT], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], [graph.input[0].name], perm=(0, 3, 1, 2)),
    ]
    renamed = {"dropout5": "bn1"}
    for node in graph.node:
        if node.op_type in _ATTRIBUTES_ONLY:
            continue
        inputs = [renamed.get(name, _plain_name(name)) for name in node.input]
        nodes.append(onnx.NodeProto())
        nodes[-1].CopyFrom(node)
        nodes[-1].ClearField("input")
        nodes[-1].input.extend(inputs)
    nodes += [
        helper.make_node("ReduceL2", [graph.output[0].name, "axis"], ["length"], keepdims=1),
        helper.make_node("Div", [graph.output[0].name, "length"], [OUTPUT]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1]), "axis"))
    inputs = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ("batch", SIZE, SIZE, 3))
    vectors = graph.output[0].name
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", DIM)) for name in (OUTPUT, vectors)]
    whole = helper.make_graph(nodes, "sface", [inputs], outputs, constants)
    expand_prelu(whole)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


class SFaceGraphEncoder(OnnxEncoder):
    """The built-in encoder `sface`, run by ONNX Runtime.

    Args:
        device: As for `find_provider`.

    Raises:
        ModelError: The weights are missing, or their digest is not the pinned one.
        ConfigError: ONNX Runtime lacks the provider of the device, or cannot start it.
    """

    has_norms = True

    def __init__(self, device: str = "cpu") -> None:
        description = describe_sface()
        file = OnnxFile(path=Path(NAME), description=description, precision="float32", content=build_sface_graph())
        super().__init__(file, description, device, chunk=_CHUNK)
        self._vectors = self._session.get_outputs()[1].name

    def embed_unnormalized(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `UnnormalizedEncoder.embed_unnormalized`."""
        return self._embed(crops, self._vectors)


def _read_graph() -> onnx.GraphProto:
    try:
        graph: onnx.GraphProto = onnx.ModelProto.FromString(SFACE.read()).graph
    except DecodeError as error:
        raise ModelError(f"onnx {onnx.__version__} cannot read SFace ({error})") from error
    return graph


def _plain_name(name: str) -> str:
    return name.removesuffix("_reshaped").removesuffix("_dequantized")


def _restore_weights(graph: onnx.GraphProto) -> dict[str, Floats]:
    """Computes each `DequantizeLinear` and `Reshape`, and returns the weights that other operations use."""
    stored = {constant.name: constant for constant in graph.initializer}
    shapes = {_plain_name(node.output[0]): node.input[1] for node in graph.node if node.op_type == "Reshape"}
    weights = dict[str, Floats]()
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            name = _plain_name(node.output[0])
            numbers, scales, zeros = (numpy_helper.to_array(stored[part]) for part in node.input)
            given = {attribute.name: attribute.i for attribute in node.attribute}
            weights[name] = _dequantize(numbers, scales, zeros, given["axis"], given["block_size"])
            if name in shapes:
                weights[name] = weights[name].reshape(numpy_helper.to_array(stored[shapes[name]]))
        elif node.op_type not in _ATTRIBUTES_ONLY:
            weights |= {name: numpy_helper.to_array(stored[name]) for name in node.input if name in stored}
    return weights


def _dequantize(numbers: NDArray[np.int8], scales: Floats, zeros: NDArray[np.int8], axis: int, block: int) -> Floats:
    """Computes ONNX's `DequantizeLinear` with blocks along one axis; the last block may be shorter."""
    places = np.arange(numbers.shape[axis]) // block
    return (numbers.astype(np.float32) - zeros.take(places, axis)) * scales.take(places, axis)
