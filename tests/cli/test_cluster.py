"""`faceclr cluster` at the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.events import Silent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    write_people(place / "photos", 3, 4, 0, Silent())
    embed(EmbedConfig(faces=place / "photos", out=place / "faces.h5"), Silent())
    return place


def _faceclr(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_person_sees_groups_sizes_a_picture_of_each_and_scores(place: Path) -> None:
    done = _faceclr("cluster", place / "faces.h5", "--threshold", "0")
    assert done.exit_code == 0, done.output
    heading, _, first = [line for line in done.stdout.splitlines() if line][:3]
    assert heading.split()[-2:] == ["group", "faces"]
    picture, number, faces = re.split(r"  +", first)
    assert (place / "photos" / picture).is_file()
    assert number == "1" and int(faces) >= 2
    for name in ("groups", "faces in groups", "singles", "threshold", "B-cubed", "pairwise", "NMI"):
        assert f"\n{name} " in done.stdout
    assert "chosen by --threshold" in done.stdout


def test_json_is_a_line_for_each_face_and_nothing_else(place: Path) -> None:
    done = _faceclr("cluster", place / "faces.h5", "--method", "hdbscan", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 12
    assert {tuple(row) for row in rows} == {("path", "face", "box", "group", "name", "distance", "probability")}
    assert all((row["group"] is None) == (row["probability"] is None) == (row["distance"] is None) for row in rows)
    assert "B-cubed" in done.stderr
    assert _faceclr("cluster", place / "faces.h5", "--quiet").stdout == ""


def test_photographs_and_their_store_give_the_same_groups(place: Path) -> None:
    options = ("--threshold", "0.2", "--json")
    stored = [json.loads(line) for line in _faceclr("cluster", place / "faces.h5", *options).stdout.splitlines()]
    shot = [json.loads(line) for line in _faceclr("cluster", place / "photos", *options).stdout.splitlines()]
    assert [(row["path"], row["face"], row["group"]) for row in stored] == [
        (row["path"], row["face"], row["group"]) for row in shot
    ]
    assert all(row["box"] for row in stored)


def test_the_pictures_of_a_folder_need_no_further_name(place: Path, tmp_path: Path) -> None:
    done = _faceclr("cluster", place / "photos", "--threshold", "0", "-o", tmp_path / "people")
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "people") in done.stdout
    assert len(list((tmp_path / "people").glob("*/*.jpg"))) == 12


def test_each_kind_of_mistake_has_its_exit_code(place: Path, tmp_path: Path) -> None:
    store = place / "faces.h5"
    (tmp_path / "text.h5").write_text("no store")
    assert _faceclr("cluster").exit_code == 2
    assert _faceclr("cluster", store, "--method", "hdbscan", "--threshold", "0.4").exit_code == 2
    assert _faceclr("cluster", store, "-o", tmp_path / "out").exit_code == 2
    assert _faceclr("cluster", store, "--faces", place / "photos").exit_code == 2
    assert _faceclr("cluster", store, "--min-size", "1").exit_code == 2
    assert _faceclr("cluster", tmp_path / "text.h5").exit_code == 3
    assert _faceclr("cluster", store, "--model", "pixels").exit_code == 4
    assert _faceclr("cluster", store, "--model", "pixels", "--json").stdout == ""
