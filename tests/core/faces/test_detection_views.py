from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceclr_cli.core.faces.detect import Face
from faceclr_cli.core.faces.detection_views import TURNS, View, turned_regions


def dotted(shape: tuple[int, int], x: float, y: float) -> np.ndarray:
    """A dark picture with a light spot."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 50)
    return np.repeat(spot[:, :, None], 3, axis=2).astype(np.uint8)


def middle_of(picture: np.ndarray) -> np.ndarray:
    weights = picture[:, :, 0].astype(float)
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("turn", [0, 45, 90, 135, 180, 225, 270, 315])
@pytest.mark.parametrize("border", [0.0, 0.5])
@pytest.mark.parametrize("shape", [(200, 301), (480, 640)])
def test_what_is_seen_in_a_view_is_found_again_in_the_picture(turn: int, border: float, shape: tuple[int, int]) -> None:
    x, y = 0.3 * shape[1], 0.7 * shape[0]
    image = dotted(shape, x, y)
    seen = View(turn, border).of(image, 256, 640)
    assert max(seen.pixels.shape) <= 640
    spot = middle_of(seen.pixels)
    np.testing.assert_allclose(seen.to_picture @ [*spot, 1], (x, y), atol=0.15)
    # Boxes are counted from the edges of pixels.
    found = Face(box=(spot[0] + 0.5 - 10, spot[1] + 0.5 - 20, 20, 40), landmarks=np.tile(spot, (5, 1)), score=0.9)
    face = seen.in_picture(found)
    np.testing.assert_allclose(face.center, (x + 0.5, y + 0.5), atol=0.15)
    np.testing.assert_allclose(face.landmarks[0], (x, y), atol=0.15)
    assert (face.turn, face.bordered, face.score) == (turn, border > 0, 0.9)
    assert (face.box[2] > face.box[3]) == (turn in (90, 270))
    assert face.upright_box()[2] < face.upright_box()[3]


def test_a_face_that_is_turned_clockwise_is_upright_in_the_view_of_that_turn() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[80:120, 120:180] = 100
    cv2.circle(image, (180, 100), 12, (255, 255, 255), -1)  # the top of a head that lies on its right side
    face = Face(box=(120, 70, 60, 60), landmarks=None, score=1)
    seen = View(90).of(image, 256, 640).pixels
    light, gray = (middle_of(np.where((low <= seen) & (seen <= high), 255, 0)) for low, high in ((200, 255), (90, 110)))
    assert light[1] < gray[1] - 20 and abs(light[0] - gray[0]) < 3
    for turn, part in turned_regions(image, face, 128, TURNS):
        top, left = (part[:64, :, 0] > 200).sum(), (part[:, :64, 0] > 200).sum()
        light = (part[:, :, 0] > 200).sum()
        assert part.shape == (128, 128, 3)
        if turn == 90:
            assert top == light > 0
        if turn == 180:
            assert left == light > 0


@pytest.mark.parametrize("box", [(-40, -30, 90, 120), (250, 150, 90, 120), (0, 0, 300, 200), (290, 190, 1, 1)])
def test_surroundings_that_reach_beyond_the_picture_are_black_there(box: tuple[float, ...]) -> None:
    image = np.full((200, 300, 3), 200, np.uint8)
    parts = dict(turned_regions(image, Face(box=box, landmarks=None, score=1), 64, TURNS))
    assert sorted(parts) == list(range(45, 360, 45))
    assert all(part.shape == (64, 64, 3) for part in parts.values())
