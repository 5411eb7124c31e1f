"""An exported encoder small enough to be made without torch: an embedding is the mean color of the crop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from faceclr_cli.core.encoders.architecture import Architecture, InputNormalization
from faceclr_cli.core.encoders.onnx_file import Precision, write_onnx
from faceclr_cli.core.faces.crop import default_fingerprint

SIDE, DIM = 112, 3
WEIGHTS = "5" * 64
CALIBRATION = {
    "points": [{"far": 0.001, "threshold": 0.25, "tar": 0.75, "low": 0.2, "high": 0.3}],
    "probability": {"slope": 20.0, "offset": -5.0},
    "source": "pairs",
}


def encoder_json(**changes: Any) -> dict[str, Any]:
    """The content of the toy's `encoder.json`."""
    content = {
        "kind": "encoder",
        "faceclr": "0.1.0",
        "config": {"lr": 0.5},
        "architecture": Architecture(backbone="toy", embedding_dim=DIM, image_size=64).to_json(),
        "dim": DIM,
        "fingerprint": {
            **default_fingerprint(SIDE).to_json(),
            "channels": "rgb",
            "normalisation": InputNormalization().text,
        },
        "calibration": CALIBRATION,
        "card": {"command": "pretrain", "data": "train", "pictures": 3, "people": {"Zoë": 2, "Ann": 1}},
        "weights": {"sha256": WEIGHTS},
    }
    return {**content, **changes}


def graph(
    *extra: onnx.NodeProto,
    result: str = "embeddings",
    kind: int = TensorProto.UINT8,
    taken: tuple[object, ...] = ("batch", SIDE, SIDE, 3),
    given: tuple[object, ...] = ("batch", DIM),
) -> onnx.ModelProto:
    """The toy's graph.

    Args:
        extra: Nodes after it, which compute `embeddings` from `mean`.
        result: Name of the output of the toy's own last node.
        kind: Type of the input.
        taken: Shape of the input.
        given: Shape of the output, as the graph states it.
    """
    nodes = [
        helper.make_node("Cast", ["crops"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], [result], axis=1, p=2),
    ]
    inputs = [helper.make_tensor_value_info("crops", kind, taken)]
    outputs = [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, given)]
    made = helper.make_graph([*nodes, *extra], "toy", inputs, outputs)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_toy(
    path: Path, model: onnx.ModelProto | None = None, *, precision: Precision = "float32", **changes: Any
) -> Path:
    """Writes it, sealed like any other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_onnx(path, model or graph(), encoder_json(**changes), precision)
    return path


def mean_colors(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the toy's embeddings, computed by NumPy."""
    means = crops.astype(np.float64).mean(axis=(1, 2))
    colors: NDArray[np.float64] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return colors
