"""The rough shape of an aligned head: an ellipsoid with brow, eye sockets, nose, lips and chin.

Coordinates are those of `torch.nn.functional.grid_sample`: an aligned crop (`arcface`) reaches from -1 to 1 in x and y.
Depth has the same unit and points to the camera. The sizes are those of an average adult, whose pupils are 63 mm apart:
a unit is about 100 mm. The shape is symmetrical: x and -x have the same depth.
"""

from __future__ import annotations

import torch
from torch import Tensor

CENTER_Y = 0.12
"""The height of the center of the ellipsoid. The axes of all rotations pass through it."""

SEMI_AXES = (0.82, 1.12, 0.90)
"""Half the width, height and depth of the ellipsoid."""

LANDMARKS = ((-0.316, -0.077), (0.316, -0.081), (0.0, 0.281), (-0.258, 0.649), (0.263, 0.647))
"""Eyes, nose and mouth corners of the template, x and y; the nose is moved onto the axis of symmetry."""

# Height, |x| and y of the center, and extent in x and y.
_BUMPS = (
    (0.13, 0.0, 0.30, 0.10, 0.11),  # tip of the nose
    (0.09, 0.0, 0.10, 0.07, 0.17),  # bridge of the nose
    (0.03, 0.25, -0.27, 0.22, 0.07),  # brow
    (-0.05, 0.316, -0.08, 0.13, 0.09),  # eye sockets
    (0.04, 0.0, 0.65, 0.17, 0.09),  # lips
    (0.05, 0.0, 0.98, 0.18, 0.10),  # chin
)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Returns the squared distance from the center in semi-axes of the outline: 0 in the middle, 1 on the outline.

    Coordinates are those of the module. `x`, `y` and the result have the same shape.
    """
    return (x / SEMI_AXES[0]).square() + ((y - CENTER_Y) / SEMI_AXES[1]).square()


def depth(x: Tensor, y: Tensor) -> Tensor:
    """Returns the depth of the front of the head; 0 on and beyond the outline, apart from bumps. See `distances`."""
    result = SEMI_AXES[2] * (1 - distances(x, y)).clamp(min=0).sqrt()
    for height, across, down, width, length in _BUMPS:
        result = (
            result + height * (-((x.abs() - across) / width).square() / 2 - ((y - down) / length).square() / 2).exp()
        )
    return result


def normals(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the unit normals of the front of the head, and the degree to which each pixel belongs to it.

    Args:
        size: Side of the pictures in pixels.
        device: The device of the result.

    Returns:
        Normals toward x, y and the camera, shape (3, size, size); and weights that fall from 1 inside the outline to 0
        beyond it, shape (size, size).
    """
    places = pixel_places(size, device)
    step = 1 / size
    # Beyond the outline, where the weights are 0, the normals are those of a plane.
    x, y = places.expand(size, size), places[:, None].expand(size, size)
    across = (depth(x + step, y) - depth(x - step, y)) / (2 * step)
    down = (depth(x, y + step) - depth(x, y - step)) / (2 * step)
    found = torch.stack([-across, -down, torch.ones_like(across)])
    inside = ((1 - distances(x, y)) / 0.2).clamp(0, 1)
    return found / found.norm(dim=0), inside * inside * (3 - 2 * inside)


def pixel_places(size: int, device: torch.device) -> Tensor:
    """Returns the places of the centers of a row of pixels. Shape: (size,)."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1
