"""MobileFaceNet (Chen et al. 2018, arXiv 1804.07573) and the variants of its public implementations."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from faceclr_cli.core.encoders.architecture import Pool
from faceclr_cli.core.encoders.face_networks.prelu import PReLU

CHANNELS = 512
_HALVINGS = 4
# Channels of the depthwise convolution, and bottlenecks: of the one that halves the side, and of those that follow.
STAGES = ((128, 128, 4), (256, 256, 6), (512, 256, 2))
_STEM_GROUPS = 64

Activation = Literal["prelu", "relu6"]


class MobileFaceNet(nn.Module):
    """Maps pictures to 512 features: the global depthwise convolution has one weight for each place of the map.

    Args:
        image_size: Side of the pictures in pixels. It determines the kernel of the global depthwise convolution.
        pool: `none` for the global depthwise convolution, as in the paper; `mean` for global average pooling, which
            is the paper's baseline and does not depend on the size of the pictures.
        width: Channels of the first stage: 64 in the paper, 128 in insightface.
        activation: `prelu` as in the paper, or `relu6`.
        has_pointwise_stem: Add a pointwise convolution to the depthwise one of the stem; both have ReLUs.
    """

    def __init__(
        self,
        *,
        image_size: int,
        pool: Pool,
        width: int = 64,
        activation: Activation = "prelu",
        has_pointwise_stem: bool = False,
    ) -> None:
        super().__init__()
        stem_activation = "relu" if has_pointwise_stem else activation
        self.stem = nn.Sequential(
            _conv(3, width, 3, stride=2, activation=activation),
            _conv(width, width, 3, groups=_STEM_GROUPS, activation=stem_activation),
            *([_conv(width, width, 1, activation=stem_activation)] if has_pointwise_stem else []),
        )
        bottlenecks: list[nn.Module] = []
        channels = width
        for stage_width, (first_hidden, hidden, count) in zip((width, 2 * width, 2 * width), STAGES, strict=True):
            bottlenecks.append(Bottleneck(channels, first_hidden, stage_width, stride=2, activation=activation))
            channels = stage_width
            bottlenecks += [Bottleneck(channels, hidden, channels, activation=activation) for _ in range(count)]
        self.bottlenecks = nn.Sequential(*bottlenecks)
        self.expansion = _conv(channels, CHANNELS, 1, activation=activation)
        self.pooling: nn.Module = nn.AdaptiveAvgPool2d(1)
        if pool == "none":
            side = -(-image_size // 2**_HALVINGS)
            convolution = nn.Conv2d(CHANNELS, CHANNELS, side, groups=CHANNELS, bias=False)
            self.pooling = nn.Sequential(convolution, nn.BatchNorm2d(CHANNELS))
        self._image_size = image_size if pool == "none" else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: Tensor) -> Tensor:
        """Shape: (B, 3, S, S) -> (B, 512, 1, 1), or (B, 512) with average pooling."""
        features: Tensor = self.pooling(self.expansion(self.bottlenecks(self.stem(pictures))))
        return features if self._image_size else features.flatten(1)


class Bottleneck(nn.Module):
    """Pointwise, depthwise and linear pointwise convolution; with a shortcut if the shape stays the same.

    Args:
        channels: Input channels.
        hidden: Channels of the depthwise convolution.
        width: Output channels.
        stride: Stride of the depthwise convolution.
        activation: Activation after the first two convolutions.
    """

    def __init__(
        self, channels: int, hidden: int, width: int, *, stride: int = 1, activation: Activation = "prelu"
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _conv(channels, hidden, 1, activation=activation),
            _conv(hidden, hidden, 3, stride=stride, groups=hidden, activation=activation),
            _conv(hidden, width, 1),
        )
        self._has_shortcut = stride == 1

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, width, ceil(H / stride), ceil(W / stride))."""
        outcome: Tensor = self.layers(features)
        return features + outcome if self._has_shortcut else outcome


def _conv(
    channels: int, width: int, side: int, *, stride: int = 1, groups: int = 1, activation: str | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, side, stride, padding=side // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
    ]
    match activation:
        case "prelu":
            layers.append(PReLU(width))
        case "relu6":
            layers.append(nn.ReLU6(inplace=True))
        case "relu":
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
