"""SFace (Zhong et al. 2021, arXiv 2205.12010), whose layers are those of MobileNet (arXiv 1704.04861) with PReLU."""

from __future__ import annotations

from torch import Tensor, nn

from faceclr_cli.core.encoders.architecture import Pool
from faceclr_cli.core.encoders.face_networks.prelu import PReLU

_WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (1, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
_EPS = 1e-3
LAST_EPS = 2e-5
"""The epsilon of the batch norms before and after the embedding layer."""


class SFaceUnit(nn.Module):
    """Convolution, batch norm and PReLU.

    Args:
        channels: Number of input channels.
        width: Number of output channels.
        kernel: Side of the kernel.
        stride: Stride of the convolution.
        groups: Number of groups; `channels` for a depthwise convolution.
    """

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(width, eps=_EPS)
        self.activation = PReLU(width)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, channels, H, W) -> (B, width, H / stride, W / stride)."""
        activated: Tensor = self.activation(self.norm(self.conv(features)))
        return activated


class SFaceBackbone(nn.Module):
    """The convolutions of SFace: one full one, then 13 pairs of a depthwise and a pointwise one, 27 in all.

    Args:
        pool: `mean` pools the feature map.
    """

    def __init__(self, pool: Pool = "none") -> None:
        super().__init__()
        self.add_module("conv_1", SFaceUnit(3, _WIDTHS[0], 3, _STRIDES[0]))
        for number, (channels, width, stride) in enumerate(zip(_WIDTHS, _WIDTHS[1:], _STRIDES[1:], strict=False), 2):
            self.add_module(f"conv_{number}_dw", SFaceUnit(channels, channels, 3, stride, groups=channels))
            self.add_module(f"conv_{number}", SFaceUnit(channels, width, 1))
        self.add_module("bn1", nn.BatchNorm2d(_WIDTHS[-1], eps=LAST_EPS))
        if pool == "mean":
            self.add_module("pool", nn.AdaptiveAvgPool2d(1))
            self.add_module("flatten", nn.Flatten())

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns the feature map that the embedding layer takes.

        Args:
            pictures: RGB, (x - 127.5) / 128. Shape: (B, 3, 112, 112).

        Returns:
            Shape: (B, 1024, 7, 7), or (B, 1024) if pooled.
        """
        features = pictures
        for layer in self.children():
            features = layer(features)
        return features
