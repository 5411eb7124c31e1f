"""Random views of an aligned face as in other photographs: another pose, other light, another camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from faceclr_cli.core.views import geometry
from faceclr_cli.core.views.augmentation import flatten_views, make_in_blocks
from faceclr_cli.core.views.head_pose import MAX_PITCH, MAX_YAW, turned_places
from faceclr_cli.core.views.jpeg import compress
from faceclr_cli.core.views.occlusion import DRAWS as OCCLUSION_DRAWS
from faceclr_cli.core.views.occlusion import occlude
from faceclr_cli.core.views.rand_augment import OperationChains
from faceclr_cli.core.views.relighting import relighting
from faceclr_cli.core.views.resolution import reduce_resolution

_PITCH_SHARE = 0.5  # Faces are turned up and down less than to the sides.
_MAX_TILT = math.radians(80)
_SMALLEST = 0.2  # Smallest side of a shrunken view, as a share of the side of the view.
_QUALITIES = (10.0, 60.0)


@dataclass(frozen=True, kw_only=True)
class HeadViews:
    """The views of `FaceViews`, with changes that depend on the shape of a head or that a camera causes.

    The operations, in order:

    1. Colored light from a random direction on the shape of a head.
    2. The geometric operations of the chain, and a turn of the head, resampled once.
    3. The other operations of the chain.
    4. A plain shape in front of the face.
    5. Loss of resolution, then JPEG compression.

    The modules `relighting`, `head_pose`, `rand_augment`, `occlusion`, `resolution` and `jpeg` describe each operation.

    Attributes:
        size: Side of the views in pixels.
        operations: Number of operations of the chain per view.
        magnitude: Maximum magnitude of an operation, on a scale of 0 to 30.
        flip: Probability of a mirrored view.
        turn: Maximum turn of the head to either side, in degrees; the maximum nod is half as much.
        relight: Maximum share of the light that comes from the random direction.
        cast: Maximum color cast: each channel is multiplied by up to exp(cast), or divided.
        occlude: Probability of a shape in front of the face.
        degrade: Probability of a loss of resolution, and probability of JPEG compression.
    """

    size: int
    operations: int
    magnitude: float
    flip: float = 0.5
    turn: float
    relight: float
    cast: float
    occlude: float
    degrade: float

    def __post_init__(self) -> None:
        if self.turn > min(MAX_YAW, MAX_PITCH / _PITCH_SHARE):
            raise ValueError(f"a head can be turned by at most {MAX_YAW:g} degrees, not {self.turn:g}")

    @property
    def draws(self) -> int:
        """See `Views`."""
        return sum(self._draws)

    @property
    def _draws(self) -> list[int]:
        return [1, 3 * self.operations, 2, 3, 3, 1 + OCCLUSION_DRAWS, 2, 2]

    @torch.no_grad()
    def __call__(self, crops: Tensor, drawn: Tensor) -> Tensor:
        """See `Views`."""
        drawn = flatten_views(drawn)
        parts = [part.to(crops.device, non_blocking=True) for part in torch.split(drawn, self._draws, dim=1)]
        flip, _, pose, lamp, cast, cover, shrink, press = parts
        # Decided on the CPU, so that selecting views does not synchronize with the GPU.
        chance = torch.split(drawn, self._draws, dim=1)
        chosen = [chance[-3][:, 0] < self.occlude, chance[-2][:, 0] < self.degrade, chance[-1][:, 0] < self.degrade]
        uniform = chance[1].reshape(len(drawn), self.operations, 3)
        chains = OperationChains.from_uniform(uniform, self.magnitude, crops.device)
        maps = geometry.mirror(flip[:, 0] < self.flip) @ chains.maps
        gains = (self.cast * (2 * cast - 1)).exp()[:, :, None, None]
        turns = self.turn * (2 * pose - 1)

        def write(source: Tensor, rows: slice, result: Tensor) -> None:
            pictures = source
            if self.relight or self.cast:
                strengths, tilts, directions = lamp[rows].unbind(dim=1)
                light = relighting(
                    self.relight * strengths, _MAX_TILT * tilts, 2 * math.pi * directions, source.shape[2]
                )
                pictures = (source * light).mul_(gains[rows]).clamp_(0, 255)
            if self.turn:
                places = turned_places(turns[rows, 0], _PITCH_SHARE * turns[rows, 1], self.size)
                views = geometry.sample_at(pictures, geometry.move(places, maps[rows]))
            else:
                views = geometry.sample(pictures, maps[rows], self.size)
            result.copy_(chains.select(rows).recolor(views))
            covered, shrunken, pressed = (
                each[rows].nonzero()[:, 0].to(crops.device, non_blocking=True) for each in chosen
            )
            if len(covered):
                result[covered] = occlude(result[covered], cover[rows][covered, 1:])
            if len(shrunken):
                sides = self.size * _SMALLEST ** shrink[rows][shrunken, 1]
                result[shrunken] = reduce_resolution(result[shrunken], sides.round().clamp(min=1))
            if len(pressed):
                qualities = _QUALITIES[0] + (_QUALITIES[1] - _QUALITIES[0]) * press[rows][pressed, 1]
                pixels = compress((result[pressed] + 1) * 127.5, qualities.round())
                result[pressed] = (pixels / 127.5 - 1).clamp_(-1, 1)

        return make_in_blocks(crops, len(drawn), self.size, write)
