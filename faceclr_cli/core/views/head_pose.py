"""Turns of the head on batches of aligned faces, from the rough shape of a head."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from faceclr_cli.core.views import head_shape

MAX_YAW, MAX_PITCH = 45.0, 25.0
"""The largest turns, in degrees."""

_YAW_STEP, _PITCH_STEP = 5.0, 12.5  # Degrees between two tables. In between, places are interpolated linearly.
_GRID = 56  # Side of the tables in pixels. The shape has no finer detail.
_MARCH, _BISECTIONS, _REACH = 20, 5, 0.3


def turned_places(yaws: Tensor, pitches: Tensor, size: int) -> Tensor:
    """Returns the source of each pixel of the picture of a turned head: a position in the picture of the frontal head.

    The turned head is aligned again: a similarity transform moves its landmarks to those of the frontal head, as the
    alignment of a photograph of the turned head would. A part of the head that the frontal picture does not show, such
    as the cheek beyond the outline, shows the mirror image of the part on this side of the outline. The background
    beside the head does not move.

    Args:
        yaws: Turn to the left or right, in degrees, at most `MAX_YAW`; positive values turn the nose to the right of
            the picture. Shape: (B,).
        pitches: Nod, in degrees, at most `MAX_PITCH`; positive values move the nose down. Shape: (B,).
        size: Side of the pictures in pixels.

    Returns:
        x and y, from -1 to 1 inside the picture. Shape: (B, 2, size, size).
    """
    table = _shifts(size, yaws.device)
    yaw, pitch = (yaws + MAX_YAW) / _YAW_STEP, (pitches + MAX_PITCH) / _PITCH_STEP
    first = yaw.floor().long().clamp(0, table.shape[0] - 2)
    second = pitch.floor().long().clamp(0, table.shape[1] - 2)
    across, down = ((yaw - first), (pitch - second))
    shifts = torch.zeros(len(yaws), 2, size, size, device=yaws.device)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weights = (across if i else 1 - across) * (down if j else 1 - down)
        shifts.addcmul_(table[first + i, second + j], weights[:, None, None, None])
    places = head_shape.pixel_places(size, yaws.device)
    shifts[:, 0] += places
    shifts[:, 1] += places[:, None]
    return shifts


@cache
def _shifts(size: int, device: torch.device) -> Tensor:
    """Returns the offset of each pixel's source from the pixel. Shape: (yaws, pitches, 2, size, size)."""
    yaws = torch.arange(0, MAX_YAW + 1, _YAW_STEP)
    pitches = torch.arange(-MAX_PITCH, MAX_PITCH + 1, _PITCH_STEP)
    rights = torch.stack(
        [torch.stack([trace_head(float(yaw), float(pitch), _GRID) for pitch in pitches]) for yaw in yaws]
    )
    places = head_shape.pixel_places(_GRID, torch.device("cpu"))
    rights[..., 0, :, :] -= places
    rights[..., 1, :, :] -= places[:, None]
    # The head is symmetrical, so a turn to the left is the mirror image of one to the right.
    lefts = rights[1:].flip(0).flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None]
    both = torch.cat([lefts, rights])
    found = F.interpolate(both.flatten(0, 1), (size, size), mode="bilinear")
    return found.view(*both.shape[:3], size, size).to(device)


def trace_head(yaw: float, pitch: float, size: int) -> Tensor:
    """Finds the places of `turned_places` for one turn, by tracing the ray of each pixel to the head.

    Args:
        yaw: Degrees.
        pitch: Degrees.
        size: Side of the pictures in pixels.

    Returns:
        Shape: (2, size, size).
    """
    turn = head_rotation(yaw, pitch)
    steps = head_shape.pixel_places(size, torch.device("cpu"))
    across, down = _unalign(turn, steps.expand(size, size), steps[:, None].expand(size, size))
    # The ray of a pixel in the coordinates of the head: start + t * towards, from the camera (large t) into the head.
    towards = turn.T @ torch.tensor([0.0, 0.0, 1.0])
    start = torch.einsum("ij,jyx->iyx", turn.T[:, :2], torch.stack([across, down - head_shape.CENTER_Y]))
    axes = torch.tensor(head_shape.SEMI_AXES)
    # The ellipsoid without bumps is a quadratic equation.
    a = (towards / axes).square().sum()
    b = ((start / axes[:, None, None]) * (towards / axes)[:, None, None]).sum(dim=0)
    c = (start / axes[:, None, None]).square().sum(dim=0) - 1
    root = b.square() - a * c
    entry = (-b + root.clamp(min=0).sqrt()) / a
    near, far = _search(start, towards, entry)
    for _ in range(_BISECTIONS):
        middle = (near + far) / 2
        inside = _is_inside(start, towards, middle)
        near, far = torch.where(inside, near, middle), torch.where(inside, middle, far)
    x, y, _ = start + far * towards[:, None, None]
    hit = (root > 0) | _is_inside(start, towards, far)
    return torch.stack([torch.where(hit, x, across), torch.where(hit, y + head_shape.CENTER_Y, down)])


def head_rotation(yaw: float, pitch: float) -> Tensor:
    """Returns the matrix that turns the head: first to the side, then up or down. Shape: (3, 3)."""
    a, b = math.radians(yaw), math.radians(pitch)
    side = torch.tensor([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    nod = torch.tensor([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]])
    return nod @ side


def turned_landmarks(turn: Tensor) -> Tensor:
    """Returns where the landmarks of the head are after a turn, before alignment. Shape: (5, 2)."""
    x, y = torch.tensor(head_shape.LANDMARKS).T
    points = turn @ torch.stack([x, y - head_shape.CENTER_Y, head_shape.depth(x, y)])
    return torch.stack([points[0], points[1] + head_shape.CENTER_Y], dim=1)


def _unalign(turn: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Maps places in the aligned picture of the turned head to places before its alignment."""
    # Points of a plane as complex numbers: the best similarity transform is a quotient of two sums.
    before, after = (
        torch.view_as_complex(p.contiguous()) for p in (turned_landmarks(turn), turned_landmarks(torch.eye(3)))
    )
    middle, target = before.mean(), after.mean()
    scale = ((before - middle).conj() * (after - target)).sum() / (before - middle).abs().square().sum()
    places = (torch.complex(x.contiguous(), y.contiguous()) - target) / scale + middle
    return places.real, places.imag


def _search(start: Tensor, towards: Tensor, entry: Tensor) -> tuple[Tensor, Tensor]:
    """Walks from in front of the head into it. Returns the last place outside and the first place inside."""
    step = 2 * _REACH / _MARCH
    far = entry - _REACH
    found = torch.zeros_like(entry, dtype=torch.bool)
    for number in range(_MARCH):
        place = entry + _REACH - number * step
        first = _is_inside(start, towards, place) & ~found
        far = torch.where(first, place, far)
        found |= first
    # Where the ray only touches the ellipsoid, its nearest point counts as the first one inside.
    far = torch.where(found, far, entry)
    return far + step, far


def _is_inside(start: Tensor, towards: Tensor, place: Tensor) -> Tensor:
    x, y, z = start + place * towards[:, None, None]
    y = y + head_shape.CENTER_Y
    ellipse = head_shape.distances(x, y)
    back = -head_shape.SEMI_AXES[2] * (1 - ellipse).clamp(min=0).sqrt()
    inside: Tensor = (ellipse < 1) & (z <= head_shape.depth(x, y)) & (z >= back)
    return inside
