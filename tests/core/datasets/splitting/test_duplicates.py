from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from faceclr_cli.core.datasets.splitting import duplicates as duplicates_module
from faceclr_cli.core.datasets.splitting.duplicates import (
    SAME,
    DuplicateFindings,
    correlation,
    find_duplicates,
    read_thumbnail,
)
from faceclr_cli.core.events import Event, Silent, TaskFinished, TaskStarted
from faceclr_cli.core.faces.decode import read_bytes


def texture(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).standard_normal((112, 112)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 5)
    return np.asarray(128 + 40 * smooth / smooth.std(), np.float32).clip(0, 255).astype(np.uint8)


def put(root: Path, path: str, picture: NDArray[np.uint8], quality: int = 95) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def find(root: Path, parts: dict[str, list[str]]) -> DuplicateFindings:
    owners = {path: path.split("/")[0] for paths in parts.values() for path in paths}
    return find_duplicates(
        lambda path: read_bytes(root / path),
        parts,
        {path: None if who == "_" else who for path, who in owners.items()},
        Silent(),
    )


def found(root: Path, parts: dict[str, list[str]]) -> set[tuple[str, str]]:
    return {(pair.earlier, pair.later) for pair in find(root, parts).pairs}


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Twelve pictures, of which a/0 is again b/0 (re-encoded), _/0 (scaled, as PNG) and a/1 (darker)."""
    for seed in range(12):
        put(tmp_path, f"{'abc'[seed % 3]}/{seed + 10}.jpg", texture(seed + 100))
    put(tmp_path, "a/0.jpg", texture(0))
    put(tmp_path, "a/1.jpg", (texture(0) * 0.7).astype(np.uint8))
    put(tmp_path, "b/0.jpg", texture(0), quality=30)
    put(tmp_path, "_/0.png", np.asarray(cv2.resize(texture(0), (56, 56)), np.uint8))
    return tmp_path


def test_a_picture_of_two_parts_is_found_under_any_name_and_format(faces: Path) -> None:
    others = sorted(str(path.relative_to(faces)) for path in faces.glob("*/1?.jpg"))
    parts = {"train": ["a/0.jpg", *others[:6]], "val": ["b/0.jpg", *others[6:9]], "test": ["_/0.png", *others[9:]]}
    assert found(faces, parts) == {
        ("train/a/0.jpg", "val/b/0.jpg"),
        ("train/a/0.jpg", "test/_/0.png"),
        ("val/b/0.jpg", "test/_/0.png"),
    }


def test_within_a_part_nothing_is_compared(faces: Path) -> None:
    assert found(faces, {"train": ["a/0.jpg", "b/0.jpg"], "test": ["b/11.jpg"]}) == set()
    assert find(faces, {"train": ["a/0.jpg", "b/0.jpg"]}).pairs == ()


def test_pictures_of_one_person_are_found_too(faces: Path) -> None:
    assert found(faces, {"train": ["a/1.jpg"], "test": ["a/0.jpg"]}) == {("train/a/1.jpg", "test/a/0.jpg")}


def test_small_blocks_find_the_same_as_comparing_every_two(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(str(path.relative_to(faces)) for path in faces.glob("*/*.*"))
    parts = {"train": paths[::2], "test": paths[1::2]}
    thumbnails = {path: read_thumbnail((faces / path).read_bytes(), path) for path in paths}
    expected = {
        (f"train/{a}", f"test/{b}")
        for a in parts["train"]
        for b in parts["test"]
        if correlation(thumbnails[a], thumbnails[b]) >= SAME
    }
    assert expected
    assert found(faces, parts) == expected
    monkeypatch.setattr(duplicates_module, "_ROWS", 3)
    monkeypatch.setattr(duplicates_module, "_COLUMNS", 2)
    monkeypatch.setattr(duplicates_module, "_BATCH", 1)
    assert found(faces, parts) == expected


def test_faces_that_cannot_be_read_and_plain_ones_end_nothing(faces: Path) -> None:
    (faces / "c" / "broken.jpg").write_text("not a picture")
    put(faces, "c/gray.jpg", np.full((112, 112), 90, np.uint8))
    put(faces, "d/gray.jpg", np.full((112, 112), 90, np.uint8))
    parts = {"train": ["a/0.jpg", "c/broken.jpg", "c/gray.jpg"], "test": ["b/0.jpg", "c/gone.jpg", "d/gray.jpg"]}
    result = find(faces, parts)
    assert [(pair.earlier, pair.later) for pair in result.pairs] == [("train/a/0.jpg", "test/b/0.jpg")]
    assert result.unreadable == 2


def test_the_number_of_listed_copies_is_limited_per_picture(tmp_path: Path) -> None:
    copies = {part: [f"{part}/{number}.jpg" for number in range(30)] for part in ("train", "test")}
    for path in [*copies["train"], *copies["test"]]:
        put(tmp_path, path, texture(1))
    pairs = find(tmp_path, copies).pairs
    assert len(pairs) == 30 * 20
    assert {pair.earlier for pair in pairs} == {f"train/{path}" for path in copies["train"]}


def test_progress_is_reported_to_the_end(faces: Path) -> None:
    heard: list[Event] = []

    class Ear:
        def report(self, event: Event) -> None:
            heard.append(event)

    find_duplicates(
        lambda path: read_bytes(faces / path),
        {"train": ["a/0.jpg"], "test": ["b/0.jpg"]},
        {"a/0.jpg": "a", "b/0.jpg": "b"},
        Ear(),
    )
    started = {event.task for event in heard if isinstance(event, TaskStarted)}
    assert started == {event.task for event in heard if isinstance(event, TaskFinished)} != set()
