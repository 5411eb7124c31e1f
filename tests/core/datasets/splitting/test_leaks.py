from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.datasets.pairs.pair_files import read_pairs
from faceclr_cli.core.datasets.splitting.division import divide_people
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing import prepare
from tests.core.datasets.splitting.dividing import Make, members, split, split_json


@pytest.fixture(scope="module", params=["largest jpg", "all png"])
def real_faces(request: pytest.FixtureRequest, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    face, file_format = request.param.split()
    out = tmp_path_factory.mktemp("prepared") / "faces"
    prepare.prepare(PrepareConfig(source=drawn, out=out, face=face, format=file_format, workers=1), Silent())
    return out


def test_people_of_the_list_are_in_no_part(make: Make, tmp_path: Path) -> None:
    faces = make(people=6)
    (faces / "p00").rename(faces / "Zoë_M.-Lee")
    (tmp_path / "people.txt").write_text("1\n3\nZoe M Lee\t4\nP03\t2\nSomebody_Else\t1\n", encoding="utf-8")
    result = split(faces, exclude=tmp_path / "people.txt")
    assert sum(part.people for part in result.parts.values()) == 4
    assert {path.split("/")[0] for paths in members(result).values() for path in paths} == {"p01", "p02", "p04", "p05"}
    assert (result.audit.kept_out, result.audit.names_unmatched) == (("Zoë_M.-Lee", "p03"), 1)
    assert split_json(result)["audit"]["kept_out"] == ["Zoë_M.-Lee", "p03"]
    (tmp_path / "all.txt").write_text("\n".join(open_faces(faces).people))
    with pytest.raises(DataError, match="lists everyone"):
        split(faces, exclude=tmp_path / "all.txt", out=tmp_path / "none")


def test_a_photograph_in_two_parts_is_reported_and_can_be_left_out(real_faces: Path, tmp_path: Path) -> None:
    suffix = next(iter(open_faces(real_faces).paths)).rsplit(".")[-1]
    seed = next(  # puts the two people into two parts
        seed for seed in range(99) if len(owners(real_faces, seed).keys() & {"person-01", "person-02"}) == 1
    )
    options: dict[str, Any] = {"train": 0.5, "val": 0.0, "test": 0.5, "seed": seed}
    result = split(real_faces, out=tmp_path / "kept", **options)
    (pair,) = result.audit.near_duplicates
    twins = {f"person-01/01.{suffix}", f"person-02/again.{suffix}"}
    assert {pair.earlier.removeprefix("train/"), pair.later.removeprefix("test/")} == twins
    assert split_json(result)["audit"]["near_duplicates"][0]["earlier"] == pair.earlier
    assert result.audit.dropped == ()
    dropped = split(real_faces, out=tmp_path / "dropped", drop_duplicates=True, **options)
    assert dropped.audit.dropped == (pair.earlier,)
    assert dropped.parts["train"].faces == result.parts["train"].faces - 1
    assert members(dropped)["train"] == members(result)["train"] - {pair.earlier.removeprefix("train/")}
    assert members(dropped)["test"] == members(result)["test"]


def owners(faces: Path, seed: int) -> dict[str, None]:
    parts = divide_people(open_faces(faces), {"train": 0.5, "test": 0.5}, seed)
    return {path.split("/")[0]: None for path in parts["train"]}


def test_pairs_hold_no_picture_that_was_left_out(make: Make, drawn: Path) -> None:
    faces = make(people=4, photos=0)
    for number, photo in enumerate(sorted(drawn.glob("person-0[3456]/*.jpg"))):
        person = faces / f"p{number % 4:02d}"
        person.mkdir(exist_ok=True)
        shutil.copyfile(photo, person / f"{number}.jpg")
    shutil.copytree(faces / "p00", faces / "p09")
    result = split(faces, by="image", train=0.0, val=0.4, test=0.6, drop_duplicates=True)
    assert result.audit.dropped
    assert result.pairs is not None
    assert {path for pair in read_pairs(result.pairs) for path in (pair.a, pair.b)} <= members(result)["test"]
