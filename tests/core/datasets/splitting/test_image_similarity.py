from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.fft
from numpy.typing import NDArray

from faceclr_cli.core.datasets.splitting.duplicates import SAME, correlation, perceptual_hash, read_thumbnail
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint

Picture = NDArray[np.uint8]


def texture(seed: int, size: int = 112) -> Picture:
    noise = np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size / 20)
    return np.asarray(128 + 40 * smooth / smooth.std(), np.float32).clip(0, 255).astype(np.uint8)


def small(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA), np.uint8)


def moved(picture: Picture, turn: float, scale: float, right: float) -> Picture:
    warp = cv2.getRotationMatrix2D((picture.shape[1] / 2, picture.shape[0] / 2), turn, scale)
    warp[0, 2] += right
    return np.asarray(cv2.warpAffine(picture, warp, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)


def jpeg(picture: Picture, quality: int = 40) -> Picture:
    packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED), np.uint8)


def differing(one: Picture, other: Picture) -> int:
    return int(np.unpackbits(perceptual_hash(one) ^ perceptual_hash(other)).sum())


def test_the_hash_is_the_signs_of_the_lowest_frequencies() -> None:
    thumbnail = small(texture(1))
    expected = scipy.fft.dctn(thumbnail.astype(float), norm="ortho")[:16, :16].ravel()[1:] > 0
    found = np.unpackbits(perceptual_hash(thumbnail))
    assert found.shape == (256,)
    assert (found[:255] == expected).mean() > 0.99  # float32 may put what is almost zero on the other side
    assert found[255] == 0


def test_a_picture_that_was_re_encoded_moved_and_re_lit_is_the_same() -> None:
    picture = texture(2)
    altered = jpeg(moved((picture * 0.8 + 10).astype(np.uint8), turn=3, scale=1.03, right=2))
    assert correlation(small(picture), small(picture)) == 1.0
    assert correlation(small(picture), small(altered)) > SAME
    assert differing(small(picture), small(altered)) < 100


def test_different_pictures_with_the_same_black_border_differ() -> None:
    pictures = [texture(seed) for seed in range(6)]
    for picture in pictures:
        picture[:20], picture[:, 90:] = 0, 0
    pairs = [(small(a), small(b)) for a in pictures for b in pictures if a is not b]
    assert max(correlation(a, b) for a, b in pairs) < SAME


def test_pictures_without_detail_are_not_the_same_unless_they_are() -> None:
    gray, dark = (np.full((32, 32), value, np.uint8) for value in (90, 0))
    assert correlation(gray, dark) == correlation(dark, gray) == -1.0
    assert correlation(gray, small(texture(3))) < SAME


def test_a_thumbnail_is_gray_and_small_whatever_the_crop(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), cv2.merge([texture(4, 160)] * 3))
    assert read_thumbnail((tmp_path / "a.png").read_bytes(), "a.png").shape == (32, 32)


@pytest.mark.real
@pytest.mark.parametrize("person", ["Ricardo_Lagos", "Paul_Wolfowitz", "Jennifer_Lopez"])
def test_altered_photographs_are_recognized_and_others_of_the_person_are_not(real_data: Path, person: str) -> None:
    cropper = PhotoCropper(default_fingerprint())

    def thumbnail(photo: Picture) -> Picture:
        data = cv2.imencode(".png", photo)[1].tobytes()
        return small(cv2.cvtColor(cropper.crop_data(data)[0].crop, cv2.COLOR_RGB2GRAY))

    photos = [cv2.imread(str(path)) for path in sorted((real_data / "lfw-view1" / "images" / person).iterdir())]
    originals = [thumbnail(photo) for photo in photos]
    assert len(originals) > 5
    for photo, original in zip(photos, originals, strict=True):
        half = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for altered in (jpeg(photo), half, (photo * 0.85).astype(np.uint8), photo[15:, 8:238]):
            assert correlation(original, thumbnail(np.asarray(altered, np.uint8))) > SAME
    others = [correlation(a, b) for index, a in enumerate(originals) for b in originals[:index]]
    assert max(others) < SAME
