"""Inception-ResNet-v1 (Szegedy et al. 2016, arXiv 1602.07261) as FaceNet's public implementations have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceclr_cli.core.encoders.architecture import Pool

CHANNELS = 1792
LEAST_SIZE = 75  # Smaller pictures have no place left in the last map.
BATCH_NORM_EPS = 0.001

Kernel = int | tuple[int, int]


class InceptionResnetV1(nn.Module):
    """Maps pictures to a feature map of 1792 channels: 3x3 for 160 pixels. Convolutions are not padded everywhere.

    Args:
        pool: `none` keeps the map; `mean` averages it, as in the paper.
    """

    def __init__(self, *, pool: Pool) -> None:
        super().__init__()
        self._pool = pool
        self.stem = nn.Sequential(
            _conv(3, 32, 3, stride=2, padding=0),
            _conv(32, 32, 3, padding=0),
            _conv(32, 64, 3),
            nn.MaxPool2d(3, 2),
            _conv(64, 80, 1),
            _conv(80, 192, 3, padding=0),
            _conv(192, 256, 3, stride=2, padding=0),
        )
        self.repeat_1 = nn.Sequential(*(_block_35() for _ in range(5)))
        self.mixed_6a = Reduction(
            [_conv(256, 384, 3, stride=2, padding=0)],
            [_conv(256, 192, 1), _conv(192, 192, 3), _conv(192, 256, 3, stride=2, padding=0)],
        )
        self.repeat_2 = nn.Sequential(*(_block_17() for _ in range(10)))
        self.mixed_7a = Reduction(
            [_conv(896, 256, 1), _conv(256, 384, 3, stride=2, padding=0)],
            [_conv(896, 256, 1), _conv(256, 256, 3, stride=2, padding=0)],
            [_conv(896, 256, 1), _conv(256, 256, 3), _conv(256, 256, 3, stride=2, padding=0)],
        )
        self.repeat_3 = nn.Sequential(*(_block_8(scale=0.2) for _ in range(5)))
        self.last = _block_8(scale=1.0, is_linear=True)

    def forward(self, pictures: Tensor) -> Tensor:
        """Shape: (B, 3, S, S) -> (B, 1792, H, H), or (B, 1792) if pooled."""
        features: Tensor = pictures
        for part in self.children():
            features = part(features)
        return features if self._pool == "none" else F.adaptive_avg_pool2d(features, 1).flatten(1)


class InceptionResidual(nn.Module):
    """Parallel branches, joined by a convolution, scaled, and added to the input.

    Args:
        channels: Channels of the input and the output.
        branches: Layers of each branch.
        width: Channels of all branches together.
        scale: Factor of the residual.
        is_linear: Omit the final ReLU.
    """

    def __init__(
        self, channels: int, *branches: Sequence[nn.Module], width: int, scale: float, is_linear: bool = False
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*layers) for layers in branches)
        self.joint = nn.Conv2d(width, channels, 1)
        self._scale = scale
        self._is_linear = is_linear

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C, H, W)."""
        joined: Tensor = self.joint(torch.cat([branch(features) for branch in self.branches], dim=1))
        outcome = joined * self._scale + features
        return outcome if self._is_linear else F.relu(outcome)


class Reduction(nn.Module):
    """Parallel branches and max pooling, all with stride 2 and without padding.

    Args:
        branches: Layers of each branch.
    """

    def __init__(self, *branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*layers) for layers in branches)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, sum of channels, (H - 1) // 2, (W - 1) // 2)."""
        outcomes = [branch(features) for branch in self.branches]
        return torch.cat([*outcomes, F.max_pool2d(features, 3, 2)], dim=1)


def _block_35() -> InceptionResidual:
    return InceptionResidual(
        256,
        [_conv(256, 32, 1)],
        [_conv(256, 32, 1), _conv(32, 32, 3)],
        [_conv(256, 32, 1), _conv(32, 32, 3), _conv(32, 32, 3)],
        width=96,
        scale=0.17,
    )


def _block_17() -> InceptionResidual:
    return InceptionResidual(
        896,
        [_conv(896, 128, 1)],
        [_conv(896, 128, 1), _conv(128, 128, (1, 7)), _conv(128, 128, (7, 1))],
        width=256,
        scale=0.1,
    )


def _block_8(*, scale: float, is_linear: bool = False) -> InceptionResidual:
    return InceptionResidual(
        CHANNELS,
        [_conv(CHANNELS, 192, 1)],
        [_conv(CHANNELS, 192, 1), _conv(192, 192, (1, 3)), _conv(192, 192, (3, 1))],
        width=384,
        scale=scale,
        is_linear=is_linear,
    )


def _conv(channels: int, width: int, kernel: Kernel, *, stride: int = 1, padding: int | None = None) -> nn.Sequential:
    """Returns a convolution with batch norm and ReLU; without `padding`, the map keeps its side."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    margin = (sides[0] // 2, sides[1] // 2) if padding is None else (padding, padding)
    return nn.Sequential(
        nn.Conv2d(channels, width, sides, stride, margin, bias=False),
        nn.BatchNorm2d(width, eps=BATCH_NORM_EPS),
        nn.ReLU(),
    )
