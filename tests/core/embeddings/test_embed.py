from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.embed import embed as run
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.encoders.pixels import PixelsEncoder
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError, ModelError, TooManyBadFilesError
from faceclr_cli.core.events import Event, Notice, Silent, TaskAdvanced
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.face_folder import DESCRIPTION


class Listener:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "people"
    write_people(root, 3, 4, 0, Silent())
    return root


@pytest.fixture
def photos(people: Path, tmp_path: Path) -> Path:
    """The drawn people, and three files without a face."""
    root = tmp_path / "photos"
    for path in people.rglob("*.jpg"):
        target = root / path.relative_to(people)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (root / "person-01" / "text.jpg").write_text("no picture")
    (root / "person-02" / "empty.jpg").touch()
    cv2.imwrite(str(root / "person-02" / "gray.png"), np.full((200, 200, 3), 128, np.uint8))
    return root


@pytest.fixture
def faces(people: Path, tmp_path: Path) -> Path:
    """Prepared faces, as `prepare` writes them."""
    return _prepare(people, tmp_path / "faces", 112)


def _prepare(people: Path, root: Path, size: int) -> Path:
    fingerprint = default_fingerprint(size)
    cropper = PhotoCropper(fingerprint)
    for path in people.rglob("*.jpg"):
        target = root / path.relative_to(people)
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cropper.crop_file(path).crop[..., ::-1])
    write_json(root / DESCRIPTION, {**stamp("faces", {}), "fingerprint": fingerprint.to_json()})
    return root


def test_photographs_become_a_store_in_the_order_of_their_names(people: Path, tmp_path: Path) -> None:
    out = tmp_path / "people.h5"
    result = run(EmbedConfig(faces=people, model="pixels", out=out, batch_size=5), Silent())
    store = read_store(out)
    names = sorted(path.relative_to(people).as_posix() for path in people.rglob("*.jpg"))
    assert store.paths == tuple(names)
    assert store.identities == tuple(name.split("/")[0] for name in names)
    assert store.content_hashes[0] == hashlib.sha256((people / names[0]).read_bytes()).hexdigest()
    assert (store.detection_scores > 0.6).all()
    assert (result.faces, result.people, result.bad, result.dim) == (12, 3, 0, 3072)
    cropper = PhotoCropper(default_fingerprint())
    crops = np.stack([cropper.crop_file(people / name).crop for name in names])
    np.testing.assert_allclose(store.embeddings, PixelsEncoder().embed(crops), atol=1e-6)
    assert json.loads(json.dumps(result.to_json()))["out"] == str(out)


def test_prepared_faces_are_embedded_as_they_are(faces: Path, tmp_path: Path) -> None:
    run(EmbedConfig(faces=faces, out=tmp_path / "faces.h5"), Silent())
    store = read_store(tmp_path / "faces.h5")
    assert len(store) == 12
    assert np.isnan(store.detection_scores).all()
    assert (store.encoder, store.dim) == ("sface", 128)
    assert store.calibration is not None
    assert store.fingerprint.require_same_crops(default_fingerprint(), "store", "here") is None


def test_the_batch_size_does_not_change_the_store(faces: Path, tmp_path: Path) -> None:
    for size in (1, 7, 64):
        run(EmbedConfig(faces=faces, model="pixels", out=tmp_path / f"{size}.h5", batch_size=size), Silent())
    first, *others = (read_store(tmp_path / f"{size}.h5") for size in (1, 7, 64))
    for other in others:
        np.testing.assert_array_equal(first.embeddings, other.embeddings)


def test_bad_files_are_left_out_and_named(photos: Path, tmp_path: Path) -> None:
    listener = Listener()
    result = run(EmbedConfig(faces=photos, model="pixels", out=tmp_path / "faces.h5"), listener)
    assert (result.faces, result.bad) == (12, 3)
    assert len(read_store(tmp_path / "faces.h5")) == 12
    [notice] = [event for event in listener.events if isinstance(event, Notice)]
    assert notice.level == "warning"
    for name in ("text.jpg", "empty.jpg", "gray.png: no face found"):
        assert name in notice.text
    assert max(event.done for event in listener.events if isinstance(event, TaskAdvanced)) == 15


def test_too_many_bad_files_are_an_error_after_the_store_is_written(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "faces.h5"
    with pytest.raises(TooManyBadFilesError, match=r"3 of 15 files.*--max-bad 0\.1.*other 12 are in"):
        run(EmbedConfig(faces=photos, model="pixels", out=out, max_bad=0.1), Silent())
    assert len(read_store(out)) == 12


def test_nothing_is_written_without_a_face(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"photos/a\.jpg: not a picture"):
        run(EmbedConfig(faces=tmp_path / "photos", model="pixels", out=tmp_path / "faces.h5"), Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_every_face_counts_as_the_person_of_its_folder_and_it_is_said(people: Path, tmp_path: Path) -> None:
    listener = Listener()
    run(EmbedConfig(faces=people, model="pixels", face="all", out=tmp_path / "all.h5"), listener)
    notices = [event.text for event in listener.events if isinstance(event, Notice)]
    assert notices == ["with --face all, every face in a photograph is assigned to the person of that photograph"]
    listener = Listener()
    run(EmbedConfig(faces=people / "person-01", model="pixels", face="all", out=tmp_path / "one.h5"), listener)
    assert not [event for event in listener.events if isinstance(event, Notice)]


def test_faces_for_another_encoder_are_refused(people: Path, tmp_path: Path) -> None:
    faces = _prepare(people, tmp_path / "large", 160)
    with pytest.raises(FingerprintError, match="size is 160 and 112"):
        run(EmbedConfig(faces=faces, out=tmp_path / "faces.h5"), Silent())


def test_a_crop_of_another_size_is_a_bad_file(faces: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(faces / "person-01" / "odd.jpg"), np.zeros((90, 80, 3), np.uint8))
    result = run(EmbedConfig(faces=faces, model="pixels", out=tmp_path / "faces.h5"), Silent())
    assert result.bad == 1
    assert "80 x 90 pixels" in result.failures[0]


def test_the_store_is_called_after_faces_and_encoder(faces: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(EmbedConfig(faces=Path("faces"), model="pixels"), Silent()).out == Path("faces-pixels.h5")
    assert (tmp_path / "faces-pixels.h5").is_file()


def test_what_cannot_be_is_said_before_the_work(faces: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="faceclr embed faces"):
        run(EmbedConfig(), Silent())
    with pytest.raises(ConfigError, match="is a folder"):
        run(EmbedConfig(faces=faces, model="pixels", out=tmp_path), Silent())
    with pytest.raises(ModelError, match="no such folder"):
        run(EmbedConfig(faces=faces, model="missing"), Silent())
    with pytest.raises(DataError, match="no such"):
        run(EmbedConfig(faces=tmp_path / "gone", model="pixels"), Silent())


def test_a_store_of_bf16_says_so_and_does_not_mix_with_float32(faces: Path, tmp_path: Path) -> None:
    config = EmbedConfig(faces=faces, out=tmp_path / "faces.h5", device="cpu")
    run(config, Silent())
    rounded = replace(config, out=tmp_path / "bf16.h5", precision="bf16")
    run(rounded, Silent())
    exact, other = read_store(tmp_path / "faces.h5"), read_store(tmp_path / "bf16.h5")
    assert (exact.precision, other.precision) == ("float32", "bf16")
    assert exact.fingerprint == other.fingerprint
    assert 0.99 < np.sum(exact.embeddings * other.embeddings, axis=1).min() < 0.999999
    assert exact.encoder_digest != other.encoder_digest
    with pytest.raises(DataError, match=r"faces\.h5: .* another encoder"):
        run(replace(config, precision="bf16"), Silent())
    run(rounded, Silent())
