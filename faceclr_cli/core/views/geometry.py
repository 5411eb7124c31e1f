"""Geometric operations on batches (crop, flip, rotation, shear, shift) as one affine map for each picture."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TRIES = 10
"""Number of attempts to draw a crop that fits into the picture, as in torchvision."""

_LARGEST_RATIO = 4 / 3


def random_boxes(uniform: Tensor, crop_scale: float) -> Tensor:
    """Draws boxes of random area and aspect ratio inside the picture (the random resized crop of Inception and SimCLR).

    The area is uniform between `crop_scale` and 1. The logarithm of the aspect ratio is uniform between log(3/4) and
    log(4/3). The first of ten boxes that fits is used; if none fits, the box is the whole picture. Unlike torchvision's
    boxes, these do not start and end on whole pixels.

    Args:
        uniform: Random numbers between 0 and 1. Shape: (B, 2 * TRIES + 2).
        crop_scale: Minimum area, as a share of the picture.

    Returns:
        Center x, center y, width and height in coordinates in which the picture reaches from -1 to 1. Shape: (B, 4).
    """
    area = crop_scale + (1 - crop_scale) * uniform[:, :TRIES]
    root_of_ratio = (math.log(_LARGEST_RATIO) / 2 * (2 * uniform[:, TRIES : 2 * TRIES] - 1)).exp()
    sides = torch.stack([area.sqrt() * root_of_ratio, area.sqrt() / root_of_ratio], dim=2)
    fits = (sides <= 1).all(dim=2)
    first = fits.int().argmax(dim=1)
    drawn = sides[torch.arange(len(sides), device=sides.device), first]
    drawn = torch.where(fits.any(dim=1, keepdim=True), drawn, 1.0)
    return torch.cat([(1 - drawn) * (2 * uniform[:, 2 * TRIES :] - 1), 2 * drawn], dim=1)


def affine(boxes: Tensor, degrees: Tensor, flipped: Tensor) -> Tensor:
    """Returns the map from positions in the view to positions in the picture.

    The picture is rotated around the center of the box. The box is cropped and scaled to the size of the view, and
    the view is flipped left to right.

    Args:
        boxes: From `random_boxes`. Shape: (B, 4).
        degrees: Counterclockwise rotation. Shape: (B,).
        flipped: True to flip. Shape: (B,).

    Returns:
        Maps in the coordinates of `torch.nn.functional.affine_grid`. Shape: (B, 2, 3).
    """
    angles = degrees * (math.pi / 180)
    across = boxes[:, 2] / 2 * torch.where(flipped, -1.0, 1.0)
    down = boxes[:, 3] / 2
    x = torch.stack([angles.cos() * across, -angles.sin() * down, boxes[:, 0]], dim=1)
    y = torch.stack([angles.sin() * across, angles.cos() * down, boxes[:, 1]], dim=1)
    return torch.stack([x, y], dim=1)


def rotation(degrees: Tensor) -> Tensor:
    """Returns the map that rotates the picture around its center.

    Args:
        degrees: Counterclockwise rotation. Shape: (B,).

    Returns:
        Maps from positions in the view to positions in the picture. Shape: (B, 3, 3).
    """
    angles = degrees * (math.pi / 180)
    maps = _identity(degrees)
    maps[:, 0, 0] = maps[:, 1, 1] = angles.cos()
    maps[:, 1, 0] = angles.sin()
    maps[:, 0, 1] = -maps[:, 1, 0]
    return maps


def shear(slopes: Tensor) -> Tensor:
    """Returns the map that shears the picture horizontally around its center.

    Args:
        slopes: Horizontal shift in pixels per row; positive values move the upper half to the right. Shape: (B,).

    Returns:
        Maps from positions in the view to positions in the picture. Shape: (B, 3, 3).
    """
    maps = _identity(slopes)
    maps[:, 0, 1] = slopes
    return maps


def shift(shares: Tensor) -> Tensor:
    """Returns the map that shifts the picture to the right.

    Args:
        shares: Shift as a share of the width. Shape: (B,).

    Returns:
        Maps from positions in the view to positions in the picture. Shape: (B, 3, 3).
    """
    maps = _identity(shares)
    maps[:, 0, 2] = -2 * shares
    return maps


def mirror(flipped: Tensor) -> Tensor:
    """Returns the map that flips the picture left to right.

    Args:
        flipped: True to flip. Shape: (B,).

    Returns:
        Maps from positions in the view to positions in the picture. Shape: (B, 3, 3).
    """
    maps = _identity(flipped)
    maps[:, 0, 0] = torch.where(flipped, -1.0, 1.0)
    return maps


def prepare_source(crops: Tensor, size: int) -> Tensor:
    """Converts crops to the pictures that all their views are sampled from.

    Pictures larger than twice the size of the views are downscaled to that size with antialiasing, so that bilinear
    sampling does not skip pixels.

    Args:
        crops: Square, uint8. Shape: (B, H, H, 3).
        size: Side of the views in pixels.

    Returns:
        Values of 0-255, float32, channels_last, the fastest layout for bilinear sampling. Shape: (B, 3, S, S).
    """
    pictures = crops.permute(0, 3, 1, 2)
    if pictures.shape[2] > 2 * size:
        # On CPUs, downscaling uint8 takes half the time of float32. On GPUs, uint8 is not supported.
        pictures = pictures if pictures.device.type == "cpu" else pictures.float()
        pictures = F.interpolate(pictures, (2 * size, 2 * size), mode="bilinear", antialias=True, align_corners=False)
    return pictures.float()


def sample(pictures: Tensor, maps: Tensor, size: int, *, inside: bool = False) -> Tensor:
    """Samples views bilinearly. Positions outside the picture are reflected.

    Args:
        pictures: From `prepare_source`. Shape: (B, 3, H, H).
        maps: From `affine`, shape (B, 2, 3), or other maps, shape (B, 3, 3), whose last row is ignored.
        size: Side of the views in pixels.
        inside: True if all positions are inside the picture; saves a third of the time on the CPU.

    Returns:
        The views, contiguous. Shape: (B, 3, size, size).
    """
    places = (2 * torch.arange(size, device=maps.device) + 1) / size - 1
    across = places * maps[:, :2, 0, None]
    down = places * maps[:, :2, 1, None] + maps[:, :2, 2, None]
    # The same as affine_grid, but without a matrix product as large as the picture.
    return sample_at(pictures, down[:, :, :, None] + across[:, :, None], inside=inside)


def sample_at(pictures: Tensor, places: Tensor, *, inside: bool = False) -> Tensor:
    """Samples views bilinearly at the given places. Places outside the picture are reflected.

    Args:
        pictures: From `prepare_source`. Shape: (B, 3, H, H).
        places: x and y, from -1 to 1 inside the picture; all x before all y, which takes a quarter of the time of
            interleaved coordinates. Shape: (B, 2, size, size).
        inside: See `sample`.

    Returns:
        The views, contiguous. Shape: (B, 3, size, size).
    """
    padding = "border" if inside else "reflection"
    return F.grid_sample(pictures, places.permute(0, 2, 3, 1), padding_mode=padding, align_corners=False).contiguous()


def move(places: Tensor, maps: Tensor) -> Tensor:
    """Applies the map of each picture to places. Shapes: (B, 2, S, S) and (B, 3, 3) -> (B, 2, S, S)."""
    x, y = places[:, None, 0], places[:, None, 1]
    factors = maps[:, :2, :, None, None]
    return factors[:, :, 0] * x + factors[:, :, 1] * y + factors[:, :, 2]


def _identity(like: Tensor) -> Tensor:
    return torch.eye(3, device=like.device).repeat(len(like), 1, 1)
