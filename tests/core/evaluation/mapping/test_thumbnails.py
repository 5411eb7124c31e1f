from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.embeddings.store import Store
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.mapping.thumbnails import make_thumbnails
from faceclr_cli.core.events import Event, Notice, Silent

RED, BLUE = (200, 20, 20), (20, 20, 200)


class Listener:
    def __init__(self) -> None:
        self.notices: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


def _picture(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (112, 112)) -> str:
    """Writes a picture of one color; returns its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), color[::-1], np.uint8))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def store(tmp_path: Path, crowd: Callable[..., Store]) -> Store:
    """Two faces of one person below `faces`, red and blue."""
    hashes = [_picture(tmp_path / f"faces/p00/{n}.jpg", color) for n, color in enumerate((RED, BLUE))]
    made = crowd(1, 2, 0.1)
    return replace(made, content_hashes=tuple(hashes), config={"faces": str(tmp_path / "faces")})


def test_each_face_has_its_picture_small(store: Store) -> None:
    red, blue = make_thumbnails(store, store.config, None, Silent())
    assert red is not None
    assert blue is not None
    assert red.shape == blue.shape == (64, 64, 3)
    assert np.abs(red.mean(axis=(0, 1)) - RED).max() < 5
    assert np.abs(blue.mean(axis=(0, 1)) - BLUE).max() < 5


def test_a_file_that_is_not_what_was_embedded_is_not_shown(store: Store, tmp_path: Path) -> None:
    _picture(tmp_path / "faces/p00/0.jpg", BLUE)
    listener = Listener()
    changed, same = make_thumbnails(store, store.config, None, listener)
    assert changed is None
    assert same is not None
    assert [text.split(":")[0] for text in listener.notices] == ["1 of 2 faces have no thumbnail"]


@pytest.mark.parametrize("name", ["../secret.jpg", "p00/../../secret.jpg", "{root}/secret.jpg", "a\0b", "fifo", "."])
def test_what_a_store_calls_a_file_never_leads_out_of_the_folder(store: Store, tmp_path: Path, name: str) -> None:
    secret = _picture(tmp_path / "secret.jpg", RED)
    os.mkfifo(tmp_path / "faces/fifo")
    hostile = replace(store, paths=(name.format(root=tmp_path), store.paths[1]), content_hashes=(secret,) * 2)
    assert make_thumbnails(hostile, store.config, None, Silent())[0] is None


def test_of_a_photograph_the_face_is_shown(store: Store, tmp_path: Path) -> None:
    photo = np.full((600, 800, 3), BLUE[::-1], np.uint8)
    photo[100:200, 500:600] = RED[::-1]
    cv2.imwrite(str(tmp_path / "faces/p00/0.jpg"), photo)
    digest = hashlib.sha256((tmp_path / "faces/p00/0.jpg").read_bytes()).hexdigest()
    boxes = np.array([[500, 100, 100, 100], [-40, -40, 60, 60]], np.float32)
    boxed = replace(store, boxes=boxes, content_hashes=(digest, store.content_hashes[1]))
    inside, edge = make_thumbnails(boxed, store.config, None, Silent())
    assert inside is not None
    assert edge is not None
    # The face, and a border of about an eighth on every side.
    assert np.abs(inside[16:48, 16:48].mean(axis=(0, 1)) - RED).max() < 12
    assert np.abs(inside[[2, 61]][:, [2, 61]].mean(axis=(0, 1)) - BLUE).max() < 12
    assert edge.shape == (64, 64, 3)


def test_without_the_folder_thumbnails_are_omitted_with_a_notice(store: Store, tmp_path: Path) -> None:
    for config, reason in (({"faces": str(tmp_path / "gone")}, "is not a folder"), ({"faces": 7}, "does not name")):
        listener = Listener()
        assert list(make_thumbnails(store, config, None, listener)) == [None, None]
        assert reason in listener.notices[0]
    with pytest.raises(DataError, match="no such folder"):
        make_thumbnails(store, store.config, tmp_path / "gone", Silent())


def test_the_folder_that_the_user_names_comes_first(store: Store, tmp_path: Path) -> None:
    (tmp_path / "faces").rename(tmp_path / "moved")
    assert all(each is not None for each in make_thumbnails(store, store.config, tmp_path / "moved", Silent()))
