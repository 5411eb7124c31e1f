"""Chains of RandAugment's operations on batches, each view with a chain of its own.

A chain here differs from one of torchvision's, operation after operation, in this:

- Operations that move pixels come first, all together and in the order drawn, sampled once, bilinear. Shear leaves
  the middle of the picture where it is, shifts are not of whole pixels, and places outside the picture mirror it.
- Between brightness, contrast, saturation and gray, values are neither clamped nor rounded. They are clamped before
  every other operation and at the end, and rounded before those of `tones`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from faceclr_cli.core.views import color as color
from faceclr_cli.core.views import geometry as warp
from faceclr_cli.core.views import tones
from faceclr_cli.core.views.blur import sharpen

NAMES = (
    "rotate",
    "shear",
    "shift",
    "brightness",
    "contrast",
    "saturation",
    "gray",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
    "none",
)
"""Every one is as likely as any other."""

_NOT_LINEAR = ("sharpness", "posterize", "solarize", "autocontrast", "equalize")
_MOST = 30  # The magnitude at which the scales of RandAugment end, with what it stands for there:
_DEGREES, _SLOPE, _SHARE_OF_WIDTH, _FACTOR, _BITS = 30.0, 0.3, 150 / 331, 0.9, 4


@dataclass(frozen=True, kw_only=True)
class Chains:
    """The operations of N views, K of each, in their order.

    Attributes:
        names: Which of `NAMES`, on the CPU, where asking does not make a GPU wait. Shape: (N, K).
        strengths: Share of the scale of magnitudes, 0 to 1. Shape: (N, K).
        signs: -1 or 1. Shape: (N, K).
        maps: From places in the view to places in the picture, see `warp`. Shape: (N, 3, 3).
        colors: See `color`; the identity for operations that are no such matrix. Shape: (N, K, 6, 6).
    """

    names: Tensor
    strengths: Tensor
    signs: Tensor
    maps: Tensor
    colors: Tensor

    @classmethod
    def drawn(cls, uniform: Tensor, magnitude: float, device: torch.device) -> Chains:
        """What random numbers stand for.

        Args:
            uniform: Between 0 and 1, on the CPU: operation, magnitude and sign. Shape: (N, K, 3).
            magnitude: The largest, of 30.
            device: Where the views will be.
        """
        names = (uniform[..., 0] * len(NAMES)).long()
        there = uniform.to(device, non_blocking=True)
        strengths, signs = there[..., 1] * (magnitude / _MOST), torch.where(there[..., 2] < 0.5, -1.0, 1.0)
        which = names.to(device, non_blocking=True)
        maps, colors = _maps(which, signs * strengths), _colors(which, signs * strengths)
        return cls(names=names, strengths=strengths, signs=signs, maps=maps, colors=colors)

    def part(self, rows: slice) -> Chains:
        """The chains of some of the views."""
        return Chains(
            names=self.names[rows],
            strengths=self.strengths[rows],
            signs=self.signs[rows],
            maps=self.maps[rows],
            colors=self.colors[rows],
        )

    def recolor(self, views: Tensor) -> Tensor:
        """Carries out all operations but those that move pixels.

        Args:
            views: 0-255; changed in place. Shape: (N, 3, S, S).

        Returns:
            In [-1, 1]. Shape: (N, 3, S, S).
        """
        # What is linear waits until something comes that is not, so that it costs one pass.
        waiting = color.identity(views).clone()
        for step, names in enumerate(self.names.unbind(dim=1)):
            waiting = self.colors[:, step] @ waiting
            groups = [(names == NAMES.index(name)).nonzero()[:, 0] for name in _NOT_LINEAR]
            chosen = torch.cat(groups).to(views.device, non_blocking=True)
            if len(chosen):
                before = color.apply(waiting[chosen], views[chosen]).clamp_(0, 255)
                strengths, signs = self.strengths[chosen, step], self.signs[chosen, step]
                sizes = [len(group) for group in groups]
                split = [torch.split(each, sizes) for each in (before, strengths, signs)]
                views[chosen] = torch.cat([_not_linear(*part) for part in zip(_NOT_LINEAR, *split, strict=True)])
                waiting[chosen] = color.identity(chosen)
        return color.apply(waiting, views, scale=1 / 127.5, offset=-1).clamp_(-1, 1)


def _maps(names: Tensor, signed: Tensor) -> Tensor:
    rotation = warp.rotation((_DEGREES * _only("rotate", names, signed)).flatten())
    shear = warp.shear((_SLOPE * _only("shear", names, signed)).flatten())
    shift = warp.shift((_SHARE_OF_WIDTH * _only("shift", names, signed)).flatten())
    # At most one of the three is not the identity.
    each = (rotation @ shear @ shift).view(*names.shape, 3, 3)
    # A place in the view comes to the last operation first on its way back to the picture.
    maps = torch.eye(3, device=names.device).expand(len(names), 3, 3)
    for step in each.unbind(dim=1):
        maps = maps @ step
    return maps


def _colors(names: Tensor, signed: Tensor) -> Tensor:
    brighter = color.brightness(1 + (_FACTOR * _only("brightness", names, signed)).flatten())
    contrasted = color.contrast(1 + (_FACTOR * _only("contrast", names, signed)).flatten())
    saturated = color.saturation(1 + (_FACTOR * _only("saturation", names, signed)).flatten())
    gray = color.saturation(1 - _only("gray", names, torch.ones_like(signed)).flatten())
    return (brighter @ contrasted @ saturated @ gray).view(*names.shape, 6, 6)


def _only(name: str, names: Tensor, values: Tensor) -> Tensor:
    return torch.where(names == NAMES.index(name), values, 0.0)


def _not_linear(name: str, pictures: Tensor, strengths: Tensor, signs: Tensor) -> Tensor:
    if not len(pictures):
        return pictures
    if name == "sharpness":
        return sharpen(pictures, 1 + _FACTOR * signs * strengths)
    pictures = pictures.round()
    if name == "posterize":
        return tones.posterize(pictures, 8 - (_BITS * strengths).round())
    if name == "solarize":
        return tones.solarize(pictures, 255 * (1 - strengths))
    return tones.autocontrast(pictures) if name == "autocontrast" else tones.equalize(pictures)
