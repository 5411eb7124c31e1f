from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from faceclr_cli.core.sources.picture_names import FolderPictures, PictureNames

NFD = unicodedata.normalize("NFD", "José/José_1.jpg")
THERE = (NFD, "Ann/Ann_0001.png", "Bob/1.jpg", "Bob/1.png", "Bob/notes.txt", "a\\b.jpg", "Lee, Ann/x.y.jpg")


@pytest.fixture(params=["names", "folder"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> PictureNames | FolderPictures:
    for name in THERE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return PictureNames(THERE) if request.param == "names" else FolderPictures(tmp_path)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        *((name, name) for name in THERE),
        ("José/José_1.jpg", NFD),
        ("José\\José_1.jpg", NFD),
        ("./Bob/1.jpg", "Bob/1.jpg"),
        ("Bob\\1.png", "Bob/1.png"),
        (" Ann/Ann_0001.png", "Ann/Ann_0001.png"),
        ("Ann/Ann_0001.jpg", "Ann/Ann_0001.png"),
        ("Bob/1.webp", None),  # The name is ambiguous.
        ("Bob/notes.jpg", None),
        ("Lee, Ann/x.jpg", None),
        ("ann/Ann_0001.png", None),
        ("Ann/Ann_0002.jpg", None),
        ("nowhere/1.jpg", None),
        ("..\\Bob\\1.jpg", None),
        ("a\0b.jpg", None),
    ],
)
def test_a_picture_is_found_however_its_name_is_spelled(
    there: PictureNames | FolderPictures, name: str, found: str | None
) -> None:
    answer = there.find(name)
    assert (None if answer is None else str(Path(answer))) == found


def test_a_changed_folder_is_listed_again(tmp_path: Path) -> None:
    there = FolderPictures(tmp_path)
    assert there.find("1.jpg") is None
    (tmp_path / "1.png").touch()
    assert there.find("1.jpg") == "1.png"
