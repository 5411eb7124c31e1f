"""Random views of batches of crops, with independent random parameters for each view."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from faceclr_cli.core.views import color, geometry
from faceclr_cli.core.views.blur import blur
from faceclr_cli.core.views.light import side_light
from faceclr_cli.core.views.rand_augment import OperationChains

_SIMCLR_DRAWS = [2 * geometry.TRIES + 2, 1, 1, 2, 1, 4, 4, 1, 1, 1]
_ERASE_DRAWS = 3
_JITTER_PROBABILITY = 0.8
_SIGMAS = (0.1, 2.0)
_ERASE_SIDE = 0.35  # Side of an erased square, as a share of the side of the view.
_CPU_BLOCK = 32  # Pictures processed at a time, so that intermediate results stay in the processor's cache.


class Views(Protocol):
    """Makes random views of crops.

    The caller passes all random numbers. If several processes each take some rows of the same random numbers, they
    make the same views as a single process.
    """

    @property
    def draws(self) -> int:
        """Number of random numbers per view."""
        ...

    def __call__(self, crops: Tensor, drawn: Tensor) -> Tensor:
        """Makes V views of each crop.

        Args:
            crops: Square, RGB, 0-255, uint8. Shape: (B, H, H, 3).
            drawn: Random numbers, uniform between 0 and 1, float32. Always on the CPU. Shape: (B, V, draws).

        Returns:
            Values in [-1, 1], as from `normalize_pixels`, float32, channels_last: the first views of all crops,
            then the second views, and so on. Shape: (V * B, 3, size, size).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SimCLRViews:
    """The random views of SimCLR (Chen et al. 2020, arXiv 2002.05709, appendix A).

    The operations, in order:

    1. Random resized crop, rotation and flip, resampled once.
    2. Light from a random side. This is not in the paper; it imitates the lighting of faces.
    3. Color jitter with probability 0.8.
    4. Grayscale.
    5. Gaussian blur with a sigma of 0.1 to 2 pixels.
    6. Random erasing (Zhong et al. 2017, arXiv 1708.04896), also not in the paper: a square of about an eighth of the
       view turns gray.

    The modules `geometry`, `color` and `blur` describe each operation and how it differs from torchvision's.

    Attributes:
        size: Side of the views in pixels.
        crop_scale: Minimum area of a crop, as a share of the picture; 1 disables cropping.
        jitter: Strength s of the color jitter: brightness, contrast and saturation change by up to 0.8 s.
        hue: Maximum hue rotation in either direction, as a share of a full turn; 0.2 s in the paper.
        gray: Probability of a grayscale view.
        blur: Probability of a blurred view.
        rotate: Maximum rotation in either direction, in degrees.
        light: Maximum strength of the light from a side. The brightest edge can be exp(light) times as bright as the
            middle, and the opposite edge is darker by the same factor.
        flip: Probability of a mirrored view.
        erase: Probability of a view with an erased square.
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
        drawn = flatten_views(drawn)
        # Decided on the CPU, so that selecting the views to blur does not synchronize with the GPU.
        blurred = torch.split(drawn, self._draws, dim=1)[-3][:, 0] < self.blur
        drawn = drawn.to(crops.device, non_blocking=True)
        parts = torch.split(drawn, self._draws, dim=1)
        box, angle, flip, light, jittered, factors, order, gray, _, sigma, erased = parts
        boxes, degrees = geometry.random_boxes(box, self.crop_scale), self.rotate * (2 * angle[:, 0] - 1)
        maps = geometry.affine(boxes, degrees, flip[:, 0] < self.flip)
        colors = self._colors(jittered, factors, order, gray)
        strengths, directions = self.light * light[:, 0], 2 * math.pi * light[:, 1]
        sigmas = _SIGMAS[0] + (_SIGMAS[1] - _SIGMAS[0]) * sigma[:, 0]

        def write(source: Tensor, rows: slice, result: Tensor) -> None:
            views = geometry.sample(source, maps[rows], self.size, inside=self.rotate == 0)
            if self.light:
                views *= side_light(strengths[rows], directions[rows], self.size)
            views = color.apply_matrices(colors[rows], views, scale=1 / 127.5, offset=-1).clamp_(-1, 1)
            result.copy_(views)
            which = blurred[rows].nonzero()[:, 0].to(crops.device, non_blocking=True)
            if len(which):
                result[which] = blur(views[which], sigmas[rows][which])
            if self.erase:
                result.masked_fill_(_erasing_masks(erased[rows], self.erase, self.size), 0)

        return make_in_blocks(crops, len(drawn), self.size, write)

    def _colors(self, jittered: Tensor, factors: Tensor, order: Tensor, gray: Tensor) -> Tensor:
        """Builds the color matrix of each view from random numbers."""
        reach = torch.tensor([0.8 * self.jitter] * 3 + [self.hue], device=factors.device)
        center = torch.tensor([1.0, 1.0, 1.0, 0.0], device=factors.device)
        chain = color.jitter(center + reach * (2 * factors - 1), order.argsort(dim=1))
        chain = torch.where(jittered[:, :, None] < _JITTER_PROBABILITY, chain, color.identity(factors))
        grayed = color.saturation(torch.zeros_like(gray[:, 0])) @ chain
        return torch.where(gray[:, :, None] < self.gray, grayed, chain)


@dataclass(frozen=True, kw_only=True)
class FaceViews:
    """Random views of an aligned face by a flip and a chain of RandAugment operations, without cropping.

    This is the recipe of USynthFace (Boutros et al. 2022, arXiv 2211.07371). The operations of a chain are drawn from
    `rand_augment.NAMES` with replacement, as in RandAugment (arXiv 1909.13719). Each has its own magnitude, uniform
    from 0 to `magnitude`, and a random sign if the operation has a direction. Magnitudes have the same meaning as in
    torchvision. The module `rand_augment` describes the differences from torchvision's chain.

    Attributes:
        size: Side of the views in pixels.
        operations: Number of operations per view.
        magnitude: Maximum magnitude, on a scale of 0 to 30.
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
        drawn = flatten_views(drawn)
        flipped = (drawn[:, 0] < self.flip).to(crops.device, non_blocking=True)
        uniform = drawn[:, 1:].reshape(len(drawn), self.operations, 3)
        chains = OperationChains.from_uniform(uniform, self.magnitude, crops.device)
        maps = geometry.mirror(flipped) @ chains.maps

        def write(source: Tensor, rows: slice, result: Tensor) -> None:
            views = geometry.sample(source, maps[rows], self.size)
            result.copy_(chains.select(rows).recolor(views))

        return make_in_blocks(crops, len(drawn), self.size, write)


def _erasing_masks(drawn: Tensor, probability: float, size: int) -> Tensor:
    """Returns a mask of the erased square of each view, which may be empty. Shapes: (B, 3) -> (B, 1, size, size)."""
    side = round(_ERASE_SIDE * size)
    first = (drawn[:, 1:] * (size - side + 1)).floor()
    offsets = torch.arange(size, device=drawn.device) - first[:, :, None]
    inside = (offsets >= 0) & (offsets < side)
    which = (drawn[:, 0] < probability)[:, None, None]
    return (which & inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]


def flatten_views(drawn: Tensor) -> Tensor:
    """Reorders random numbers like the views. Shapes: (B, V, draws) -> (V * B, draws)."""
    return drawn.transpose(0, 1).flatten(0, 1)


def make_in_blocks(crops: Tensor, count: int, size: int, write: Callable[[Tensor, slice, Tensor], None]) -> Tensor:
    """Makes all views, a block of pictures at a time.

    Args:
        crops: See `Views`.
        count: Number of views, a multiple of the number of crops.
        size: Side of the views in pixels.
        write: Makes the views of some rows of the result. It takes the source pictures from
            `geometry.prepare_source`, the rows, and the part of the result to write to.

    Returns:
        See `Views`.
    """
    shape = (count, 3, size, size)
    result = torch.empty(shape, device=crops.device, memory_format=torch.channels_last)
    step = _CPU_BLOCK if crops.device.type == "cpu" else max(1, len(crops))
    for start in range(0, len(crops), step):
        source = geometry.prepare_source(crops[start : start + step], size)
        for first in range(start, count, len(crops)):
            rows = slice(first, first + len(source))
            write(source, rows, result[rows])
    return result
