from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.errors import ModelError, NoFaceError
from faceclr_cli.core.faces.align import ARCFACE, Alignment
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint, fingerprint_for_foreign_crops, fingerprint_of
from faceclr_cli.core.faces.decode import Picture, read_photo
from faceclr_cli.core.faces.detect import Face, Selection, UnfitError
from faceclr_cli.core.faces.yunet import YuNet


def packed(image: np.ndarray, kind: str = ".png") -> bytes:
    return bytes(cv2.imencode(kind, np.ascontiguousarray(image[..., ::-1]))[1])


def largest(faces: list[Face]) -> Face:
    return max(faces, key=lambda face: face.area)


def offsets(crops: list[np.ndarray]) -> np.ndarray:
    """Returns the offsets of the eyes that are detected in crops from the template. Shape: (crops, 2, 2).

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
    crops = [cropper.crop_data(packed(draw_photo(invent_person(who), 2).image))[0].crop for who in range(8)]
    assert all(crop.shape == (112, 112, 3) for crop in crops)
    found = offsets(crops)
    assert np.linalg.norm(found, axis=2).mean() < 5


@pytest.mark.real
def test_the_eyes_of_real_people_lie_on_the_template(real_data: Path) -> None:
    cropper = PhotoCropper(default_fingerprint())
    photos = sorted((real_data / "lfw-view1" / "images").glob("*/*_0001.jpg"))[::60]
    found = offsets([cropper.crop_file(photo).crop for photo in photos])
    assert np.linalg.norm(found.mean(axis=0), axis=1).max() < 2
    # Of a single face it is more: people differ from the template, and the detector from itself.
    assert np.linalg.norm(found, axis=2).mean() < 4


def test_the_largest_face_is_taken() -> None:
    small, large = astronaut()[:256:2, 96:352:2], astronaut()[:256, 96:352]
    image = np.hstack([np.vstack([small, np.zeros_like(small)]), large])
    aligned = PhotoCropper(default_fingerprint()).crop_data(packed(image))[0]
    assert aligned.faces_found == 2
    assert aligned.face.box[0] > 128


def test_size_is_the_fingerprints() -> None:
    assert PhotoCropper(default_fingerprint(160)).crop_data(packed(astronaut()))[0].crop.shape == (160, 160, 3)


def test_no_face_is_an_error_that_names_the_picture(tmp_path: Path) -> None:
    with pytest.raises(NoFaceError, match=r"wall\.jpg: no face found"):
        PhotoCropper(default_fingerprint()).crop_data(packed(np.full((90, 90, 3), 90, np.uint8)), tmp_path / "wall.jpg")


@pytest.mark.parametrize("field", ["detector", "detector_digest", "template", "interpolation", "padding"])
def test_crops_that_cannot_be_made_here_are_refused(field: str) -> None:
    with pytest.raises(ModelError, match=field.replace("_", " ").replace("padding", "template")):
        PhotoCropper(replace(default_fingerprint(), **{field: "other"}))


def test_channels_and_normalization_are_the_encoders_business() -> None:
    photo = packed(draw_photo(invent_person(1), 1).image)
    plain = PhotoCropper(default_fingerprint()).crop_data(photo)[0]
    other = PhotoCropper(replace(default_fingerprint(), channels="bgr", normalization="imagenet")).crop_data(photo)[0]
    assert np.array_equal(plain.crop, other.crop)


@pytest.mark.real
def test_the_eyes_that_were_detected_land_within_two_pixels(real_data: Path) -> None:
    photos = sorted((real_data / "lfw-view1" / "images").glob("*/*.jpg"))[::25]
    cropper, distances = PhotoCropper(default_fingerprint()), []
    for photo in photos:
        face = cropper.crop_file(photo).face
        matrix, _ = Alignment().place(face)
        assert face.landmarks is not None
        eyes = face.landmarks[:2] @ matrix[:, :2].T + matrix[:, 2]
        distances.append(np.linalg.norm(eyes - ARCFACE[:2], axis=1))
    assert np.mean(distances) < 2


def test_all_faces_are_sorted_by_size() -> None:
    small, large = astronaut()[:256:2, 96:352:2], astronaut()[:256, 96:352]
    image = packed(np.hstack([np.vstack([small, np.zeros_like(small)]), large]))
    cropper = PhotoCropper(default_fingerprint(), Selection(choice="all"))
    big, little = cropper.crop_data(image)
    assert big.face.area > 2 * little.face.area
    assert big.faces_found == little.faces_found == 2
    assert not np.array_equal(big.crop, little.crop)


@pytest.mark.parametrize("zoom", [3, 7, 12])
def test_large_jpegs_are_decoded_at_a_fraction_and_give_the_same_crop(zoom: int) -> None:
    data = packed(cv2.resize(astronaut(), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC), ".jpg")
    aligned = PhotoCropper(default_fingerprint()).crop_data(data)[0]
    assert Picture(data, "it").shrink_to(640) > 1
    whole = Alignment().cut(read_photo(data), aligned.face)
    assert np.abs(whole.astype(int) - aligned.crop).mean() < 2
    expected = PhotoCropper(default_fingerprint()).crop_data(packed(astronaut()))[0].face
    assert aligned.face.landmarks is not None
    assert expected.landmarks is not None
    assert np.abs(aligned.face.landmarks / zoom - expected.landmarks).max() < 0.1 * expected.box[2]


def test_a_small_face_in_a_large_jpeg_keeps_its_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that is decoded at 1/4 for the detection is decoded again if a face needs more pixels."""
    wall = np.full((3000, 4000, 3), 128, np.uint8)
    wall[1000:1512, 2000:2512] = astronaut()
    cropper = PhotoCropper(default_fingerprint())
    shrunk = []
    plain = Picture.pixels
    monkeypatch.setattr(Picture, "pixels", lambda self, by=1: shrunk.append(by) or plain(self, by))
    aligned = cropper.crop_data(packed(wall, ".jpg"))[0]
    assert shrunk == [4, 1]
    np.testing.assert_array_equal(aligned.crop, Alignment().cut(read_photo(packed(wall, ".jpg")), aligned.face))


@pytest.mark.parametrize("detector", ["haar", "mtcnn"])
def test_an_encoder_gets_the_detector_of_its_fingerprint(detector: str) -> None:
    if detector == "mtcnn":
        pytest.importorskip("facenet_pytorch")
    fingerprint = fingerprint_of(detector, Alignment(method="box", margin=0.1, size=96))
    assert fingerprint.detector.startswith(detector)
    assert PhotoCropper(fingerprint).crop_data(packed(astronaut()))[0].crop.shape == (96, 96, 3)


def test_crops_made_elsewhere_are_matched_by_their_template() -> None:
    cropper = PhotoCropper(fingerprint_for_foreign_crops("arcface", 112))
    assert cropper.fingerprint == default_fingerprint()
    with pytest.raises(ModelError, match="made elsewhere"):
        PhotoCropper(fingerprint_for_foreign_crops(None, 112))


def test_a_face_without_landmarks_cannot_be_aligned_by_them() -> None:
    fingerprint = fingerprint_of("haar", Alignment(method="arcface"))
    with pytest.raises(UnfitError, match="requires landmarks"):
        PhotoCropper(fingerprint).crop_data(packed(astronaut()))
