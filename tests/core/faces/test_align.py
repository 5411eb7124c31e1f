from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from faceclr_cli.core.faces.align import ARCFACE, Alignment, Method, reduction, similarity, template, tilt
from faceclr_cli.core.faces.detect import Face


def align(image: np.ndarray, landmarks: np.ndarray, size: int = 112) -> np.ndarray:
    face = Face(box=(0, 0, 1, 1), landmarks=landmarks.astype(np.float32), score=1)
    return Alignment(size=size).cut(image, face)


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


def center_of(crop: np.ndarray, channel: int) -> np.ndarray:
    weights = crop[:, :, channel].astype(float)
    y, x = np.mgrid[0 : crop.shape[0], 0 : crop.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("size", [112, 160])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.9, 2.5, 5.0, 9.3])
def test_landmarks_land_on_the_template(scale: float, size: int) -> None:
    """Also if the picture is first reduced by averaging, which must not shift it by half a pixel."""
    landmarks = moved(ARCFACE, scale, 12.0, (40.0 * scale, 15.0 * scale))
    for channel, point in enumerate((0, 1, 3)):
        image = np.zeros((int(180 * scale), int(200 * scale), 3), np.uint8)
        x, y = landmarks[point]
        sub = 16  # OpenCV's fixed-point fraction
        cv2.circle(image, (round(x * sub), round(y * sub)), round(4 * scale * sub), [255] * 3, -1, cv2.LINE_AA, 4)
        np.testing.assert_allclose(center_of(align(image, landmarks, size), channel), template(size)[point], atol=0.12)


def test_outside_the_picture_is_black() -> None:
    image = np.full((112, 112, 3), 200, np.uint8)
    crop = align(image, ARCFACE + 60)
    assert crop.shape == (112, 112, 3)
    assert crop[:50, :50].min() == 200
    assert crop[60:, 60:].max() == 0


def test_fine_patterns_do_not_alias() -> None:
    """One-pixel stripes, which are much finer than the pixels of the crop, must become gray, not new stripes."""
    image = np.zeros((1200, 1200, 3), np.uint8)
    image[:, ::2] = 255
    crop = align(image, moved(ARCFACE, 9.0, 0.0, (60.0, 60.0)))
    assert abs(float(crop.mean()) - 127) < 3
    assert crop.std() < 6


def portrait(angle: float) -> tuple[np.ndarray, Face]:
    """A face of 100 x 140 pixels with dots for eyes, turned about its center in a gray picture."""
    image = np.full((400, 400, 3), 60, np.uint8)
    corners = moved(np.array([[-50, -70], [50, -70], [50, 70], [-50, 70]]), 1, angle, (200, 180))
    cv2.fillPoly(image, [np.round(corners).astype(np.int32)], (200, 200, 200))
    landmarks = moved(np.array([[-22, -15], [26, -15], [0, 10], [-15, 40], [17, 40]]), 1, angle, (200, 180))
    for point, color in zip(landmarks[:2], ((255, 0, 0), (0, 255, 0)), strict=True):
        cv2.circle(image, np.round(point).astype(int).tolist(), 5, color, -1)
    return image, Face(box=(150, 110, 100, 140), landmarks=landmarks.astype(np.float32), score=1)


@pytest.mark.parametrize("angle", [-35.0, 0.0, 20.0])
@pytest.mark.parametrize("size", [96, 240])
def test_eyes_are_level_and_centered(angle: float, size: int) -> None:
    image, face = portrait(angle)
    crop = Alignment(method="eyes", margin=0.3, size=size).cut(image, face).astype(int)
    assert crop.shape == (size, size, 3)
    left = center_of(np.maximum(crop[:, :, :1] - crop[:, :, 1:2], 0).clip(0, 255), 0)
    right = center_of(np.maximum(crop[:, :, 1:2] - crop[:, :, :1], 0).clip(0, 255), 0)
    assert abs(left[1] - right[1]) < size / 100
    assert abs((left[0] + right[0]) / 2 - (size - 1) / 2) < size / 100
    # Nothing is stretched: eyes 48 pixels apart, in a face of 140 with margins of 0.3 on both sides.
    assert right[0] - left[0] == pytest.approx(48 * size / (140 * 1.6), rel=0.03)


@pytest.mark.parametrize("padding", ["black", "reflect"])
def test_a_box_is_cut_with_its_margin_and_letterboxed(padding: str) -> None:
    image, face = portrait(0)
    crop = Alignment(method="box", margin=0.0, padding=padding, size=140).cut(image, face)  # type: ignore[arg-type]
    assert crop.shape == (140, 140, 3)
    assert (crop[5:-5, 25:35] == 200).all()
    if padding == "black":
        assert crop[:, :20].max() == crop[:, 120:].max() == 0
    else:
        np.testing.assert_array_equal(crop[:, 19::-1], crop[:, 21:41])
    wide = Alignment(method="box", margin=0.5, size=280).cut(image, face)
    assert wide[140, 40 + 30, 0] == 60
    assert wide[140, 40 + 60, 0] == 200


def test_reflection_leaves_no_black_beyond_the_picture() -> None:
    image = np.full((112, 112, 3), 200, np.uint8)
    face = Face(box=(60, 60, 80, 80), landmarks=(ARCFACE + 60).astype(np.float32), score=1)
    for method in ("arcface", "eyes", "box"):
        assert Alignment(method=method, padding="black").cut(image, face).min() == 0  # type: ignore[arg-type]
        assert Alignment(method=method, padding="reflect").cut(image, face).min() == 200  # type: ignore[arg-type]


def test_the_name_of_an_alignment_finds_it_again() -> None:
    for alignment in (Alignment(size=160), Alignment(method="eyes", margin=0.25, padding="reflect", size=96)):
        again = Alignment.named(alignment.template, alignment.padding, alignment.size)
        assert again.template == alignment.template
        assert (again.padding, again.size) == (alignment.padding, alignment.size)
    for template_name, padding in (
        ("arcface 0.3", "black"),
        ("other", "black"),
        ("box 0.2", "gray"),
        ("box x", "black"),
    ):
        with pytest.raises(ValueError):
            Alignment.named(template_name, padding, 112)


def test_without_landmarks_only_the_box_can_be_cut() -> None:
    face = Face(box=(10, 10, 50, 50), landmarks=None, score=1)
    image = np.full((90, 90, 3), 120, np.uint8)
    assert Alignment(method="box").cut(image, face).max() == 120
    for method in ("arcface", "eyes"):
        with pytest.raises(ValueError, match="requires landmarks"):
            Alignment(method=method).cut(image, face)  # type: ignore[arg-type]


@pytest.mark.parametrize(("scale", "factor"), [(2.0, 1), (1.0, 1), (0.51, 1), (0.5, 2), (0.2, 4), (0.1, 8)])
def test_how_far_a_picture_may_shrink(scale: float, factor: int) -> None:
    assert reduction(np.array([[0.0, -scale, 3], [scale, 0.0, 5]])) == factor


def transcribed_eyes(face: Face, margin: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where `eyes` puts the corners of the upright box and the eyes; edges and centers of pixels differ."""
    # All in coordinates in which the first pixel reaches from 0 to 1.
    eyes = face.landmarks[:2].astype(float) + 0.5
    middle = eyes.mean(axis=0)
    angle = np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    left, top, width, height = face.box
    box_center = moved(np.array([[left + width / 2, top + height / 2]]) - middle, 1, -angle, (0, 0))[0] + middle
    whole = np.array([width, height]) * (1 + 2 * margin)
    corner = np.array([middle[0], box_center[1]]) - whole / 2
    return (moved(eyes - middle, 1, -angle, (0, 0)) + middle - corner) * size / whole.max(), whole * size / whole.max()


@pytest.mark.parametrize("angle", [-35.0, 0.0, 20.0, 180.0])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_eyes_lie_where_an_exact_transcription_puts_them(angle: float, scale: float) -> None:
    _, upright = portrait(angle)
    face = upright.scaled(scale)
    matrix, filled = Alignment(method="eyes", margin=0.3, size=112).place(face)
    expected, whole = transcribed_eyes(face, 0.3, 112)
    found = face.landmarks[:2] @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(found + 0.5, expected, atol=1e-3)
    np.testing.assert_allclose(filled, whole, atol=0.5)
    # The eyes are level, and the middle between them is that of the crop's width.
    assert found[:, 0].mean() + 0.5 == pytest.approx(whole[0] / 2, abs=1e-3)


def turned_about(face: Face, turn: int) -> Face:
    """Returns a detector's result for the same face, rotated clockwise in the picture."""
    x, y = face.center
    landmarks = moved(face.landmarks - [x - 0.5, y - 0.5], 1, turn, (x - 0.5, y - 0.5)).astype(np.float32)
    box = face.box if turn % 180 != 90 else (x - face.box[3] / 2, y - face.box[2] / 2, face.box[3], face.box[2])
    return Face(box=box, landmarks=landmarks, score=1, turn=turn)


@pytest.mark.parametrize("turn", [45, 90, 180, 270, 315])
@pytest.mark.parametrize("method", ["arcface", "eyes", "box"])
def test_a_turned_face_comes_to_lie_as_the_upright_one_does(method: Method, turn: int) -> None:
    _, upright = portrait(0)
    face, alignment = turned_about(upright, turn), Alignment(method=method)
    assert tilt(face) == pytest.approx(tilt(upright), abs=1e-3)
    (expected, filled), (found, filled_too) = alignment.place(upright), alignment.place(face)
    assert filled == filled_too
    # Points of the upright and of the rotated face are at the same places of the crop.
    for points, matrix in ((upright.landmarks, expected), (face.landmarks, found)):
        places = points @ matrix[:, :2].T + matrix[:, 2]
        np.testing.assert_allclose(places, upright.landmarks @ expected[:, :2].T + expected[:, 2], atol=1e-3)
