"""No file among photographs ends a run, and the ledger states the reason for each bad file."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceclr_cli.core.faces.reasons import Reason
from tests.faults.hostile import SIDE, Hostile
from tests.faults.hostile_archives import Expected, write_tar, write_zip
from tests.faults.hostile_damage import damage
from tests.faults.hostile_pictures import TURNED, pictures
from tests.faults.hostile_places import places, put_what_is_left_out
from tests.faults.prepare_runs import Ended, outcome, prepare, rows_of

_GIB = 2**30


@pytest.fixture(scope="module")
def corpus() -> dict[str, Hostile]:
    files = [*pictures(), *damage(), *places()]
    found = {file.name: file for file in files}
    assert len(found) == len(files) >= 60
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, corpus: dict[str, Hostile]) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    photos = root / "photos"
    for file in corpus.values():
        file.put(photos)
    put_what_is_left_out(photos)
    return root


@pytest.fixture(scope="module")
def tolerant(place: Path) -> Ended:
    return prepare(place / "tolerant", "../photos", "--max-bad", "1")


@pytest.fixture(scope="module")
def strict(place: Path) -> Ended:
    return prepare(place / "strict", "../photos", "--max-bad", "0")


def reasons_in(place: Path) -> dict[str, Reason | None]:
    found = {}
    for path, state, reason in rows_of(place, "SELECT path, state, reason FROM photos"):
        assert (state == "done") == (reason is None)
        found[os.fsdecode(path)] = None if reason is None else Reason(reason)
    return found


def require_all_noted(place: Path, corpus: dict[str, Hostile]) -> None:
    found = reasons_in(place)
    assert found.keys() == corpus.keys()
    wrong = {name: reason for name, reason in found.items() if reason not in corpus[name].expected}
    assert not wrong


def test_every_hostile_file_is_in_the_ledger_under_its_reason(
    place: Path, tolerant: Ended, corpus: dict[str, Hostile]
) -> None:
    assert (tolerant.code, tolerant.complaints) == (0, [])
    above = sum("/" not in name for name in corpus)
    assert tolerant.notices == [
        "../photos: skipped 3 files without an image suffix: 1 .mp3, 1 without a suffix, 1 .docx",
        f"{above} pictures above the folders of people have no identity: --help.jpg",
    ]
    require_all_noted(place / "tolerant", corpus)
    counted = Counter(reasons_in(place / "tolerant").values())
    told = json.loads(tolerant.said)
    assert told["reasons"] == {reason.value: count for reason, count in counted.items() if reason}
    assert told["states"]["done"] == told["faces"] == counted[None]


def test_max_bad_is_a_verdict_and_changes_nothing(place: Path, tolerant: Ended, strict: Ended) -> None:
    assert strict.code == 3
    (line,) = strict.complaints
    assert strict.notices == tolerant.notices
    assert line.startswith("error: ")
    assert "more than --max-bad 0 allows" in line
    assert rows_of(place / "strict", "SELECT * FROM photos") == rows_of(place / "tolerant", "SELECT * FROM photos")
    ours, theirs = outcome(place / "strict").files, outcome(place / "tolerant").files
    assert ours.keys() == theirs.keys()
    assert all(ours[name] == theirs[name] for name in ours if name != "faceclr.json")


def test_hostile_files_take_no_more_memory_than_the_largest_picture_allowed(tolerant: Ended) -> None:
    assert tolerant.peak < _GIB


def test_there_are_as_many_sound_crops_as_rows_and_nothing_else(place: Path, tolerant: Ended) -> None:
    files = outcome(place / "tolerant").files
    del files["faceclr.json"]
    rows = rows_of(place / "tolerant", "SELECT output FROM photos WHERE output IS NOT NULL")
    assert files.keys() == {os.fsdecode(output) for (output,) in rows}
    assert {Image.open(io.BytesIO(content)).size for content in files.values()} == {(112, 112)}


def test_the_face_is_found_at_the_same_place_however_the_picture_is_stored(place: Path, tolerant: Ended) -> None:
    query = "SELECT path, box, landmarks FROM photos WHERE state = 'done'"
    found = {path: (json.loads(box), json.loads(marks)) for path, box, marks in rows_of(place / "tolerant", query)}
    box, landmarks = found["plain.jpg"]
    for file in pictures():
        its_box, its_landmarks = found[file.name]
        # On gray, dithered or differently compressed pictures, the detector is slightly inaccurate.
        off = 0.01 * SIDE if file.name.startswith(TURNED) else 0.02 * SIDE
        assert np.abs(np.subtract(its_box, box)).max() < off, file.name
        assert np.abs(np.subtract(its_landmarks, landmarks)).max() < off, file.name


_REPLACED = "1 of its files have the same name as a later one, which replaces them"


@pytest.mark.parametrize(
    ("name", "write", "notices"),
    [
        ("photos.zip", write_zip, [_REPLACED, "skipped 1 file without an image suffix: 1 .doc"]),
        ("photos.tar.gz", write_tar, [_REPLACED]),
    ],
)
def test_members_of_a_hostile_archive_are_noted_and_none_gets_out(
    tmp_path: Path, name: str, write: Callable[[Path], Expected], notices: list[str]
) -> None:
    expected = write(tmp_path / name)
    ended = prepare(tmp_path / "work", f"../{name}", "--max-bad", "1")
    assert (ended.code, ended.complaints) == (0, [])
    assert ended.notices == [f"../{name}: {notice}" for notice in notices]
    assert reasons_in(tmp_path / "work") == expected
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [name, "work"]
    assert [entry.name for entry in (tmp_path / "work").iterdir()] == ["faces"]
    assert not Path("/tmp/faceclr-outside.jpg").exists()
    crops = [path for path in (tmp_path / "work" / "faces").rglob("*.jpg") if path.is_file()]
    assert len(crops) == Counter(expected.values())[None]
    assert ended.peak < 2 * _GIB
    assert prepare(tmp_path / "strict", f"../{name}", "--max-bad", "0").code == 3
    assert reasons_in(tmp_path / "strict") == expected
