"""Random views of crops: a batch as one tensor, each view with parameters of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from faceclr_cli.core.views import color as color
from faceclr_cli.core.views import geometry as warp
from faceclr_cli.core.views.blur import blur
from faceclr_cli.core.views.rand_augment import Chains

_SIMCLR_DRAWS = [2 * warp.TRIES + 2, 1, 1, 2, 1, 4, 4, 1, 1, 1]
_ERASE_DRAWS = 3
_JITTERED = 0.8
_SIGMAS = (0.1, 2.0)
_ERASED = 0.35  # Side of an erased square, as a share of the view's.
_CPU_BLOCK = 32  # Pictures at a time, so that what lies between two steps stays in the processor's cache.


class Views(Protocol):
    """Makes random views of crops.

    All that is random comes from numbers that the caller draws, so that processes that share out the rows of one
    draw make the views that a single process would.
    """

    @property
    def draws(self) -> int:
        """How many random numbers a view takes."""
        ...

    def __call__(self, crops: Tensor, drawn: Tensor) -> Tensor:
        """Makes some views of each crop.

        Args:
            crops: Square, RGB, 0-255, uint8. Shape: (B, H, H, 3).
            drawn: Uniform between 0 and 1, float32, on the CPU, wherever the crops are. Shape: (B, V, draws).

        Returns:
            Values in [-1, 1], as an encoder's `normalize` gives them, float32, channels_last: the first views of
            all crops, then the second, ... Shape: (V * B, 3, size, size).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SimCLRViews:
    """The random views of SimCLR (Chen et al. 2020, arXiv 2002.05709, appendix A).

    In this order: random resized crop, rotation and flip, sampled once; light from a side, which the paper
    has not, but faces do; color jitter with probability 0.8; grayscale; Gaussian blur with a sigma of 0.1 to
    2 pixels. See `warp`, `color` and `blur` for what each does, and for where it differs from torchvision's. Last
    comes random erasing, which the paper has not either (Zhong et al. 2017, arXiv 1708.04896): a square of about an
    eighth of the view turns gray.

    Attributes:
        size: Side of the views in pixels.
        crop_scale: Smallest area of a crop, as a share of the picture's; 1 switches cropping off.
        jitter: Strength s: brightness, contrast and saturation change by up to 0.8 s.
        hue: Largest turn of hue either way, as a share of a full circle; 0.2 s in the paper.
        gray: Probability of a gray view.
        blur: Probability of a blurred view.
        rotate: Largest rotation either way, in degrees.
        light: Greatest strength of light from a side: e to this is how much brighter than the middle the
            brightest edge can become, and the other edge is as much darker.
        flip: Probability of a mirrored view.
        erase: Probability of a view with a square erased.
    """

    size: int
    crop_scale: float
    jitter: float
    hue: float
    gray: float
    blur: float
    rotate: float
    light: float = 0.0
    flip: float = 0.5
    erase: float = 0.0

    @property
    def draws(self) -> int:
        """See `Views`."""
        return sum(self._draws)

    @property
    def _draws(self) -> list[int]:
        return [*_SIMCLR_DRAWS, _ERASE_DRAWS if self.erase else 0]

    @torch.no_grad()
    def __call__(self, crops: Tensor, drawn: Tensor) -> Tensor:
        """See `Views`."""
        drawn = _in_order_of_views(drawn)
        # Which views are blurred is found out on the CPU, where it does not make a GPU wait.
        blurred = torch.split(drawn, self._draws, dim=1)[-3][:, 0] < self.blur
        drawn = drawn.to(crops.device, non_blocking=True)
        parts = torch.split(drawn, self._draws, dim=1)
        box, angle, flip, light, jittered, factors, order, gray, _, sigma, erased = parts
        boxes, degrees = warp.random_boxes(box, self.crop_scale), self.rotate * (2 * angle[:, 0] - 1)
        maps = warp.affine(boxes, degrees, flip[:, 0] < self.flip)
        colors = self._colors(jittered, factors, order, gray)
        strengths, directions = self.light * light[:, 0], 2 * math.pi * light[:, 1]
        sigmas = _SIGMAS[0] + (_SIGMAS[1] - _SIGMAS[0]) * sigma[:, 0]

        def write(source: Tensor, rows: slice, result: Tensor) -> None:
            views = warp.sample(source, maps[rows], self.size, inside=self.rotate == 0)
            if self.light:
                views *= color.side_light(strengths[rows], directions[rows], self.size)
            views = color.apply(colors[rows], views, scale=1 / 127.5, offset=-1).clamp_(-1, 1)
            result.copy_(views)
            which = blurred[rows].nonzero()[:, 0].to(crops.device, non_blocking=True)
            if len(which):
                result[which] = blur(views[which], sigmas[rows][which])
            if self.erase:
                result.masked_fill_(_squares(erased[rows], self.erase, self.size), 0)

        return _fill(crops, len(drawn), self.size, write)

    def _colors(self, jittered: Tensor, factors: Tensor, order: Tensor, gray: Tensor) -> Tensor:
        """The color matrix of each view, from random numbers."""
        reach = torch.tensor([0.8 * self.jitter] * 3 + [self.hue], device=factors.device)
        center = torch.tensor([1.0, 1.0, 1.0, 0.0], device=factors.device)
        chain = color.jitter(center + reach * (2 * factors - 1), order.argsort(dim=1))
        chain = torch.where(jittered[:, :, None] < _JITTERED, chain, color.identity(factors))
        grayed = color.saturation(torch.zeros_like(gray[:, 0])) @ chain
        return torch.where(gray[:, :, None] < self.gray, grayed, chain)


@dataclass(frozen=True, kw_only=True)
class FaceViews:
    """Random views of an aligned face: no crop, but a flip and some operations, of which some turn, shear or shift it.

    After the recipe of USynthFace (Boutros et al. 2022, arXiv 2211.07371): a chain of operations like that of
    RandAugment (arXiv 1909.13719), each drawn from those of `operations.NAMES`, with replacement, and with a
    magnitude of its own, uniform from 0 to `magnitude`; either sign is as likely where an operation has one. What
    a magnitude stands for is torchvision's. See `operations` for where the views differ from a strict chain.

    Attributes:
        size: Side of the views in pixels.
        operations: How many operations a view goes through.
        magnitude: Largest magnitude, of 30.
        flip: Probability of a mirrored view.
    """

    size: int
    operations: int = 4
    magnitude: float = 16
    flip: float = 0.5

    @property
    def draws(self) -> int:
        """See `Views`."""
        return 1 + 3 * self.operations

    @torch.no_grad()
    def __call__(self, crops: Tensor, drawn: Tensor) -> Tensor:
        """See `Views`."""
        drawn = _in_order_of_views(drawn)
        flipped = (drawn[:, 0] < self.flip).to(crops.device, non_blocking=True)
        uniform = drawn[:, 1:].reshape(len(drawn), self.operations, 3)
        chains = Chains.drawn(uniform, self.magnitude, crops.device)
        maps = warp.mirror(flipped) @ chains.maps

        def write(source: Tensor, rows: slice, result: Tensor) -> None:
            views = warp.sample(source, maps[rows], self.size)
            result.copy_(chains.part(rows).recolor(views))

        return _fill(crops, len(drawn), self.size, write)


def _squares(drawn: Tensor, probability: float, size: int) -> Tensor:
    """Where views are erased: nowhere, or in a square anywhere within. Shapes: (B, 3) -> (B, 1, size, size)."""
    side = round(_ERASED * size)
    first = (drawn[:, 1:] * (size - side + 1)).floor()
    offsets = torch.arange(size, device=drawn.device) - first[:, :, None]
    inside = (offsets >= 0) & (offsets < side)
    which = (drawn[:, 0] < probability)[:, None, None]
    return (which & inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]


def _in_order_of_views(drawn: Tensor) -> Tensor:
    """Shape (B, V, draws) to (V * B, draws)."""
    return drawn.transpose(0, 1).flatten(0, 1)


def _fill(crops: Tensor, count: int, size: int, write: Callable[[Tensor, slice, Tensor], None]) -> Tensor:
    """Makes all views, some pictures at a time.

    Args:
        crops: See `Views`.
        count: Of all views, a multiple of the crops'.
        size: Side of the views in pixels.
        write: Makes the views that have their place in some rows of the result, from what `warp.source` gives, and
            writes them into those rows.

    Returns:
        See `Views`.
    """
    shape = (count, 3, size, size)
    result = torch.empty(shape, device=crops.device, memory_format=torch.channels_last)
    step = _CPU_BLOCK if crops.device.type == "cpu" else max(1, len(crops))
    for start in range(0, len(crops), step):
        source = warp.source(crops[start : start + step], size)
        for first in range(start, count, len(crops)):
            rows = slice(first, first + len(source))
            write(source, rows, result[rows])
    return result
