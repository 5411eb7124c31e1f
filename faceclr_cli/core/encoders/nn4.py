"""NN4-small2, the inception network of OpenFace for faces of 96x96 pixels (Amos et al. 2016, CMU-CS-16-118)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NAME = "nn4_small2"
CHANNELS = 736


class NN4Small2(nn.Module):
    """Maps pictures to a feature map of 736 channels and 1/32 of the side (3x3 for 96x96).

    Followed by mean pooling and a linear layer to 128 dimensions, it is the nn4.small2 network of OpenFace's table,
    with 3,733,968 parameters. L2 pooling has stride 1, as in the table.

    Args:
        has_strided_pooling: Pool as the released weights of OpenFace were trained: with strides of 2 (max pooling) and
            3 (L2 pooling) and without padding. The smaller map is then surrounded by zeros.
    """

    def __init__(self, *, has_strided_pooling: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv(3, 64, 7, stride=2),
            nn.MaxPool2d(3, 2, padding=1),
            nn.LocalResponseNorm(5),
            _conv(64, 64, 1),
            _conv(64, 192, 3),
            nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, 2, padding=1),
        )
        strided = has_strided_pooling
        self.inception_3a = Inception(
            192, one=64, three=(96, 128), five=(16, 32), pool=("max", 32), has_strided_pooling=strided
        )
        self.inception_3b = Inception(
            256, one=64, three=(96, 128), five=(32, 64), pool=("l2", 64), has_strided_pooling=strided
        )
        self.inception_3c = Inception(320, three=(128, 256), five=(32, 64), stride=2, has_strided_pooling=strided)
        self.inception_4a = Inception(
            640, one=256, three=(96, 192), five=(32, 64), pool=("l2", 128), has_strided_pooling=strided
        )
        self.inception_4e = Inception(640, three=(160, 256), five=(64, 128), stride=2, has_strided_pooling=strided)
        self.inception_5a = Inception(1024, one=256, three=(96, 384), pool=("l2", 96), has_strided_pooling=strided)
        self.inception_5b = Inception(736, one=256, three=(96, 384), pool=("max", 96), has_strided_pooling=strided)

    def forward(self, pictures: Tensor) -> Tensor:
        """Shape: (B, 3, S, S) -> (B, 736, ceil(S / 32), ceil(S / 32))."""
        features: Tensor = self.stem(pictures)
        for name, block in self.named_children():
            if name != "stem":
                features = block(features)
        return features


class Inception(nn.Module):
    """Parallel branches: 3x3 and 5x5 convolutions after 1x1 reductions, pooling, and a 1x1 convolution.

    Args:
        channels: Input channels.
        three: Channels of the 1x1 reduction and of the 3x3 convolution.
        one: Channels of the 1x1 convolution, or 0 for no such branch.
        five: Channels of the 1x1 reduction and of the 5x5 convolution, or None for no such branch.
        pool: Kind of pooling (`max` or `l2`) and channels of the 1x1 convolution after it, or None for max pooling
            without a convolution.
        stride: Stride of the branches.
        has_strided_pooling: See `NN4Small2`.
    """

    def __init__(
        self,
        channels: int,
        *,
        three: tuple[int, int],
        one: int = 0,
        five: tuple[int, int] | None = None,
        pool: tuple[str, int] | None = None,
        stride: int = 1,
        has_strided_pooling: bool = False,
    ) -> None:
        super().__init__()
        self._pads = has_strided_pooling
        branches: list[nn.Module] = [nn.Sequential(_conv(channels, three[0], 1), _conv(*three, 3, stride=stride))]
        if five is not None:
            branches.append(nn.Sequential(_conv(channels, five[0], 1), _conv(*five, 5, stride=stride)))
        max_pooling = nn.MaxPool2d(3, 2) if has_strided_pooling else nn.MaxPool2d(3, stride, padding=1)
        if pool is None:
            branches.append(max_pooling)
        else:
            kind, width = pool
            pooling = max_pooling if kind == "max" else L2Pool(is_strided=has_strided_pooling)
            branches.append(nn.Sequential(pooling, _conv(channels, width, 1)))
        if one:
            branches.append(_conv(channels, one, 1))
        self.branches = nn.ModuleList(branches)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, sum of the branches' channels, ceil(H / stride), ceil(W / stride))."""
        outcomes = [branch(features) for branch in self.branches]
        if self._pads:
            outcomes = [_surround(outcome, outcomes[0].shape[2]) for outcome in outcomes]
        return torch.cat(outcomes, dim=1)


class L2Pool(nn.Module):
    """L2 norm over 3x3 windows.

    Args:
        is_strided: Windows do not overlap and are not padded; otherwise their stride is 1.
    """

    def __init__(self, *, is_strided: bool = False) -> None:
        super().__init__()
        self._stride, self._padding = (3, 0) if is_strided else (1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C, H, W), or (B, C, H // 3, W // 3) with strides."""
        sums = 9 * F.avg_pool2d(features.square(), 3, self._stride, padding=self._padding)
        # The gradient of the square root is infinite at 0.
        return sums.clamp(min=1e-12).sqrt()


def _surround(features: Tensor, side: int) -> Tensor:
    """Centers a square map in zeros."""
    missing = side - features.shape[2]
    before, after = missing // 2, missing - missing // 2
    return F.pad(features, (before, after, before, after))


def _conv(channels: int, width: int, side: int, *, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, side, stride, padding=side // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
