"""`faceclr tsne` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people, and a store of them."""
    place = tmp_path_factory.mktemp("place")
    write_people(place / "photos", 4, 6, 0, Silent())
    assert CliRunner().invoke(app, ["embed", str(place / "photos"), "-o", str(place / "faces.h5")]).exit_code == 0
    return place


@pytest.fixture(autouse=True)
def at_the_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def _tsne(line: str) -> Result:
    return CliRunner().invoke(app, ["tsne", *line.split()])


def test_one_run_writes_a_picture_and_a_page_and_says_how_good_they_are() -> None:
    done = _tsne("faces.h5 -o map.png -o map.html")
    assert done.exit_code == 0, done.output
    for text in ("24 faces of 4 people", "same person", "silhouette", "trustworthiness", "map.png, map.html"):
        assert text in done.stdout
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")
    assert Path("map.html").read_text().startswith("<!doctype html>")


def test_json_has_the_place_of_each_face_and_a_seed_repeats_it() -> None:
    first, again = (json.loads(_tsne("faces.h5 --json --seed 7").stdout) for _ in range(2))
    assert first["out"] == "map.png"
    assert first["points"] == again["points"]
    people = {path.name for path in Path("photos").iterdir()}
    assert {point["path"].split("/")[0] for point in first["points"]} == people
    assert len({(point["x"], point["y"]) for point in first["points"]}) == 24


def test_a_folder_of_photographs_will_do() -> None:
    done = json.loads(_tsne("photos -o folder.html --method pca --json").stdout)
    assert (done["faces"], done["thumbnails"]) == (24, 24)


def test_people_are_chosen_by_name_or_by_number() -> None:
    names = sorted(path.name for path in Path("photos").iterdir())
    named = json.loads(_tsne(f"faces.h5 --people {names[3]} --people {names[0]} --method pca --json").stdout)
    assert {point["identity"] for point in named["points"]} == {names[0], names[3]}
    assert json.loads(_tsne("faces.h5 --identities 3 --method pca --json").stdout)["people"] == 3


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("faces.h5 -o map.gif", 2, "must be a .png, .svg, .pdf or .html file"),
        ("photos -o photos/map.png", 2, "would be read as a picture"),
        ("faces.h5 --faces photos", 2, "add -o map.html"),
        ("faces.h5 --people nobody", 2, "not found in faces.h5"),
        ("faces.h5 -o map.html --faces nowhere", 3, "no such folder"),
        ("nowhere -o map.png", 3, "no such file or folder"),
        ("photos -m nowhere", 4, "nowhere"),
    ],
)
def test_what_cannot_be_drawn_is_said(line: str, code: int, message: str) -> None:
    done = _tsne(line)
    assert done.exit_code == code
    assert message in " ".join(done.stderr.split())
