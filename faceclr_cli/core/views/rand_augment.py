"""Chains of RandAugment operations on batches, with a separate chain for each view.

The differences from a chain of torchvision's operations are:

- Geometric operations come first, in the order drawn, as one bilinear resampling. Shear keeps the center of the
  picture fixed, shifts are not rounded to whole pixels, and positions outside the picture are reflected.
- Between brightness, contrast, saturation and gray, values are neither clamped nor rounded. They are clamped before
  every other operation and at the end, and rounded before the operations of `tone_curves`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from faceclr_cli.core.views import color, geometry, tone_curves
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
"""The operations, drawn with equal probability."""

_NONLINEAR = ("sharpness", "posterize", "solarize", "autocontrast", "equalize")
# The maximum magnitude in RandAugment, and the parameters of the operations at that magnitude.
_MAX_MAGNITUDE = 30
_DEGREES, _SLOPE, _SHARE_OF_WIDTH, _FACTOR, _BITS = 30.0, 0.3, 150 / 331, 0.9, 4


@dataclass(frozen=True, kw_only=True)
class OperationChains:
    """Chains of K operations for each of N views.

    Attributes:
        names: Indices into `NAMES`, on the CPU, so that reading them does not synchronize with the GPU. Shape: (N, K).
        strengths: Magnitude divided by the maximum magnitude, 0 to 1. Shape: (N, K).
        signs: -1 or 1. Shape: (N, K).
        maps: Maps from positions in the view to positions in the picture; see `geometry`. Shape: (N, 3, 3).
        colors: Color matrices (see `color`); the identity for all other operations. Shape: (N, K, 6, 6).
    """

    names: Tensor
    strengths: Tensor
    signs: Tensor
    maps: Tensor
    colors: Tensor

    @classmethod
    def from_uniform(cls, uniform: Tensor, magnitude: float, device: torch.device) -> OperationChains:
        """Builds chains from random numbers.

        Args:
            uniform: Uniform between 0 and 1, on the CPU: operation, magnitude and sign. Shape: (N, K, 3).
            magnitude: Maximum magnitude, on a scale of 0 to 30.
            device: The device of the views.
        """
        names = (uniform[..., 0] * len(NAMES)).long()
        there = uniform.to(device, non_blocking=True)
        strengths, signs = there[..., 1] * (magnitude / _MAX_MAGNITUDE), torch.where(there[..., 2] < 0.5, -1.0, 1.0)
        which = names.to(device, non_blocking=True)
        maps, colors = _maps(which, signs * strengths), _colors(which, signs * strengths)
        return cls(names=names, strengths=strengths, signs=signs, maps=maps, colors=colors)

    def select(self, rows: slice) -> OperationChains:
        """Returns the chains of some views."""
        return OperationChains(
            names=self.names[rows],
            strengths=self.strengths[rows],
            signs=self.signs[rows],
            maps=self.maps[rows],
            colors=self.colors[rows],
        )

    def recolor(self, views: Tensor) -> Tensor:
        """Applies all operations except the geometric ones.

        Args:
            views: Values of 0-255; modified in place. Shape: (N, 3, S, S).

        Returns:
            Values in [-1, 1]. Shape: (N, 3, S, S).
        """
        # Linear operations are accumulated until a nonlinear operation follows, so that they cost one pass.
        pending = color.identity(views).clone()
        for step, names in enumerate(self.names.unbind(dim=1)):
            pending = self.colors[:, step] @ pending
            groups = [(names == NAMES.index(name)).nonzero()[:, 0] for name in _NONLINEAR]
            chosen = torch.cat(groups).to(views.device, non_blocking=True)
            if len(chosen):
                before = color.apply_matrices(pending[chosen], views[chosen]).clamp_(0, 255)
                strengths, signs = self.strengths[chosen, step], self.signs[chosen, step]
                sizes = [len(group) for group in groups]
                split = [torch.split(each, sizes) for each in (before, strengths, signs)]
                views[chosen] = torch.cat([_apply_nonlinear(*part) for part in zip(_NONLINEAR, *split, strict=True)])
                pending[chosen] = color.identity(chosen)
        return color.apply_matrices(pending, views, scale=1 / 127.5, offset=-1).clamp_(-1, 1)


def _maps(names: Tensor, signed: Tensor) -> Tensor:
    rotation = geometry.rotation((_DEGREES * _values_of("rotate", names, signed)).flatten())
    shear = geometry.shear((_SLOPE * _values_of("shear", names, signed)).flatten())
    shift = geometry.shift((_SHARE_OF_WIDTH * _values_of("shift", names, signed)).flatten())
    # At most one of the three factors is not the identity.
    each = (rotation @ shear @ shift).view(*names.shape, 3, 3)
    # The maps go from the view back to the picture, so the last operation is applied first.
    maps = torch.eye(3, device=names.device).expand(len(names), 3, 3)
    for step in each.unbind(dim=1):
        maps = maps @ step
    return maps


def _colors(names: Tensor, signed: Tensor) -> Tensor:
    brighter = color.brightness(1 + (_FACTOR * _values_of("brightness", names, signed)).flatten())
    contrasted = color.contrast(1 + (_FACTOR * _values_of("contrast", names, signed)).flatten())
    saturated = color.saturation(1 + (_FACTOR * _values_of("saturation", names, signed)).flatten())
    gray = color.saturation(1 - _values_of("gray", names, torch.ones_like(signed)).flatten())
    return (brighter @ contrasted @ saturated @ gray).view(*names.shape, 6, 6)


def _values_of(name: str, names: Tensor, values: Tensor) -> Tensor:
    return torch.where(names == NAMES.index(name), values, 0.0)


def _apply_nonlinear(name: str, pictures: Tensor, strengths: Tensor, signs: Tensor) -> Tensor:
    if not len(pictures):
        return pictures
    if name == "sharpness":
        return sharpen(pictures, 1 + _FACTOR * signs * strengths)
    pictures = pictures.round()
    if name == "posterize":
        return tone_curves.posterize(pictures, 8 - (_BITS * strengths).round())
    if name == "solarize":
        return tone_curves.solarize(pictures, 255 * (1 - strengths))
    return tone_curves.autocontrast(pictures) if name == "autocontrast" else tone_curves.equalize(pictures)
