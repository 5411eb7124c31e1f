from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.faces import weights
from faceclr_cli.core.faces.decode import read_photo
from faceclr_cli.core.faces.mtcnn import Mtcnn
from faceclr_cli.core.faces.yunet import YuNet


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    pytest.importorskip("facenet_pytorch")
    return Mtcnn()


def test_it_finds_what_yunet_finds(detector: Mtcnn) -> None:
    (face,) = detector.detect(astronaut())
    expected = YuNet().detect(astronaut())[0]
    assert face.landmarks is not None
    assert expected.landmarks is not None
    assert np.abs(face.landmarks - expected.landmarks).max() < 0.2 * expected.box[2]
    assert np.abs(np.subtract(face.box, expected.box)).max() < 0.3 * expected.box[2]


def test_faces_are_sorted_by_score_in_pixels_of_the_whole_picture(detector: Mtcnn) -> None:
    face = astronaut()[:256, 96:352]
    two = np.hstack([face, face[:, ::-1]])
    found = detector.detect(np.kron(two, np.ones((3, 3, 1), np.uint8)))
    assert len(found) == 2
    assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
    assert sorted(int(face.center[0] // 768) for face in found) == [0, 1]


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (200, 300)])
def test_pictures_without_a_face_give_none(detector: Mtcnn, shape: tuple[int, int]) -> None:
    assert detector.detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_unsure_faces_are_left_out(detector: Mtcnn) -> None:
    assert Mtcnn(1.0).detect(astronaut()) == []


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *others: object) -> object:
        if name == "facenet_pytorch":
            raise ImportError(name)
        return plain(name, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'faceclr\[mtcnn\]'"):
        Mtcnn()


def test_other_weights_are_refused(detector: Mtcnn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pnet.pt").write_bytes(b"other")
    monkeypatch.setattr(weights.Weights, "_locate", lambda _: tmp_path / "pnet.pt")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        Mtcnn()


@pytest.mark.real
def test_it_agrees_with_yunet_on_most_photographs(detector: Mtcnn, real_data: Path) -> None:
    photos = sorted((real_data / "lfw-view1" / "images").glob("*/*_0001.jpg"))[::250]
    other, agreed = YuNet(), []
    for photo in map(read_photo, photos):
        wanted = [face.center for face in other.detect(photo)]
        found = [face.center for face in detector.detect(photo)]
        agreed.append(any(np.hypot(*np.subtract(one, two)) < 25 for one in found for two in wanted))
    assert np.mean(agreed) > 0.85
