from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from faceclr_cli.core.faces.align import ARCFACE, align, similarity, template


def moved(points: np.ndarray, scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + shift


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0.0), (3.7, 20.0), (0.2, -75.0), (12.0, 179.0)])
def test_a_known_similarity_is_found_again(scale: float, degrees: float) -> None:
    seen = moved(ARCFACE, scale, degrees, (31.0, -8.0))
    matrix = similarity(seen, ARCFACE)
    np.testing.assert_allclose(seen @ matrix[:, :2].T + matrix[:, 2], ARCFACE, atol=1e-9)


def test_noisy_landmarks_give_what_scikit_image_gives() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        seen = moved(ARCFACE, rng.uniform(0.3, 4), rng.uniform(-180, 180), (5, 9)) + rng.normal(0, 6, (5, 2))
        expected = SimilarityTransform.from_estimate(seen, ARCFACE).params[:2]
        np.testing.assert_allclose(similarity(seen, ARCFACE), expected, atol=1e-8)


def test_a_mirrored_face_is_turned_not_mirrored() -> None:
    matrix = similarity(ARCFACE * [-1, 1], ARCFACE)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_landmarks_that_coincide_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.ones((5, 2)), ARCFACE)


def centre_of(crop: np.ndarray, channel: int) -> np.ndarray:
    weights = crop[:, :, channel].astype(float)
    y, x = np.mgrid[0 : crop.shape[0], 0 : crop.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("size", [112, 160])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.9, 2.5, 5.0, 9.3])
def test_landmarks_land_on_the_template(scale: float, size: int) -> None:
    """Also where the picture is averaged down first, which must not shift it by half a pixel."""
    landmarks = moved(ARCFACE, scale, 12.0, (40.0 * scale, 15.0 * scale))
    for channel, point in enumerate((0, 1, 3)):
        image = np.zeros((int(180 * scale), int(200 * scale), 3), np.uint8)
        x, y = landmarks[point]
        sub = 16  # OpenCV's fixed-point fraction
        cv2.circle(image, (round(x * sub), round(y * sub)), round(4 * scale * sub), [255] * 3, -1, cv2.LINE_AA, 4)
        np.testing.assert_allclose(centre_of(align(image, landmarks, size), channel), template(size)[point], atol=0.12)


def test_outside_the_picture_is_black() -> None:
    image = np.full((112, 112, 3), 200, np.uint8)
    crop = align(image, ARCFACE + 60)
    assert crop.shape == (112, 112, 3)
    assert crop[:50, :50].min() == 200
    assert crop[60:, 60:].max() == 0


def test_fine_patterns_do_not_alias() -> None:
    """One-pixel stripes, much finer than the crop can show, must become grey and not new stripes."""
    image = np.zeros((1200, 1200, 3), np.uint8)
    image[:, ::2] = 255
    crop = align(image, moved(ARCFACE, 9.0, 0.0, (60.0, 60.0)))
    assert abs(float(crop.mean()) - 127) < 3
    assert crop.std() < 6
