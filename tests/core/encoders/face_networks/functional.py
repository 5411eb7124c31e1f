"""Slow transcriptions of networks made for faces, from the tables of their papers and the names of public checkpoints.

Each has a function that draws weights, and one that computes embeddings from them, in plain functional form. Pictures
are the input of the network: (B, 3, S, S), float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


class Drawing:
    """Draws weights with batch-norm statistics that are not those of a new network."""

    def __init__(self, seed: int) -> None:
        self.state: State = {}
        self._generator = torch.Generator().manual_seed(seed)

    def conv(self, name: str, width: int, channels: int, *sides: int, bias: bool = False) -> None:
        height, wide = sides if len(sides) == 2 else (sides[0], sides[0])
        scale = (channels * height * wide) ** -0.5
        self.state[f"{name}.weight"] = self._normal(width, channels, height, wide) * scale
        if bias:
            self.state[f"{name}.bias"] = self._normal(width) * 0.1

    def linear(self, name: str, width: int, features: int, *, bias: bool) -> None:
        self.state[f"{name}.weight"] = self._normal(width, features) * features**-0.5
        if bias:
            self.state[f"{name}.bias"] = self._normal(width) * 0.1

    def norm(self, name: str, width: int, *, affine: bool = True) -> None:
        if affine:
            self.state[f"{name}.weight"] = 1 + 0.2 * self._normal(width)
            self.state[f"{name}.bias"] = 0.1 * self._normal(width)
        self.state[f"{name}.running_mean"] = 0.1 * self._normal(width)
        self.state[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=self._generator)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def prelu(self, name: str, width: int) -> None:
        self.state[f"{name}.weight"] = 0.25 + 0.1 * self._normal(width)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator)


def assert_same(embeddings: Tensor, expected: Tensor) -> None:
    """Asserts that embeddings differ by no more than the rounding of deep networks."""
    assert embeddings.shape == expected.shape
    assert float((embeddings - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def norm(state: State, name: str, features: Tensor, eps: float = 1e-5) -> Tensor:
    """Batch norm of the evaluation mode, by its definition."""
    shape = (1, -1) + (1,) * (features.ndim - 2)
    mean, var = state[f"{name}.running_mean"].view(shape), state[f"{name}.running_var"].view(shape)
    outcome = (features - mean) / (var + eps).sqrt()
    if f"{name}.weight" in state:
        outcome = outcome * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)
    return outcome


def prelu(state: State, name: str, features: Tensor) -> Tensor:
    slope = state[f"{name}.weight"].view(1, -1, 1, 1)
    return torch.where(features > 0, features, slope * features)


def conv(state: State, name: str, features: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
    bias = state.get(f"{name}.bias")
    return F.conv2d(features, state[f"{name}.weight"], bias, stride, padding, groups=groups)


# insightface: recognition/arcface_torch


def draw_iresnet(blocks: Sequence[int], seed: int = 0, side: int = 7) -> State:
    drawing = Drawing(seed)
    drawing.conv("conv1", 64, 3, 3)
    drawing.norm("bn1", 64)
    drawing.prelu("prelu", 64)
    channels = 64
    for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            drawing.norm(f"{name}.bn1", channels)
            drawing.conv(f"{name}.conv1", width, channels, 3)
            drawing.norm(f"{name}.bn2", width)
            drawing.prelu(f"{name}.prelu", width)
            drawing.conv(f"{name}.conv2", width, width, 3)
            drawing.norm(f"{name}.bn3", width)
            if block == 0:
                drawing.conv(f"{name}.downsample.0", width, channels, 1)
                drawing.norm(f"{name}.downsample.1", width)
            channels = width
    drawing.norm("bn2", 512)
    drawing.linear("fc", 512, 512 * side * side, bias=True)
    drawing.norm("features", 512)
    drawing.state["features.weight"] = torch.ones(512)
    return drawing.state


def iresnet(state: State, blocks: Sequence[int], pictures: Tensor) -> Tensor:
    x = prelu(state, "prelu", norm(state, "bn1", conv(state, "conv1", pictures, padding=1)))
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            name, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            y = conv(state, f"{name}.conv1", norm(state, f"{name}.bn1", x), padding=1)
            y = prelu(state, f"{name}.prelu", norm(state, f"{name}.bn2", y))
            y = norm(state, f"{name}.bn3", conv(state, f"{name}.conv2", y, stride, padding=1))
            if block == 0:
                x = norm(state, f"{name}.downsample.1", conv(state, f"{name}.downsample.0", x, stride))
            x = y + x
    x = norm(state, "bn2", x).flatten(1)
    return norm(state, "features", x @ state["fc.weight"].T + state["fc.bias"])


# AdaFace: net.py


def draw_ir(blocks: Sequence[int], seed: int = 0, side: int = 7) -> State:
    drawing = Drawing(seed)
    drawing.conv("input_layer.0", 64, 3, 3)
    drawing.norm("input_layer.1", 64)
    drawing.prelu("input_layer.2", 64)
    drawing.norm("output_layer.0", 512)
    drawing.linear("output_layer.3", 512, 512 * side * side, bias=True)
    drawing.norm("output_layer.4", 512, affine=False)
    channels, number = 64, 0
    for count, width in zip(blocks, (64, 128, 256, 512), strict=True):
        for _ in range(count):
            name = f"body.{number}"
            if channels != width:
                drawing.conv(f"{name}.shortcut_layer.0", width, channels, 1)
                drawing.norm(f"{name}.shortcut_layer.1", width)
            drawing.norm(f"{name}.res_layer.0", channels)
            drawing.conv(f"{name}.res_layer.1", width, channels, 3)
            drawing.norm(f"{name}.res_layer.2", width)
            drawing.prelu(f"{name}.res_layer.3", width)
            drawing.conv(f"{name}.res_layer.4", width, width, 3)
            drawing.norm(f"{name}.res_layer.5", width)
            channels, number = width, number + 1
    return drawing.state


def ir(state: State, blocks: Sequence[int], pictures: Tensor) -> Tensor:
    x = conv(state, "input_layer.0", pictures, padding=1)
    x = prelu(state, "input_layer.2", norm(state, "input_layer.1", x))
    number = 0
    for count in blocks:
        for block in range(count):
            name, stride = f"body.{number}", 2 if block == 0 else 1
            y = conv(state, f"{name}.res_layer.1", norm(state, f"{name}.res_layer.0", x), padding=1)
            y = prelu(state, f"{name}.res_layer.3", norm(state, f"{name}.res_layer.2", y))
            y = norm(state, f"{name}.res_layer.5", conv(state, f"{name}.res_layer.4", y, stride, padding=1))
            if f"{name}.shortcut_layer.0.weight" in state:
                x = conv(state, f"{name}.shortcut_layer.0", x, stride)
                x = norm(state, f"{name}.shortcut_layer.1", x)
            else:
                x = x[:, :, ::stride, ::stride]
            x, number = y + x, number + 1
    x = norm(state, "output_layer.0", x).flatten(1)
    return norm(state, "output_layer.4", x @ state["output_layer.3.weight"].T + state["output_layer.3.bias"])


# TreB1eN/InsightFace_Pytorch: model.py

BOTTLENECKS = (
    (128, 2, False),
    *((128, 1, True),) * 4,
    (256, 2, False),
    *((256, 1, True),) * 6,
    (512, 2, False),
    *((256, 1, True),) * 2,
)
"""Channels of the depthwise convolution, stride, and whether there is a shortcut."""
WIDTHS = (64,) * 5 + (128,) * 10
NAMES = (
    "conv_23",
    *(f"conv_3.model.{number}" for number in range(4)),
    "conv_34",
    *(f"conv_4.model.{number}" for number in range(6)),
    "conv_45",
    *(f"conv_5.model.{number}" for number in range(2)),
)


def draw_mobilefacenet(seed: int = 0, embedding_dim: int = 512) -> State:
    drawing = Drawing(seed)

    def block(name: str, width: int, channels: int, side: int, *, linear: bool = False) -> None:
        drawing.conv(f"{name}.conv", width, channels, side)
        drawing.norm(f"{name}.bn", width)
        if not linear:
            drawing.prelu(f"{name}.prelu", width)

    block("conv1", 64, 3, 3)
    block("conv2_dw", 64, 1, 3)
    channels = 64
    for name, (hidden, _, _), width in zip(NAMES, BOTTLENECKS, WIDTHS, strict=True):
        block(f"{name}.conv", hidden, channels, 1)
        block(f"{name}.conv_dw", hidden, 1, 3)
        block(f"{name}.project", width, hidden, 1, linear=True)
        channels = width
    block("conv_6_sep", 512, 128, 1)
    block("conv_6_dw", 512, 1, 7, linear=True)
    drawing.linear("linear", embedding_dim, 512, bias=False)
    drawing.norm("bn", embedding_dim)
    return drawing.state


def mobilefacenet(state: State, pictures: Tensor) -> Tensor:
    def block(name: str, x: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        x = norm(state, f"{name}.bn", conv(state, f"{name}.conv", x, stride, padding, groups))
        return prelu(state, f"{name}.prelu", x) if f"{name}.prelu.weight" in state else x

    x = block("conv2_dw", block("conv1", pictures, 2, 1), 1, 1, groups=64)
    for name, (hidden, stride, has_shortcut) in zip(NAMES, BOTTLENECKS, strict=True):
        y = block(f"{name}.conv", x)
        y = block(f"{name}.project", block(f"{name}.conv_dw", y, stride, 1, groups=hidden))
        x = x + y if has_shortcut else y
    x = block("conv_6_dw", block("conv_6_sep", x), groups=512).flatten(1)
    return norm(state, "bn", x @ state["linear.weight"].T)
