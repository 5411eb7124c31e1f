from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.faces.align import ARCFACE
from faceclr_cli.core.faces.crop import AlignedFace, PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.decode import read_photo
from faceclr_cli.core.faces.detect import Face
from faceclr_cli.core.faces.quality import describe_doubts, sharpness

# Eyes, nose tip and mouth corners of MediaPipe's canonical face model (Apache-2.0), in cm: x to the right as seen,
# y down, z to the camera.
HEAD = np.array(
    [
        [-3.15, -2.62, 3.65],
        [3.15, -2.62, 3.65],
        [0.0, 0.46, 7.59],
        [-2.46, 4.34, 4.28],
        [2.46, 4.34, 4.28],
    ]
)
SHARP = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)


def crop_of(image: np.ndarray, size: int = 112) -> AlignedFace:
    packed = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
    return PhotoCropper(default_fingerprint(size)).crop_data(packed)[0]


def shrunk(image: np.ndarray, times: float) -> np.ndarray:
    return cv2.resize(image, None, fx=1 / times, fy=1 / times, interpolation=cv2.INTER_AREA)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs by a number of pixels of the crop, not of the photograph."""
    landmarks = crop_of(image).face.landmarks
    assert landmarks is not None
    enlarged = np.hypot(*(landmarks[1] - landmarks[0])) / np.hypot(*(ARCFACE[1] - ARCFACE[0]))
    return cv2.GaussianBlur(image, (0, 0), sigma * float(enlarged))


def seen_from(yaw: float, *, roll: float = 0.0, zoom: float = 10.0) -> AlignedFace:
    """Projects the distant head, turned to its side and then tilted in the picture. Degrees; zoom in pixels per cm."""
    turn, tilt = np.radians([yaw, roll])
    about_y = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    in_plane = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    landmarks = ((HEAD @ about_y.T)[:, :2] @ in_plane.T * zoom + 300).astype(np.float32)
    face = Face(box=(200.0, 200.0, 130.0, 180.0), landmarks=landmarks, score=1.0)
    return AlignedFace(crop=SHARP, face=face, faces_found=1)


def boxed(width: float) -> AlignedFace:
    face = Face(box=(0.0, 0.0, width, width), landmarks=None, score=1.0)
    return AlignedFace(crop=SHARP, face=face, faces_found=1)


def number(note: str) -> float:
    return float(re.search(r"\d+", note)[0])


@pytest.mark.parametrize("who", range(4))
def test_a_good_drawn_face_gives_no_doubt(who: int) -> None:
    assert describe_doubts(crop_of(draw_photo(invent_person(who), 2).image)) == ()


def test_a_drawn_face_that_was_made_small_is_noted_with_its_pixels() -> None:
    photo = draw_photo(invent_person(1), 2)
    notes = describe_doubts(crop_of(shrunk(photo.image, 6)))
    apart = np.hypot(*(photo.landmarks[1] - photo.landmarks[0])) / 6
    assert re.fullmatch(r"small: \d+ pixels between the eyes", notes[0])
    assert number(notes[0]) == pytest.approx(apart, abs=2)


def test_a_drawn_face_that_was_blurred_is_noted_with_its_sharpness() -> None:
    aligned = crop_of(blurred(draw_photo(invent_person(1), 2).image, 3))
    assert describe_doubts(aligned)[-1] == f"blurred (sharpness {sharpness(aligned.crop):.0f})"


@pytest.mark.parametrize(
    ("found", "note"),
    [
        ({"score": 0.62}, "perhaps not a face (detector score 0.62)"),
        ({"turn": 180}, "found only after the photograph was turned by 180 degrees"),
        ({"bordered": True}, "found only after a border was added to the photograph"),
        (
            {"turn": 90, "bordered": True},
            "found only after the photograph was turned by 90 degrees and a border was added to it",
        ),
    ],
)
def test_how_a_face_was_found_is_noted_where_it_is_doubtful(found: dict[str, Any], note: str) -> None:
    aligned = seen_from(0)
    assert describe_doubts(replace(aligned, face=replace(aligned.face, **found))) == (note,)
    assert describe_doubts(replace(aligned, face=replace(aligned.face, turn=45))) == ()


def test_sharpness_falls_with_blur() -> None:
    grades = [sharpness(cv2.GaussianBlur(SHARP, (0, 0), sigma)) for sigma in (0.5, 1, 2, 4)]
    assert grades == sorted(grades, reverse=True)
    assert sharpness(np.full((112, 112, 3), 90, np.uint8)) == 0


def test_a_large_crop_is_as_sharp_as_a_small_one() -> None:
    image = draw_photo(invent_person(1), 2).image
    soft = blurred(image, 3)
    assert describe_doubts(crop_of(image, 224)) == describe_doubts(crop_of(image)) == ()
    assert [note[:7] for note in describe_doubts(crop_of(soft, 224))] == [
        note[:7] for note in describe_doubts(crop_of(soft))
    ]


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("roll", [-40, 0, 25])
def test_the_turn_is_that_of_the_head_whatever_its_tilt(side: int, roll: float) -> None:
    for yaw in (0, 15, 27):
        assert describe_doubts(seen_from(side * yaw, roll=roll)) == ()
    for yaw in (33, 48, 62, 77):
        assert describe_doubts(seen_from(side * yaw, roll=roll)) == (
            f"turned sideways ({yaw // 5 * 5} degrees or more)",
        )


def test_thirty_degrees_are_the_limit() -> None:
    assert describe_doubts(seen_from(29)) == ()
    assert describe_doubts(seen_from(31)) == ("turned sideways (30 degrees or more)",)
    assert describe_doubts(seen_from(60.5)) == ("turned sideways (60 degrees or more)",)


def test_a_turned_face_is_not_small_because_its_eyes_appear_closer() -> None:
    # 25 pixels between the eyes from the front, 11 from this side.
    assert [note.split()[0] for note in describe_doubts(seen_from(64, zoom=4))] == ["turned"]
    assert [note.split()[0] for note in describe_doubts(seen_from(64, zoom=3))] == ["small:", "turned"]


def test_a_crop_of_few_pixels_does_not_need_many() -> None:
    face = seen_from(0, zoom=2.4)
    assert describe_doubts(face) == ("small: 15 pixels between the eyes",)
    assert describe_doubts(replace(face, crop=SHARP[:40, :40])) == ()


def test_a_box_alone_tells_whether_a_face_is_small() -> None:
    assert describe_doubts(boxed(120)) == ()
    assert describe_doubts(boxed(40)) == ("small: 40 pixels wide",)


def test_eyes_that_coincide_are_a_small_face() -> None:
    face = Face(box=(0.0, 0.0, 9.0, 9.0), landmarks=np.ones((5, 2), np.float32), score=1.0)
    assert describe_doubts(AlignedFace(crop=SHARP, face=face, faces_found=1)) == ("small: 0 pixels between the eyes",)


@pytest.mark.real
def test_few_ordinary_photographs_give_doubts(real_data: Path) -> None:
    people = sorted((real_data / "lfw-view1" / "images").iterdir())[::40]
    notes = [describe_doubts(crop_of(read_photo(min(person.iterdir()).read_bytes()))) for person in people]
    assert np.mean([bool(note) for note in notes]) < 0.06


@pytest.mark.real
@pytest.mark.parametrize(("spoil", "word"), [(shrunk, "small:"), (blurred, "blurred")])
def test_real_photographs_that_were_spoilt_give_doubts(
    real_data: Path, spoil: Callable[[np.ndarray, float], np.ndarray], word: str
) -> None:
    people = sorted((real_data / "lfw-view1" / "images").iterdir())[::150]
    amount = 4 if spoil is shrunk else 3
    for person in people:
        spoilt = spoil(read_photo(min(person.iterdir()).read_bytes()), amount)
        assert word in [note.split()[0] for note in describe_doubts(crop_of(spoilt))]
