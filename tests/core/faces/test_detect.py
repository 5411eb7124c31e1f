from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faceclr_cli.core.errors import NoFaceError
from faceclr_cli.core.faces.detect import Face, Selection, UnfitError, resize_for_detection
from faceclr_cli.core.faces.reasons import Reason

SHAPE = (200, 300)
BIG = Face(box=(0, 0, 60, 80), landmarks=None, score=0.7)
MIDDLE = Face(box=(130, 80, 30, 40), landmarks=None, score=0.8)
SURE = Face(box=(250, 10, 20, 50), landmarks=None, score=0.95)
FACES = [SURE, MIDDLE, BIG]


def boxes(choice: str, faces: list[Face] = FACES, **options: object) -> list[Face]:
    return Selection(choice=choice, **options).take(faces, SHAPE, "group.jpg")  # type: ignore[arg-type]


def test_each_choice_takes_what_it_says() -> None:
    assert boxes("largest") == [BIG]
    assert boxes("center") == [MIDDLE]
    assert boxes("best") == [SURE]
    assert boxes("all") == [BIG, MIDDLE, SURE]
    assert boxes("only", [MIDDLE]) == [MIDDLE]


def test_only_refuses_several() -> None:
    with pytest.raises(UnfitError, match=r"group\.jpg: 3 faces found, and only one is allowed") as caught:
        boxes("only")
    assert caught.value.reason is Reason.SEVERAL


def test_small_faces_do_not_count() -> None:
    assert boxes("best", min_size=25) == [MIDDLE]
    assert boxes("only", min_size=50) == [BIG]
    with pytest.raises(UnfitError, match=r"face too small .60 pixels, at least 61") as caught:
        boxes("largest", min_size=61)
    assert caught.value.reason is Reason.SMALL


def test_no_face_is_an_error_of_its_own() -> None:
    with pytest.raises(NoFaceError, match=r"group\.jpg: no face found") as caught:
        boxes("all", [])
    assert caught.value.exit_code == 3


def test_of_equal_boxes_the_surer_face_is_taken() -> None:
    assert boxes("largest", [BIG, replace(BIG, score=0.9)])[0].score == 0.9


@pytest.mark.parametrize(
    ("shape", "expected"), [((100, 50), (256, 128)), ((300, 200), (300, 200)), ((9, 2000), (3, 640))]
)
def test_pictures_are_resized_in_proportion(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    image, back = resize_for_detection(np.zeros((*shape, 3), np.uint8), 256, 640)
    assert image.shape[:2] == expected
    np.testing.assert_allclose(back * image.shape[1::-1], shape[::-1])
