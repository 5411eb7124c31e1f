"""The residual networks of ArcFace and AdaFace (arXiv 1801.07698, 2204.00964): pre-normalized blocks, stride-1 stem."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.encoders.architecture import Pool
from faceclr_cli.core.encoders.face_networks.prelu import PReLU

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
"""Number of blocks of the four stages, by number of layers. AdaFace calls the largest one 101."""

_WIDTHS = (64, 128, 256, 512)


class IResNet(nn.Module):
    """Maps pictures to a feature map of 512 channels and 1/16 of the side: 7x7 for 112 pixels.

    Args:
        blocks: Number of blocks of each stage. The first block of a stage halves the side.
        has_pooled_shortcut: Shortcuts between equally many channels are max pooling, as in the IR networks of AdaFace
            and CVLface. Otherwise, the shortcut of the first block of every stage is a convolution with batch norm,
            as in insightface.
        pool: `none` keeps the map; `mean` averages it.
    """

    def __init__(self, blocks: Sequence[int], *, has_pooled_shortcut: bool, pool: Pool) -> None:
        super().__init__()
        self._pool = pool
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.prelu = PReLU(_WIDTHS[0])
        stages, channels = [], _WIDTHS[0]
        for count, width in zip(blocks, _WIDTHS, strict=True):
            first = IResNetBlock(channels, width, stride=2, has_pooled_shortcut=has_pooled_shortcut)
            others = [IResNetBlock(width, width, has_pooled_shortcut=has_pooled_shortcut) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *others))
            channels = width
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn2 = nn.BatchNorm2d(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: Tensor) -> Tensor:
        """Shape: (B, 3, S, S) -> (B, 512, ceil(S / 16), ceil(S / 16)), or (B, 512) if pooled."""
        features = self.prelu(self.bn1(self.conv1(pictures)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
        normalized: Tensor = self.bn2(features)
        return normalized if self._pool == "none" else F.adaptive_avg_pool2d(normalized, 1).flatten(1)


class IResNetBlock(nn.Module):
    """Batch norm, convolution, batch norm, PReLU, strided convolution, batch norm; and the shortcut.

    Args:
        channels: Input channels.
        width: Output channels.
        stride: Stride of the second convolution and of the shortcut.
        has_pooled_shortcut: See `IResNet`.
    """

    def __init__(self, channels: int, width: int, *, stride: int = 1, has_pooled_shortcut: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if channels != width or (stride != 1 and not has_pooled_shortcut):
            self.downsample = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        elif stride != 1:
            self.downsample = nn.MaxPool2d(1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, width, ceil(H / stride), ceil(W / stride))."""
        residual = self.prelu(self.bn2(self.conv1(self.bn1(features))))
        outcome: Tensor = self.bn3(self.conv2(residual)) + self.downsample(features)
        return outcome
