"""Margins on the cosine of the true person: CosFace, ArcFace and AdaFace."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from faceclr_cli.core.losses.global_batch import all_gather_labels

_AVERAGE_RATE, _STEEPNESS = 0.01, 0.333


def cosface(cosines: Tensor, margin: float) -> Tensor:
    """Returns cos t - m (Wang et al. 2018, CosFace, arXiv 1801.09414, equation 4).

    Args:
        cosines: Cosine of each embedding with the weight vector of its person. Shape: (N,).
        margin: 0.35 in the paper.

    Examples:
        >>> cosface(torch.tensor([0.75, 0.25]), margin=0.35)
        tensor([ 0.4000, -0.1000])
    """
    return cosines - margin


def arcface(cosines: Tensor, margin: float) -> Tensor:
    """Returns cos(t + m) (Deng et al. 2019, ArcFace, arXiv 1801.07698, equation 3).

    Beyond t = pi - m, cos(t + m) would rise again; there the function continues linearly as cos t - m sin m, as in the
    authors' code.

    Args:
        cosines: Cosine of each embedding with the weight vector of its person. Shape: (N,).
        margin: In radians; 0.5 in the paper.

    Examples:
        >>> arcface(torch.tensor([1.0, 0.0]), margin=0.5)
        tensor([ 0.8774, -0.4794])
    """
    # The derivative of the root is infinite at a cosine of 1, so the sine is kept slightly above 0.
    sines = (1 - cosines.square()).clamp(min=1e-7).sqrt()
    turned = cosines * math.cos(margin) - sines * math.sin(margin)
    return torch.where(cosines > -math.cos(margin), turned, cosines - margin * math.sin(margin))


def adaface(cosines: Tensor, margin: float, qualities: Tensor) -> Tensor:
    """Returns cos(t - m q) - (m + m q) (Kim et al. 2022, AdaFace, arXiv 2204.00964, equations 11 to 13).

    High-quality faces get a margin similar to CosFace's, which emphasizes hard samples. Low-quality faces get a
    negative angular margin, which gives less weight to faces that cannot be recognized.

    Args:
        cosines: Cosine of each embedding with the weight vector of its person. Shape: (N,).
        margin: 0.4 in the paper.
        qualities: Image quality q, from -1 to 1. Shape: (N,).
    """
    angles = cosines.clamp(-1 + 1e-7, 1 - 1e-7).acos()
    # As in the authors' code: the cosine is monotonic between these angles.
    angles = (angles - margin * qualities).clamp(1e-3, math.pi - 1e-3)
    return angles.cos() - margin * (1 + qualities)


class Quality(nn.Module):
    """Estimates image quality from the norm of the embedding (AdaFace, arXiv 2204.00964, equations 9 and 10).

    The quality is 0.333 times the standardized norm, clipped to [-1, 1]. Mean and standard deviation are
    moving averages over the batches of all processes.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        # The initial values in the authors' code.
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    @torch.no_grad()
    def forward(self, embeddings: Tensor) -> Tensor:
        """Returns the quality of each face and, in training mode, updates the moving averages.

        Args:
            embeddings: Not normalized. Shape: (N, D), the same on all processes.

        Returns:
            Values in [-1, 1]. Shape: (N,).
        """
        norms = embeddings.detach().norm(dim=1).clamp(1e-3, 100)
        if self.training:
            all_norms = all_gather_labels(norms)
            self.mean.lerp_(all_norms.mean().to(self.mean.dtype), _AVERAGE_RATE)
            self.deviation.lerp_(all_norms.std().to(self.deviation.dtype), _AVERAGE_RATE)
        deviations: Tensor = (norms - self.mean) / (self.deviation + 1e-3)
        return (_STEEPNESS * deviations).clamp(-1, 1)
