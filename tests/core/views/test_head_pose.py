"""Turns of the head, compared with points of the shape that are turned and aligned one by one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceclr_cli.core.views import head_shape
from faceclr_cli.core.views.head_pose import trace_head, turned_places

TURNS = pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (15, 0), (-25, 0), (0, 12.5), (35, -12.5), (-40, 20)])


def turned(points: NDArray[np.float64], yaw: float, pitch: float) -> NDArray[np.float64]:
    """Points of the front of the head (x, y) after a turn, in the picture before alignment."""
    depth = head_shape.depth(*torch.from_numpy(points).T).numpy()
    result = []
    for (x, y), z in zip(points, depth, strict=True):
        side, _ = cv2.Rodrigues(np.array([0.0, np.radians(yaw), 0.0]))
        nod, _ = cv2.Rodrigues(np.array([-np.radians(pitch), 0.0, 0.0]))
        moved = nod @ side @ np.array([x, y - head_shape.CENTER_Y, z])
        result.append([moved[0], moved[1] + head_shape.CENTER_Y])
    return np.array(result)


def aligned(points: NDArray[np.float64], yaw: float, pitch: float) -> NDArray[np.float64]:
    """The same points after a least-squares similarity transform of the landmarks to the template."""
    template = np.array(head_shape.LANDMARKS)
    before = turned(template, yaw, pitch)
    rows = [row for x, y in before for row in ([x, -y, 1, 0], [y, x, 0, 1])]
    a, b, c, d = np.linalg.lstsq(np.array(rows), template.ravel(), rcond=None)[0]
    return turned(points, yaw, pitch) @ np.array([[a, b], [-b, a]]) + [c, d]


@TURNS
def test_points_of_the_face_are_found_where_the_turned_head_shows_them(yaw: float, pitch: float) -> None:
    # Eyes, forehead, cheeks and mouth: none is hidden behind the nose in these turns.
    points = np.array([[-0.32, -0.08], [0.32, -0.08], [0, -0.35], [0.1, -0.7], [-0.4, 0.35], [0.4, 0.35], [0, 0.65]])
    size = 112
    sources = trace_head(yaw, pitch, size).permute(1, 2, 0).numpy()
    for point, (x, y) in zip(points, aligned(points, yaw, pitch), strict=True):
        place = np.array([[(x + 1) * size / 2 - 0.5, (y + 1) * size / 2 - 0.5]], np.float32)
        found = cv2.remap(sources, place[:, :1], place[:, 1:], cv2.INTER_LINEAR)[0, 0]
        assert found == pytest.approx(point, abs=0.03)


def test_no_turn_keeps_every_place() -> None:
    places = turned_places(torch.zeros(1), torch.zeros(1), 64)[0]
    steps = head_shape.pixel_places(64, torch.device("cpu"))
    torch.testing.assert_close(
        places, torch.stack([steps.expand(64, 64), steps[:, None].expand(64, 64)]), atol=1e-3, rtol=0
    )


@TURNS
def test_tables_agree_with_rays(yaw: float, pitch: float) -> None:
    places = turned_places(torch.tensor([float(yaw)]), torch.tensor([float(pitch)]), 64)[0]
    apart = (places - trace_head(yaw, pitch, 64)).norm(dim=0)
    assert apart.median() < 0.01  # A third of a pixel.
    assert (apart > 0.1).float().mean() < 0.05  # Only at the outline and beside the nose.


def test_a_turn_between_two_tables_is_close_to_its_rays() -> None:
    places = turned_places(torch.tensor([17.5]), torch.tensor([6.0]), 64)[0]
    assert (places - trace_head(17.5, 6.0, 64)).norm(dim=0).median() < 0.02


def test_turns_to_the_left_mirror_turns_to_the_right() -> None:
    right, left = turned_places(torch.tensor([20.0, -20.0]), torch.zeros(2), 64)
    torch.testing.assert_close(left[0], -right[0].flip(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(left[1], right[1].flip(1), atol=1e-4, rtol=0)


def test_what_the_frontal_picture_hides_is_the_mirror_image_of_what_it_shows() -> None:
    """Beside the forehead, places come close to the outline of the frontal head, then go back."""
    x, y = (each.numpy() for each in trace_head(45, 0, 112)[:, 0, 6:40])
    fold = int(x.argmin())
    assert 3 <= fold <= 8 and (np.diff(x[: fold + 1]) < 0).all() and (np.diff(x[fold + 1 :]) > 0).all()
    reach = head_shape.SEMI_AXES[0] * np.sqrt(1 - ((y[fold] - head_shape.CENTER_Y) / head_shape.SEMI_AXES[1]) ** 2)
    assert x[fold] == pytest.approx(-reach, abs=0.06)
