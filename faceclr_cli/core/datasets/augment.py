"""Random views of crops: a batch as one tensor, each picture with parameters of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from faceclr_cli.core.datasets import colour, warp
from faceclr_cli.core.datasets.blur import blur

_JITTERED = 0.8
_SIGMAS = (0.1, 2.0)
_CPU_BLOCK = 32  # Pictures at a time, so that what lies between two steps stays in the processor's cache.
_DRAWS = [2 * warp.TRIES + 2, 1, 1, 2, 1, 4, 4, 1, 1, 1]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The random views of SimCLR (Chen et al. 2020, arXiv 2002.05709, appendix A).

    In this order: random resized crop, rotation and flip, sampled once; light from a side, which the paper
    has not, but faces do; colour jitter with probability 0.8; greyscale; Gaussian blur with a sigma of 0.1 to
    2 pixels. See `warp`, `colour` and `blur` for what each
    does, and for where it differs from torchvision's.

    Attributes:
        size: Side of the views in pixels.
        crop_scale: Smallest area of a crop, as a share of the picture's; 1 switches cropping off.
        jitter: Strength s: brightness, contrast and saturation change by up to 0.8 s.
        hue: Largest turn of hue either way, as a share of a full circle; 0.2 s in the paper.
        grey: Probability of a grey view.
        blur: Probability of a blurred view.
        rotate: Largest rotation either way, in degrees.
        light: Greatest strength of light from a side: e to this is how much brighter than the middle the
            brightest edge can become, and the other edge is as much darker.
        flip: Probability of a mirrored view.
    """

    size: int
    crop_scale: float
    jitter: float
    hue: float
    grey: float
    blur: float
    rotate: float
    light: float = 0.0
    flip: float = 0.5

    @torch.no_grad()
    def __call__(self, crops: Tensor, generator: torch.Generator) -> Tensor:
        """Makes one view of each crop.

        Args:
            crops: Square, RGB, 0-255, uint8. Shape: (B, H, H, 3).
            generator: On the CPU, wherever the crops are; the views depend on its state alone.

        Returns:
            Values in [-1, 1], as an encoder's `normalise` gives them, float32, channels_last.
            Shape: (B, 3, size, size).
        """
        drawn = torch.rand(len(crops), sum(_DRAWS), generator=generator)
        shape = (len(crops), 3, self.size, self.size)
        views = torch.empty(shape, device=crops.device, memory_format=torch.channels_last)
        step = _CPU_BLOCK if crops.device.type == "cpu" else max(1, len(crops))
        for start in range(0, len(crops), step):
            block = slice(start, start + step)
            views[block] = self._views(crops[block], drawn[block])
        return views

    def _views(self, crops: Tensor, drawn: Tensor) -> Tensor:
        """The views that random numbers between 0 and 1 on the CPU, of shape (B, sum(_DRAWS)), stand for."""
        # Which views are blurred is found out on the CPU, where it does not make a GPU wait.
        blurred = (torch.split(drawn, _DRAWS, dim=1)[-2][:, 0] < self.blur).nonzero()[:, 0].to(crops.device)
        drawn = drawn.to(crops.device, non_blocking=True)
        box, angle, flip, light, jittered, factors, order, grey, _, sigma = torch.split(drawn, _DRAWS, dim=1)
        boxes, degrees = warp.random_boxes(box, self.crop_scale), self.rotate * (2 * angle[:, 0] - 1)
        maps = warp.affine(boxes, degrees, flip[:, 0] < self.flip)
        views = warp.sample(crops.permute(0, 3, 1, 2), maps, self.size)
        if self.light:
            views *= colour.side_light(self.light * light[:, 0], 2 * math.pi * light[:, 1], self.size)
        matrices = self._colours(jittered, factors, order, grey, views.mean(dim=(2, 3)))
        views = colour.apply(matrices, views).clamp_(-1, 1)
        return blur(views, blurred, _SIGMAS[0] + (_SIGMAS[1] - _SIGMAS[0]) * sigma[blurred, 0])

    def _colours(self, jittered: Tensor, factors: Tensor, order: Tensor, grey: Tensor, means: Tensor) -> Tensor:
        """The colour matrix of each view, from random numbers; maps 0-255 to [-1, 1]."""
        reach = torch.tensor([0.8 * self.jitter] * 3 + [self.hue], device=means.device)
        centre = torch.tensor([1.0, 1.0, 1.0, 0.0], device=means.device)
        chain = colour.jitter(centre + reach * (2 * factors - 1), order.argsort(dim=1), means)
        chain = torch.where(jittered[:, :, None] < _JITTERED, chain, colour.identity(means))
        chain = torch.where(
            grey[:, :, None] < self.grey, colour.saturation(torch.zeros_like(grey[:, 0])) @ chain, chain
        )
        chain = chain.clone()
        chain[:, :3] /= 127.5
        chain[:, :3, 3] -= 1
        return chain
