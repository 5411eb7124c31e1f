from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.identification.annotation import targets_of
from faceclr_cli.core.evaluation.identification.identify import identify
from faceclr_cli.core.events import Silent
from faceclr_cli.core.sources.output_folders import OUTPUT_MARK


def _write(path: Path, person: int, picture: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw_photo(invent_person(person), picture).image[..., ::-1])


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("album")
    for person, name in enumerate(("ann", "bob")):
        _write(root / "gallery" / name / "1.jpg", person, 1)
    _write(root / "photos" / "a.jpg", 0, 2)
    _write(root / "photos" / "a.png", 1, 2)
    _write(root / "photos" / "trip" / "day one" / "b.JPG", 1, 3)
    (root / "photos" / "text.jpg").write_text("no picture")
    return root


def _annotate(album: Path, out: Path, photos: Path | None = None) -> list[str]:
    config = IdentifyConfig(photos=photos or album / "photos", gallery=album / "gallery", annotate=out, threshold=-1.0)
    return [found.photo for found in identify(config, Silent())]


def test_copies_keep_their_folders_and_their_photographs_stay_as_they_were(album: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (album / "photos").rglob("*") if path.is_file()}
    _annotate(album, tmp_path / "out")
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert written == {OUTPUT_MARK, "a.jpg", "a.png.jpg", "trip/day one/b.JPG"}
    assert before == {path: path.read_bytes() for path in (album / "photos").rglob("*") if path.is_file()}
    original, copy = (cv2.imread(str(folder / "a.jpg")).astype(int) for folder in (album / "photos", tmp_path / "out"))
    changed = (abs(original - copy) > 60).any(axis=2)
    assert original.shape == copy.shape
    assert 0.001 < changed.mean() < 0.2


def test_copies_are_upright(album: Path, tmp_path: Path) -> None:
    upright = cv2.imread(str(album / "photos" / "a.jpg"))[:, :-20]
    turned = cv2.imencode(".jpg", cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    (tmp_path / "turned.jpg").write_bytes(
        turned[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + turned[2:]
    )
    _annotate(album, tmp_path / "out", tmp_path / "turned.jpg")
    copy = cv2.imread(str(tmp_path / "out" / "turned.jpg"), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert copy.shape == upright.shape
    assert np.median(abs(copy.astype(int) - upright)) < 10


def test_originals_are_never_written_over(album: Path, tmp_path: Path) -> None:
    photos = album / "photos"
    for out in (photos, photos / "named", photos / "trip" / ".."):
        with pytest.raises(ConfigError, match="is inside the folder of photographs"):
            _annotate(album, out)
    with pytest.raises(ConfigError, match=r"a\.jpg would be overwritten"):
        _annotate(album, photos, photos / "a.jpg")
    (tmp_path / "link").symlink_to(photos)
    with pytest.raises(ConfigError, match=r"a\.jpg would be overwritten"):
        _annotate(album, tmp_path / "link", photos / "a.jpg")
    with pytest.raises(ConfigError, match="is a file"):
        _annotate(album, photos / "a.jpg", photos / "a.png")
    assert not (photos / "named").exists()


def test_each_photograph_has_a_place_of_its_own_inside_the_folder() -> None:
    names = ["a.jpg", "a.png", "a.png.jpg", "A.JPG", "../a.jpg", "/a.jpg", "../../x/b.webp", "./c.jpeg"]
    targets = targets_of(names, Path("out"))
    places = [path.as_posix() for path in targets.values()]
    assert len({place.lower() for place in places}) == len(names) == len(targets)
    assert all(place.startswith("out/") and ".." not in Path(place).parts for place in places)
    assert all(place.lower().endswith((".jpg", ".jpeg")) for place in places)
    assert (targets["a.png.jpg"], targets["../a.jpg"]) == (Path("out/a.png.jpg"), Path("out/_/a.jpg"))
