"""The names that public implementations of MobileFaceNet give to its weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from faceclr_cli.core.encoders.face_networks.mobilefacenet import STAGES


@dataclass(frozen=True)
class MobileFaceNetNames:
    """Names of the parts of a MobileFaceNet: of its layers, and of the convolution, batch norm and PReLU of a layer."""

    stem: tuple[str, ...]
    bottlenecks: tuple[str, ...]
    layers: tuple[str, str, str]
    expansion: str
    pooling: str
    linear: str
    norm: str
    parts: Callable[[str, int], str]

    def key(self, name: str) -> str:
        """Translates the name of a weight."""
        name = name.removeprefix("backbone.")
        match = re.fullmatch(r"(stem|bottlenecks)\.(\d+)\.(?:layers\.(\d)\.)?(\d)\.(\w+)", name)
        if match:
            _, number, layer, part, rest = match.groups()
            place = (
                self.stem[int(number)] if layer is None else f"{self.bottlenecks[int(number)]}{self.layers[int(layer)]}"
            )
            return f"{self.parts(place, int(part))}.{rest}"
        match = re.fullmatch(r"(expansion|pooling)\.(\d)\.(\w+)", name)
        if match:
            place = self.expansion if match[1] == "expansion" else self.pooling
            return f"{self.parts(place, int(match[2]))}.{match[3]}"
        return name.replace("embedding.0", self.linear).replace("embedding.1", self.norm)


def _numbered(groups: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Returns the names of all bottlenecks: of each that halves the side, and of those that follow it."""
    names: list[str] = []
    for (first, others), (_, _, count) in zip(groups, STAGES, strict=True):
        names += [first, *(f"{others}.{number}" for number in range(count))]
    return tuple(names)


_NAMED_PARTS = ("conv", "bn", "prelu")

INSIGHTFACE_PYTORCH = MobileFaceNetNames(
    stem=("conv1", "conv2_dw"),
    bottlenecks=_numbered((("conv_23", "conv_3.model"), ("conv_34", "conv_4.model"), ("conv_45", "conv_5.model"))),
    layers=(".conv", ".conv_dw", ".project"),
    expansion="conv_6_sep",
    pooling="conv_6_dw",
    linear="linear",
    norm="bn",
    parts=lambda place, part: f"{place}.{_NAMED_PARTS[part]}",
)
ARCFACE_TORCH = MobileFaceNetNames(
    stem=("layers.0.layers", "layers.1.layers"),
    bottlenecks=_numbered(
        (("layers.2", "layers.3.layers"), ("layers.4", "layers.5.layers"), ("layers.6", "layers.7.layers"))
    ),
    layers=(".layers.0.layers", ".layers.1.layers", ".layers.2.layers"),
    expansion="conv_sep.layers",
    pooling="features.layers.0.layers",
    linear="features.layers.2",
    norm="features.layers.3",
    parts=lambda place, part: f"{place}.{part}",
)


def _flat_part(place: str, part: int) -> str:
    """A bottleneck is one sequence of eight layers there; other layers have named parts."""
    block, _, first = place.rpartition(":")
    return f"{block}.{int(first) + part}" if block else f"{place}.{_NAMED_PARTS[part]}"


XIAOCCER = MobileFaceNetNames(
    stem=("conv1", "dw_conv1"),
    bottlenecks=tuple(f"blocks.{number}.conv" for number in range(15)),
    layers=(":0", ":3", ":6"),
    expansion="conv2",
    pooling="linear7",
    linear="linear1.conv",
    norm="linear1.bn",
    parts=_flat_part,
)


def _foamliu_part(place: str, part: int) -> str:
    match place:
        case "depthwise" | "pointwise":
            number = 1 if place == "depthwise" else 2
            return f"dw_conv.{place if part == 0 else f'bn{number}'}"
        case "gdconv":
            return f"gdconv.{('depthwise', 'bn')[part]}"
    block, _, first = place.rpartition(":")
    return f"{block}.{int(first) + part}" if block else f"{place}.{part}"


FOAMLIU = MobileFaceNetNames(
    stem=("conv1", "depthwise", "pointwise"),
    bottlenecks=tuple(f"features.{number}.conv" for number in range(15)),
    layers=(".0", ".1", ":2"),
    expansion="conv2",
    pooling="gdconv",
    linear="conv3",
    norm="bn",
    parts=_foamliu_part,
)
