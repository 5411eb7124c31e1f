"""Classification heads whose scores are cosines, with a margin on the true person."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather_labels

_PACE, _STEEPNESS = 0.01, 0.333


def cosface(cosines: Tensor, margin: float) -> Tensor:
    """Cos t - m (Wang et al. 2018, CosFace, arXiv 1801.09414, equation 4).

    Args:
        cosines: Of each embedding with the weights of its person. Shape: (N,).
        margin: 0.35 in the paper.

    Examples:
        >>> cosface(torch.tensor([0.75, 0.25]), margin=0.35)
        tensor([ 0.4000, -0.1000])
    """
    return cosines - margin


def arcface(cosines: Tensor, margin: float) -> Tensor:
    """Cos(t + m) (Deng et al. 2019, ArcFace, arXiv 1801.07698, equation 3).

    Beyond t = pi - m, where cos(t + m) would rise again, it goes on falling in a straight line (the authors' code):
    cos t - m sin m.

    Args:
        cosines: Of each embedding with the weights of its person. Shape: (N,).
        margin: In radians; 0.5 in the paper.

    Examples:
        >>> arcface(torch.tensor([1.0, 0.0]), margin=0.5)
        tensor([ 0.8774, -0.4794])
    """
    # The slope of the root at 1 is infinite; gradients there are those a hair's breadth away.
    sines = (1 - cosines.square()).clamp(min=1e-7).sqrt()
    turned = cosines * math.cos(margin) - sines * math.sin(margin)
    return torch.where(cosines > -math.cos(margin), turned, cosines - margin * math.sin(margin))


def adaface(cosines: Tensor, margin: float, qualities: Tensor) -> Tensor:
    """Cos(t - m q) - (m + m q) (Kim et al. 2022, AdaFace, arXiv 2204.00964, equations 11 to 13).

    A face of high quality is given a margin like CosFace's, as that makes hard samples count; one of low quality a
    margin like ArcFace's of the other sign, so that what nobody could recognize counts less.

    Args:
        cosines: Of each embedding with the weights of its person. Shape: (N,).
        margin: 0.4 in the paper.
        qualities: q, from -1 to 1. Shape: (N,).
    """
    angles = cosines.clamp(-1 + 1e-7, 1 - 1e-7).acos()
    # The authors' code keeps angles where the cosine is monotonic.
    angles = (angles - margin * qualities).clamp(1e-3, math.pi - 1e-3)
    return angles.cos() - margin * (1 + qualities)


class Quality(nn.Module):
    """How good a face is, from the length of its embedding (AdaFace, arXiv 2204.00964, equations 9 and 10).

    The length in standard deviations from the mean, times 0.33, clipped to -1 and 1. Mean and deviation are moving
    averages over the batches of all processes.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        # The values that the authors start from.
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    @torch.no_grad()
    def forward(self, embeddings: Tensor) -> Tensor:
        """Shape: (N, D), the same on all processes -> (N,). Moves the averages in training mode."""
        lengths = embeddings.detach().norm(dim=1).clamp(1e-3, 100)
        if self.training:
            every = all_gather_labels(lengths)
            self.mean.lerp_(every.mean().to(self.mean.dtype), _PACE)
            self.deviation.lerp_(every.std().to(self.deviation.dtype), _PACE)
        deviations: Tensor = (lengths - self.mean) / (self.deviation + 1e-3)
        return (_STEEPNESS * deviations).clamp(-1, 1)
