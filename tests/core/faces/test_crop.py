from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from faceclr_cli.core.errors import ModelError, NoFaceError
from faceclr_cli.core.faces.align import ARCFACE
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.detect import YuNet, largest
from faceclr_cli.core.faces.drawn import draw_photo, invent_person


def offsets(crops: list[np.ndarray]) -> np.ndarray:
    """Where the eyes of crops are found again, from the template. Shape: (crops, 2, 2).

    The detector contradicts itself by some pixels from one scale to the next, so it is asked at several.
    """
    detector = YuNet()

    def eyes(crop: np.ndarray, side: int) -> np.ndarray:
        resized = cv2.resize(np.pad(crop, ((56, 56), (56, 56), (0, 0))), (side, side))
        return largest(detector.detect(resized)).landmarks[:2] * 224 / side - 56

    return np.array([np.mean([eyes(crop, side) for side in SIDES], axis=0) - ARCFACE[:2] for crop in crops])


SIDES = (256, 288, 320, 352, 400)


def test_drawn_faces_are_aligned() -> None:
    cropper = PhotoCropper(default_fingerprint())
    crops = [cropper.crop(draw_photo(invent_person(who), 2).image).crop for who in range(8)]
    assert all(crop.shape == (112, 112, 3) for crop in crops)
    found = offsets(crops)
    assert np.linalg.norm(found, axis=2).mean() < 5


@pytest.mark.real
def test_the_eyes_of_real_people_come_to_lie_on_the_template(real_data: Path) -> None:
    cropper = PhotoCropper(default_fingerprint())
    photos = sorted((real_data / "lfw-view1" / "images").glob("*/*_0001.jpg"))[::60]
    found = offsets([cropper.crop_file(photo).crop for photo in photos])
    assert np.linalg.norm(found.mean(axis=0), axis=1).max() < 2
    # Of a single face it is more: people differ from the template, and the detector from itself.
    assert np.linalg.norm(found, axis=2).mean() < 4


def test_the_largest_face_is_taken() -> None:
    small, large = astronaut()[:256:2, 96:352:2], astronaut()[:256, 96:352]
    image = np.hstack([np.vstack([small, np.zeros_like(small)]), large])
    aligned = PhotoCropper(default_fingerprint()).crop(image)
    assert aligned.faces_found == 2
    assert aligned.face.box[0] > 128


def test_size_is_the_fingerprints() -> None:
    assert PhotoCropper(default_fingerprint(160)).crop(astronaut()).crop.shape == (160, 160, 3)


def test_no_face_is_an_error_that_names_the_picture(tmp_path: Path) -> None:
    with pytest.raises(NoFaceError, match=r"wall\.jpg: no face found"):
        PhotoCropper(default_fingerprint()).crop(np.full((90, 90, 3), 90, np.uint8), tmp_path / "wall.jpg")


@pytest.mark.parametrize("field", ["detector", "detector_digest", "template", "interpolation"])
def test_crops_that_cannot_be_made_here_are_refused(field: str) -> None:
    with pytest.raises(ModelError, match=field.replace("_", " ")):
        PhotoCropper(replace(default_fingerprint(), **{field: "other"}))


def test_channels_and_normalisation_are_the_encoders_business() -> None:
    photo = draw_photo(invent_person(1), 1).image
    plain = PhotoCropper(default_fingerprint()).crop(photo)
    other = PhotoCropper(replace(default_fingerprint(), channels="bgr", normalisation="imagenet")).crop(photo)
    assert np.array_equal(plain.crop, other.crop)
