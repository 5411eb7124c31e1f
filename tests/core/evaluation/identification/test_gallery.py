"""The faces of a gallery: one for each photograph, and the cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.embed import EmbedConfig, Flip
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.embedding_cache import forget_cached_embeddings
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.identification.gallery import KnownPeople, load_gallery
from faceclr_cli.core.evaluation.identification.identify import identify
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.preparing.prepare import prepare
from tests.core.embeddings.test_part_workers import faces

__all__ = ["faces"]  # The fixture.


class Heard:
    def __init__(self) -> None:
        self.notices = list[str]()

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


class Counting(SFaceEncoder):
    """Counts the faces that it embeds."""

    embedded = 0

    def embed_unnormalized(self, crops: np.ndarray) -> np.ndarray:
        self.embedded += len(crops)
        return super().embed_unnormalized(crops)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of Ann, in the second of which Bob stands behind her, and one of Cleo."""
    root = tmp_path / "people"
    for name in ("ann", "cleo"):
        (root / name).mkdir(parents=True)
    _write(root / "ann" / "1.jpg", _photo(0, 0))
    _write(
        root / "ann" / "2.jpg", np.hstack([_photo(0, 1, 400), np.pad(_photo(1, 1, 240), ((80, 80), (0, 0), (0, 0)))])
    )
    _write(root / "cleo" / "1.jpg", _photo(2, 0))
    return root


def _photo(person: int, picture: int, side: int = 400) -> np.ndarray:
    image = cv2.copyMakeBorder(draw_photo(invent_person(person), picture).image, 40, 40, 40, 40, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))


def _write(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), image[..., ::-1])


def _load(
    gallery: Path, encoder: SFaceEncoder | None = None, heard: Heard | None = None, **options: object
) -> KnownPeople:
    config = IdentifyConfig(photos=gallery, gallery=gallery, **options)  # type: ignore[arg-type]
    return load_gallery(config, gallery, encoder or SFaceEncoder(), heard or Heard())


def _bystander(folder: Path, gallery: Path, heard: Heard | None = None, **options: object) -> float:
    """Returns the similarity of Bob, beside Ann, to the most similar person."""
    photo = folder / "ann" / "2.jpg"
    config = IdentifyConfig(photos=photo, gallery=gallery, **options)  # type: ignore[arg-type]
    _, bob = identify(config, heard or Heard())
    return bob.matches[0].similarity


def test_a_bystander_does_not_take_the_name_of_the_person(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "all.h5"
    embed(EmbedConfig(faces=folder, out=store, face="all"), Heard())
    heard = Heard()
    assert _bystander(folder, store, heard) < 0.9
    several = "1 of 3 photographs have several faces; the largest face of each is used"
    assert [notice for notice in heard.notices if several in notice]
    assert _bystander(folder, folder) < 0.9
    for gallery in (store, folder):
        assert _bystander(folder, gallery, gallery_face="all") == pytest.approx(1, abs=1e-5)


def test_what_has_no_choice_refuses_one(folder: Path, tmp_path: Path) -> None:
    prepare(PrepareConfig(source=folder, out=tmp_path / "faces", workers=1), Heard())
    with pytest.raises(ConfigError, match=r"--gallery-face: .*prepared faces"):
        _load(tmp_path / "faces", gallery_face="all")
    assert _load(tmp_path / "faces").names == ["ann", "cleo"]


def test_a_folder_is_embedded_once_and_then_what_is_new(folder: Path) -> None:
    first = Counting()
    people = _load(folder, first)
    assert (first.embedded, people.names) == (3, ["ann", "cleo"])
    again = Counting()
    assert _load(folder, again).names == ["ann", "cleo"]
    assert again.embedded == 0
    status = (folder / "cleo" / "1.jpg").stat()
    _write(folder / "cleo" / "1.jpg", _photo(3, 0))
    os.utime(folder / "cleo" / "1.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    _write(folder / "cleo" / "2.jpg", _photo(3, 1))
    changed = Counting()
    before = people.content_hashes
    people = _load(folder, changed)
    assert changed.embedded == 2
    assert people.content_hashes is not None and before is not None
    assert len(people.content_hashes - before) == 2
    shutil.rmtree(folder / "cleo")
    gone = Counting()
    assert _load(folder, gone).names == ["ann"]
    assert gone.embedded == 0


def test_other_faces_of_the_same_folder_are_kept_apart(folder: Path) -> None:
    largest, every = Counting(), Counting()
    _load(folder, largest)
    _load(folder, every, gallery_face="all")
    assert (largest.embedded, every.embedded) == (3, 4)


def test_a_picture_without_a_face_is_named_each_time(folder: Path) -> None:
    (folder / "ann" / "text.jpg").write_text("not a picture")
    for _ in range(2):
        heard = Heard()
        _load(folder, heard=heard)
        (notice,) = heard.notices
        assert "1 of 4 pictures produced no face (first: " in notice
    for path in folder.rglob("*.jpg"):
        path.write_text("not a picture")
    with pytest.raises(DataError, match="no face found in any picture"):
        _load(folder)


def test_without_a_cache_it_works_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACECLR_CACHE", "/proc/nowhere")
    heard = Heard()
    assert _load(folder, heard=heard).names == ["ann", "cleo"]
    (notice,) = heard.notices
    assert "the cache cannot be used, so all pictures are embedded again" in notice


def test_a_damaged_gallery_is_made_anew(folder: Path, cache: Path) -> None:
    _load(folder)
    (store,) = cache.rglob("*.h5")
    store.write_bytes(b"damaged")
    assert _load(folder).names == ["ann", "cleo"]
    assert _load(folder).names == ["ann", "cleo"]
    last = Counting()
    _load(folder, last)
    assert last.embedded == 0


def test_eight_galleries_are_kept_and_forgotten_together(folder: Path, cache: Path, tmp_path: Path) -> None:
    for number in range(9):
        shutil.copytree(folder / "cleo", tmp_path / f"copy{number}" / "cleo")
        _load(tmp_path / f"copy{number}")
    assert len(list(cache.rglob("*.h5"))) == 8
    oldest, newest = Counting(), Counting()
    _load(tmp_path / "copy8", newest)
    _load(tmp_path / "copy0", oldest)
    assert (newest.embedded, oldest.embedded) == (0, 1)
    forget_cached_embeddings()
    assert not list(cache.rglob("*.h5"))
    forget_cached_embeddings()


@pytest.mark.parametrize("method", ["mean", "sum"])
def test_a_store_of_mirrored_faces_says_how_to_embed_them(faces: Path, method: Flip) -> None:
    """An encoder's threshold and probabilities are those of single faces; the mirror image makes all more similar."""
    store = faces.parent / f"{method}.h5"
    embed(EmbedConfig(faces=faces, model="pixels", flip=method, out=store), Silent())
    config = IdentifyConfig(photos=faces, gallery=store, model="pixels", threshold=0.9)
    expected = rf"{method}\.h5: contains {method}s of faces .*, but thresholds .*; embed the faces again without --flip"
    with pytest.raises(DataError, match=expected):
        list(identify(config, Silent()))
