from __future__ import annotations

import json
from pathlib import Path

import pytest

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.datasets.input_discovery import find_faces, no_faces_error
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.face_folder import is_face_folder, open_faces
from faceclr_cli.core.sources.layouts import find_photos


def write_faces(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / "faceclr.json", {**stamp("faces", {}), "fingerprint": default_fingerprint().to_json()})
    return root


def test_faces_are_listed_by_name_with_their_people(tmp_path: Path) -> None:
    faces = open_faces(write_faces(tmp_path / "f", "b/2.jpg", "b/10.jpg", "a/1.png", "_/x.jpg", "a/.7.part", "a/t.txt"))
    assert faces.paths == ("_/x.jpg", "a/1.png", "b/10.jpg", "b/2.jpg")
    assert faces.identities == (None, "a", "b", "b")
    assert faces.people == ("a", "b")
    assert faces.fingerprint == default_fingerprint()
    assert len(faces) == 4


def test_what_is_not_a_folder_of_faces_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_faces(tmp_path / "nowhere")
    with pytest.raises(DataError, match="faceclr prepare"):
        open_faces(tmp_path)
    with pytest.raises(DataError, match="contains no faces"):
        open_faces(write_faces(tmp_path / "empty"))
    write_json(tmp_path / "empty" / "faceclr.json", {"kind": "encoder"})
    with pytest.raises(DataError, match="does not describe a folder of faces"):
        open_faces(tmp_path / "empty")
    assert is_face_folder(tmp_path / "empty")


def test_possible_inputs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "first run: faceclr prepare" in str(no_faces_error("pretrain", find_faces(Path())))
    write_faces(tmp_path / "my faces", "a/1.jpg")
    write_faces(tmp_path / "splits" / "train", "a/1.jpg")
    (tmp_path / "photos").mkdir()
    found = find_faces(Path())
    assert found == [Path("splits/train"), Path("my faces")]
    error = no_faces_error("pretrain", found)
    assert "run: faceclr pretrain splits/train" in str(error)
    assert "run: faceclr split 'my faces'" in str(no_faces_error("split", found[1:]))
    assert error.exit_code == 2


def test_a_split_is_not_a_folder_of_faces_but_names_those_that_it_has(tmp_path: Path) -> None:
    for part in ("test", "train"):
        (tmp_path / "splits" / part).mkdir(parents=True)
        (tmp_path / "splits" / part / "faceclr.json").write_text("{}")
    (tmp_path / "splits" / "split.json").write_text(json.dumps({"kind": "split"}))
    for use in (open_faces, find_photos):
        with pytest.raises(DataError, match=r"a split, not .* its parts: .*splits/test, .*splits/train$"):
            use(tmp_path / "splits")
    (tmp_path / "splits" / "split.json").write_text("[]")  # of another data set
    with pytest.raises(DataError, match="not a folder of prepared faces"):
        open_faces(tmp_path / "splits")


def test_a_person_has_one_name_whatever_the_unicode_form_of_the_folders(tmp_path: Path) -> None:
    faces = open_faces(write_faces(tmp_path / "f", "José/1.jpg", "Jose\u0301/1.jpg"))
    assert (len(faces), faces.people) == (2, ("José",))
