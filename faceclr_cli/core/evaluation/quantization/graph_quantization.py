"""Static quantization of a graph by ONNX Runtime: 8-bit weights and activations, in standard operators."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from faceclr_cli.core.encoders.export_graph import silence_library
from faceclr_cli.core.encoders.onnx_file import INPUT
from faceclr_cli.core.errors import ModelError

_LAYERS = ("Conv", "Gemm", "MatMul")
_OPSET = 13
"""First version of ONNX with a scale for each channel of the weights."""


def quantize_graph(model: onnx.ModelProto, batches: Iterable[NDArray[np.uint8]]) -> onnx.ModelProto:
    """Quantizes convolutions and matrix products to 8 bits; everything else computes in float32.

    Activations have one scale for a layer, chosen from the lowest and highest value that the crops cause. Weights have
    a scale for each channel and use 7 bits, so that all processors give the same embeddings.

    Args:
        model: An exported graph without metadata.
        batches: Crops whose values determine the scales. Shape of each: (batch_size, side, side, 3).

    Raises:
        ModelError: ONNX Runtime cannot quantize the graph, it has no layer to quantize, or it is quantized already.
    """
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise ModelError("its graph is quantized already")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """The crops in the form that ONNX Runtime expects."""

        def __init__(self) -> None:
            self._batches: Iterator[NDArray[np.uint8]] = iter(batches)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """Returns the next batch, or None after the last."""
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch}

    with tempfile.TemporaryDirectory(prefix="faceclr-") as folder:
        source, prepared, quantized = (Path(folder) / f"{name}.onnx" for name in ("float", "prepared", "quantized"))
        source.write_bytes(_with_opset(model).SerializeToString())
        try:
            with silence_library():
                # Folds batch norms into convolutions, which otherwise stay between the 8-bit layers.
                quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
                plain = _name_nodes(onnx.load(prepared))
                prepared.write_bytes(plain.SerializeToString())
                quantize_static(
                    str(prepared),
                    str(quantized),
                    Reader(),
                    quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    per_channel=True,
                    # Sums of products of 8-bit weights overflow on processors with AVX2 or AVX512 but without VNNI.
                    reduce_range=True,
                    op_types_to_quantize=list(_LAYERS),
                    nodes_to_exclude=_preprocessing(plain),
                )
        except (
            RuntimeError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            IndexError,
            NotImplementedError,
        ) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"ONNX Runtime cannot quantize its graph ({reason})") from error
        made = onnx.load(quantized)
    if not any(node.op_type == "QuantizeLinear" for node in made.graph.node):
        raise ModelError("its graph has no convolution or matrix product to quantize")
    return _strip(made, model)


def _with_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Converts graphs of old versions of ONNX, which foreign encoders may have."""
    if max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0) >= _OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, _OPSET)
    except RuntimeError as error:
        raise ModelError(f"its graph cannot be converted to version {_OPSET} of ONNX's operators") from error


def _name_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Gives each node a name of its own, by which ONNX Runtime refers to it."""
    for number, node in enumerate(model.graph.node):
        node.name = f"node_{number}"
    return model


def _preprocessing(model: onnx.ModelProto) -> list[str]:
    """Returns the names of the nodes before the first convolution: pixels must not be rounded twice."""
    kinds = [node.op_type for node in model.graph.node]
    first = kinds.index("Conv") if "Conv" in kinds else 0
    return [node.name for node in model.graph.node[:first]]


def _strip(made: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """Removes the metadata that the tools add, and operator sets that no node uses."""
    del made.metadata_props[:]
    used = {node.domain for node in made.graph.node} | {""}
    kept = [each for each in made.opset_import if each.domain in used or (each.domain == "ai.onnx")]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    del made.graph.value_info[:]
    # The tools may rename the batch axis.
    del made.graph.input[:], made.graph.output[:]
    made.graph.input.extend(model.graph.input)
    made.graph.output.extend(model.graph.output)
    return made
