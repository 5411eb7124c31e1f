from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import cv2
import pytest

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.splitting.split import split as run
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing import prepare
from tests.core.datasets.splitting.dividing import Ear, Make, members, split, split_json, write_ledger


def test_the_official_parts_are_those_of_the_ledger(make: Make) -> None:
    faces = make(people=3, photos=3)
    of = {0: "train", 1: "val", 2: "test"}
    parts = {path: of[int(path[1:3])] if path[4] != "2" else None for path in open_faces(faces).paths}
    write_ledger(faces, parts)
    ear = Ear()
    result = run(SplitConfig(faces=faces, official=True, by="image", train=1.0, val=0.0, test=0.0), ear)
    assert result.by == "official"
    assert members(result) == {
        part: {path for path, its in parts.items() if its == part} for part in ("train", "val", "test")
    }
    assert any("3 of 9 faces have no official part" in text for text in ear.warnings)
    assert (result.audit.unassigned, result.audit.people_in_two_parts) == (3, ())


def test_people_in_two_official_parts_are_named(make: Make) -> None:
    faces = make(people=2, photos=2)
    write_ledger(faces, {"p00/0.jpg": "train", "p00/1.jpg": "test", "p01/0.jpg": "train", "p01/1.jpg": "train"})
    ear = Ear()
    result = run(SplitConfig(faces=faces, official=True), ear)
    assert list(result.parts) == ["train", "test"]
    assert split_json(result)["audit"]["people_in_two_parts"] == ["p00"]
    assert any("1 people are in more than one official part" in text for text in ear.warnings)


def test_without_official_parts_the_error_names_their_sources(make: Make) -> None:
    faces = make(people=2, photos=1)
    with pytest.raises(ConfigError, match=r"has no manifest\.sqlite.*list_eval_partition\.txt"):
        split(faces, official=True)
    write_ledger(faces, {"p00/0.jpg": None, "p01/0.jpg": None})
    with pytest.raises(ConfigError, match="contains no official parts"):
        split(faces, official=True)
    (faces / "manifest.sqlite").write_text("no ledger" * 99)
    with pytest.raises(DataError, match="cannot be used as a ledger"):
        split(faces, official=True)


def test_every_face_of_a_photograph_goes_to_its_official_part(drawn: Path, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for part, people in (("train", ("person-01", "person-03")), ("test", ("person-04",))):
        for person in people:
            shutil.copytree(drawn / person, source / part / person)
    photos = [cv2.imread(str(drawn / "person-05" / f"0{number}.jpg")) for number in (1, 2)]
    two = cv2.hconcat([cv2.resize(photo, (400, 400)) for photo in photos])
    (source / "test" / "person-05").mkdir()
    cv2.imwrite(str(source / "test" / "person-05" / "two.jpg"), two)
    out = tmp_path / "faces"
    prepare.prepare(PrepareConfig(source=source, out=out, face="all", format="png", workers=1), Silent())
    result = split(out, official=True)
    assert set(open_faces(result.out / "train").people) == {"person-01", "person-03"}
    assert Counter(path.split("/")[0] for path in members(result)["test"]) == {"person-04": 4, "person-05": 2}
    assert result.audit.unassigned == 0
