from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces import haar
from faceclr_cli.core.faces.decode import read_photo
from faceclr_cli.core.faces.haar import Haar
from faceclr_cli.core.faces.yunet import YuNet


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    sides = [min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    shared = max(0.0, sides[0]) * max(0.0, sides[1])
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def test_a_face_is_found_without_landmarks() -> None:
    (face,) = Haar().detect(astronaut())
    assert face.landmarks is None
    assert 0.8 <= face.score < 1
    assert overlap(face.box, YuNet().detect(astronaut())[0].box) > 0.5


def test_a_higher_score_asks_for_more_overlapping_detections() -> None:
    assert len(Haar(0.0).detect(astronaut())) > len(Haar().detect(astronaut()))
    assert Haar(1.0).detect(astronaut()) == []
    assert Haar().detect(np.full((90, 120, 3), 90, np.uint8)) == []


def test_without_the_cascade_there_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haar.cv2, "__file__", str(tmp_path / "__init__.py"))
    haar.cascade_digest.cache_clear()
    with pytest.raises(ModelError, match="no Haar cascades"):
        Haar()


@pytest.mark.real
def test_it_agrees_with_yunet_on_most_photographs(real_data: Path) -> None:
    photos = sorted((real_data / "lfw-view1" / "images").glob("*/*_0001.jpg"))[::120]
    detector, other = Haar(), YuNet()
    agreed = []
    for photo in map(read_photo, photos):
        boxes = [face.box for face in other.detect(photo)]
        agreed.append(any(overlap(face.box, box) > 0.4 for face in detector.detect(photo) for box in boxes))
    assert np.mean(agreed) > 0.8
