"""Geometry of batches: crop, flip, rotation, shear and shift, as one map of each picture, sampled once."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TRIES = 10
"""How often a crop that does not fit into the picture is drawn again, as torchvision does."""

_LARGEST_RATIO = 4 / 3


def random_boxes(uniform: Tensor, crop_scale: float) -> Tensor:
    """Boxes of random area and aspect, wholly inside the picture (the random resized crop of Inception and SimCLR).

    The area is uniform between `crop_scale` and 1, the logarithm of width / height between those of 3/4 and
    4/3. A box that does not fit is drawn again; where ten don't, the whole picture is taken. Unlike
    torchvision's, boxes don't begin and end on whole pixels.

    Args:
        uniform: Random numbers between 0 and 1. Shape: (B, 2 * TRIES + 2).
        crop_scale: Smallest area, as a share of the picture's.

    Returns:
        Center x, center y, width and height, where the picture reaches from -1 to 1 and so is 2 wide
        and 2 high. Shape: (B, 4).
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
    """The map from places in the view to places in the picture.

    The picture is rotated around the center of the box, the box is cut out and scaled to the whole view, and
    the view is flipped left to right.

    Args:
        boxes: See `random_boxes`. Shape: (B, 4).
        degrees: Counter-clockwise. Shape: (B,).
        flipped: Boolean. Shape: (B,).

    Returns:
        In the coordinates of `torch.nn.functional.affine_grid`. Shape: (B, 2, 3).
    """
    angles = degrees * (math.pi / 180)
    across = boxes[:, 2] / 2 * torch.where(flipped, -1.0, 1.0)
    down = boxes[:, 3] / 2
    x = torch.stack([angles.cos() * across, -angles.sin() * down, boxes[:, 0]], dim=1)
    y = torch.stack([angles.sin() * across, angles.cos() * down, boxes[:, 1]], dim=1)
    return torch.stack([x, y], dim=1)


def rotation(degrees: Tensor) -> Tensor:
    """The map from places in the view to places in the picture that turns the picture around its middle.

    Args:
        degrees: Counter-clockwise. Shape: (B,).

    Returns:
        Shape: (B, 3, 3).
    """
    angles = degrees * (math.pi / 180)
    maps = _identity(degrees)
    maps[:, 0, 0] = maps[:, 1, 1] = angles.cos()
    maps[:, 1, 0] = angles.sin()
    maps[:, 0, 1] = -maps[:, 1, 0]
    return maps


def shear(slopes: Tensor) -> Tensor:
    """The map that moves rows sideways, the more the further they are from the middle one.

    Args:
        slopes: Pixels sideways for each pixel down; positive moves the upper half to the right. Shape: (B,).

    Returns:
        Shape: (B, 3, 3).
    """
    maps = _identity(slopes)
    maps[:, 0, 1] = slopes
    return maps


def shift(shares: Tensor) -> Tensor:
    """The map that moves the picture to the right.

    Args:
        shares: Of the width. Shape: (B,).

    Returns:
        Shape: (B, 3, 3).
    """
    maps = _identity(shares)
    maps[:, 0, 2] = -2 * shares
    return maps


def mirror(flipped: Tensor) -> Tensor:
    """The map that flips the picture left to right.

    Args:
        flipped: Boolean. Shape: (B,).

    Returns:
        Shape: (B, 3, 3).
    """
    maps = _identity(flipped)
    maps[:, 0, 0] = torch.where(flipped, -1.0, 1.0)
    return maps


def source(crops: Tensor, size: int) -> Tensor:
    """What views are drawn from, made once for all views of a picture.

    Pictures of more than twice the view's side are reduced to that, antialiased, so that bilinear sampling skips
    no pixel.

    Args:
        crops: Square, uint8. Shape: (B, H, H, 3).
        size: Side of the views in pixels.

    Returns:
        0-255, float32, channels_last, which is how bilinear sampling is fastest. Shape: (B, 3, S, S).
    """
    pictures = crops.permute(0, 3, 1, 2)
    if pictures.shape[2] > 2 * size:
        # A CPU reduces bytes in half the time of floats; a GPU has no such operation for bytes.
        pictures = pictures if pictures.device.type == "cpu" else pictures.float()
        pictures = F.interpolate(pictures, (2 * size, 2 * size), mode="bilinear", antialias=True, align_corners=False)
    return pictures.float()


def sample(pictures: Tensor, maps: Tensor, size: int, *, inside: bool = False) -> Tensor:
    """Draws the views, bilinear; places outside the picture mirror it.

    Args:
        pictures: Square, see `source`. Shape: (B, 3, H, H).
        maps: See `affine`. Shape: (B, 2, 3), or (B, 3, 3), whose last row is not looked at.
        size: Side of the views in pixels.
        inside: No place is outside the picture, which saves a third of the time on the CPU.

    Returns:
        Shape: (B, 3, size, size), contiguous.
    """
    places = (2 * torch.arange(size, device=maps.device) + 1) / size - 1
    across = places * maps[:, :2, 0, None]
    down = places * maps[:, :2, 1, None] + maps[:, :2, 2, None]
    # What affine_grid gives, but without a product of matrices as large as the picture, and all x before all y,
    # which takes a quarter of the time that turns of the two do.
    grid = (down[:, :, :, None] + across[:, :, None]).permute(0, 2, 3, 1)
    padding = "border" if inside else "reflection"
    return F.grid_sample(pictures, grid, padding_mode=padding, align_corners=False).contiguous()


def _identity(like: Tensor) -> Tensor:
    return torch.eye(3, device=like.device).repeat(len(like), 1, 1)
