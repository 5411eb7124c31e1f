"""New light on batches of aligned faces, from the rough shape of a head."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from faceclr_cli.core.views import head_shape


def relighting(strengths: Tensor, tilts: Tensor, directions: Tensor, size: int) -> Tensor:
    """Returns brightness factors of a distant lamp on a matte head (Lambert shading), in addition to diffuse light.

    The irradiance is approximated by spherical harmonics up to the second order (Basri & Jacobs 2003, Ramamoorthi &
    Hanrahan 2001). The mean over the head stays 1, and everything beside the head has the factor 1.

    Args:
        strengths: Share of the light that comes from the lamp, 0 to 1. Shape: (B,).
        tilts: Angle between the lamp and the camera in radians; 0 is a frontal lamp. Shape: (B,).
        directions: Direction of the lamp in the plane of the picture, in radians; 0 is to the right. Shape: (B,).
        size: Side of the pictures in pixels.

    Returns:
        Factors of the pixel values. Shape: (B, 1, size, size).
    """
    normals, weights = _normals(size, strengths.device)
    lamps = torch.stack([tilts.sin() * directions.cos(), tilts.sin() * directions.sin(), tilts.cos()], dim=1)
    irradiance = irradiance_of((lamps @ normals.flatten(1)).view(-1, size, size))
    mean = (irradiance * weights).sum(dim=(1, 2), keepdim=True) / weights.sum()
    change = (irradiance / mean.clamp(min=1e-3) - 1) * strengths[:, None, None]
    return (1 + weights * change)[:, None]


def irradiance_of(cosines: Tensor) -> Tensor:
    """Approximates max(0, c) for the cosines c of angles between normals and lamp, of any shape, by a quadratic."""
    return (0.25 + cosines / 2 + 5 / 32 * (3 * cosines.square() - 1)).clamp(min=0)


@cache
def _normals(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    return head_shape.normals(size, device)
