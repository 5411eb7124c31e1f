"""A small encoder of drawn people, trained by PyTorch, and ONNX files that other projects might make from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.faces.align import Alignment
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.detect import Face
from faceclr_cli.core.faces.face_folder import DESCRIPTION

SIDE, DIM = 112, 32
PEOPLE, EACH = 26, 5
STEPS = 120
IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Trained:
    """The encoder, its faces, and the folder that they are in."""

    network: nn.Sequential
    crops: NDArray[np.uint8]
    faces: Path

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns PyTorch's embeddings of crops: the reference for all files."""
        with torch.no_grad():
            pictures = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
            rows: NDArray[np.float32] = F.normalize(self.network(pictures), dim=1).numpy()
        return rows


def train(folder: Path) -> Trained:
    """Draws people, writes their crops as prepared faces, and trains a network to tell them apart."""
    crops, labels = [], []
    for person in range(PEOPLE):
        for number in range(EACH):
            drawn = draw_photo(invent_person(person + 1), number)
            face = Face(box=(0, 0, 1, 1), landmarks=drawn.landmarks, score=1.0)
            crops.append(Alignment().cut(drawn.image, face))
            labels.append(person)
            path = folder / "faces" / f"person-{person:02}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), crops[-1][..., ::-1])
    write_json(folder / "faces" / DESCRIPTION, {**stamp("faces", {}), "fingerprint": default_fingerprint().to_json()})
    pictures = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return Trained(_fit(pictures, torch.tensor(labels)), np.stack(crops), folder / "faces")


def untrained() -> Trained:
    """Returns the network with random weights and pictures of noise, for tests that need no faces."""
    crops = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    return Trained(nn.Sequential(nn.AvgPool2d(4), *_body()).eval(), crops, Path("nowhere"))


def _body() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, DIM),
    )


def _fit(pictures: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    body = _body()
    people = nn.Parameter(torch.randn(PEOPLE, DIM))
    optimizer = torch.optim.Adam([*body.parameters(), people], lr=3e-3)
    small = F.avg_pool2d(pictures, 4)
    for _ in range(STEPS):
        cosine = F.normalize(body(small), dim=1) @ F.normalize(people, dim=1).T
        optimizer.zero_grad()
        F.cross_entropy(16 * cosine, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return nn.Sequential(nn.AvgPool2d(4), *body).eval()


def write_model(
    path: Path,
    trained: Trained,
    *,
    mean: Sequence[float] = (127.5,),
    std: Sequence[float] = (127.5,),
    bgr: bool = False,
    nhwc: bool = False,
    element: int = TensorProto.FLOAT,
    batch: int | str = "N",
    reshape_to_one: bool = False,
    through_a_vector: bool = False,
    normalized: bool = False,
    maps: bool = False,
    extra_outputs: bool = False,
    name: str = "embedding",
    opset: int = 13,
    metadata: Mapping[str, str] | None = None,
    before: Sequence[onnx.NodeProto] = (),
    inputs: Sequence[onnx.ValueInfoProto] = (),
    size: Sequence[int | str] = (SIDE, SIDE),
) -> Path:
    """Writes the encoder as a file that takes `(x - mean) / std`, in its own order of channels and axes.

    Nodes at its start turn these pixels into the [-1, 1] that the network was trained with.
    """
    nodes, constants = list(before), list[onnx.TensorProto]()

    def add(kind: str, source: str, *values: NDArray[Any], **attributes: Any) -> str:
        made = f"v{len(nodes)}"
        names = [f"{made}_{place}" for place in range(len(values))]
        constants.extend(numpy_helper.from_array(value, each) for value, each in zip(values, names, strict=True))
        nodes.append(helper.make_node(kind, [source, *names], [made], **attributes))
        return made

    def row(values: Sequence[float]) -> NDArray[np.float32]:
        wide = np.float32(values if len(values) == 3 else [values[0]] * 3)
        return (wide[::-1] if bgr else wide).reshape(1, 3, 1, 1)

    last = "data"
    if element != TensorProto.FLOAT:
        last = add("Cast", last, to=TensorProto.FLOAT)
    if nhwc:
        last = add("Transpose", last, perm=[0, 3, 1, 2])
    if (tuple(mean), tuple(std)) != ((127.5,), (127.5,)):
        last = add("Mul", last, row(std) / np.float32(127.5))
        last = add("Add", last, row(mean) / np.float32(127.5) - 1)
    if bgr:
        last = add("Gather", last, np.array([2, 1, 0]), axis=1)
    last = add("AveragePool", last, kernel_shape=[4, 4], strides=[4, 4])
    weights = [value.detach().numpy() for value in trained.network.parameters()]
    for kernel, bias in (weights[:2], weights[2:4]):
        last = add("Conv", last, kernel, bias, strides=[2, 2], pads=[1, 1, 1, 1])
        last = add("Relu", last)
    features = last
    if through_a_vector:  # which works for one picture only
        last = add("Reshape", last, np.array([-1]))
    last = add("Reshape", last, np.array([1, -1])) if reshape_to_one else add("Flatten", last)
    last = add("Gemm", last, weights[4], weights[5], transB=1)
    if maps:
        last = add("Reshape", last, np.array([0, DIM, 1, 1]))
    if normalized:
        last = add("LpNormalization", last, axis=1, p=2)
    nodes.append(helper.make_node("Identity", [last], [name]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]
    if extra_outputs:
        nodes.append(helper.make_node("Identity", [features], ["feature_map"]))
        nodes.append(helper.make_node("ReduceL2", [last], ["norm"], axes=[1], keepdims=1))
        outputs = [
            helper.make_tensor_value_info("feature_map", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("norm", TensorProto.FLOAT, None),
            *outputs,
        ]
    shape = (batch, *size, 3) if nhwc else (batch, 3, *size)
    data = helper.make_tensor_value_info("data", element, shape)
    graph = helper.make_graph(nodes, "theirs", [data, *inputs], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path
