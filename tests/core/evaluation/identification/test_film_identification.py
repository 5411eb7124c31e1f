from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.identification import film_identification, folder_identification
from faceclr_cli.core.evaluation.identification.film_identification import Appearance, identify_film, join_appearances
from faceclr_cli.core.evaluation.identification.match import Match
from faceclr_cli.core.events import Silent
from tests.drawn_film import Actor, Shot, write_film

pytest.importorskip("av")

SHOTS = (
    Shot(0, 1, (30, 120, 60), (Actor(1, lambda _: (150, 180)), Actor(6, lambda _: (450, 180)))),
    Shot(1, 2, (220, 200, 90), (Actor(2, lambda _: (300, 180)),)),
    Shot(2, 3, (60, 60, 200), (Actor(1, lambda _: (320, 180)),)),
)
NAMES = {1: "ann & co", 2: "bob"}


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("album")
    for person, name in NAMES.items():
        (root / "people" / name).mkdir(parents=True)
        for picture in (11, 12, 13):
            image = draw_photo(invent_person(person), picture).image
            cv2.imwrite(str(root / "people" / name / f"{picture}.jpg"), image[..., ::-1])
    write_film(root / "film.mp4", SHOTS)
    return root


def _run(album: Path, *options: object) -> Result:
    command = ["identify", album / "film.mp4", "--gallery", album / "people", "--threshold", 0.65, *options]
    return CliRunner().invoke(app, list(map(str, command)))


def test_the_rows_say_who_is_seen_when_and_subtitles_name_them(album: Path, tmp_path: Path) -> None:
    result = _run(album, "--webvtt", tmp_path / "film.vtt")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == ["from", "to", "name", "probability"]
    # The second appearance of Ann begins 1.2 seconds after the first one ends, so they are one.
    assert [(row["from"], row["to"], row["name"]) for row in rows] == [
        ("00:00:00.000", "00:00:02.800", "ann & co"),
        ("00:00:00.000", "00:00:00.800", ""),
        ("00:00:01.000", "00:00:01.800", "bob"),
    ]
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
    assert (tmp_path / "film.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.800\nann &amp; co\n\n00:00:01.000 --> 00:00:01.800\nbob\n"
    )


def test_json_lines_have_the_closest_person_of_unknown_faces_too(album: Path) -> None:
    lines = [json.loads(line) for line in _run(album, "--json", "--quiet").stdout.splitlines()]
    assert [line["name"] for line in lines] == ["ann & co", None, "bob"]
    assert lines[1]["closest"] in NAMES.values()
    assert lines[1]["answer"].startswith("unknown (closest: ")
    assert [line["frames"] for line in lines] == [10, 5, 5]


@pytest.mark.parametrize("option", ["--xmp", "--evaluate", "--annotate=out"])
def test_options_for_photographs_are_refused(album: Path, option: str) -> None:
    result = _run(album, option)
    assert result.exit_code == 2
    assert "is a film; the option is only for photographs" in " ".join(result.output.split())


def test_subtitles_need_a_film_and_a_film_needs_its_decoder(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = str(album / "people")
    result = CliRunner().invoke(app, ["identify", people, "-g", people, "--webvtt", "x.vtt"])
    assert (result.exit_code, "is not a film" in result.output) == (2, True)
    monkeypatch.setattr(film_identification, "has_film_decoder", lambda: False)
    config = IdentifyConfig(photos=album / "film.mp4", gallery=album / "people")
    with pytest.raises(ConfigError, match=r"pip install 'faceclr\[video\]'"):
        identify_film(config, album / "film.mp4", Silent())


def test_a_folder_for_subtitles_is_refused_before_the_film_is_read(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_identification, "film_length", lambda film: pytest.fail("the film was read"))
    result = _run(album, "--webvtt", tmp_path)
    assert result.exit_code == 2
    assert "is a folder; give the name of a file" in " ".join(result.output.split())


@pytest.fixture
def holiday(album: Path, tmp_path: Path) -> Path:
    """A folder with photographs, a film, and a film that cannot be read."""
    (tmp_path / "holiday/day 2").mkdir(parents=True)
    shutil.copy(album / "people/bob/11.jpg", tmp_path / "holiday/beach.jpg")
    shutil.copy(album / "film.mp4", tmp_path / "holiday/day 2/日本.mp4")
    (tmp_path / "holiday/text.mov").write_text("no film")
    return tmp_path / "holiday"


def _run_on(folder: Path, album: Path, *options: object) -> Result:
    command = ["identify", folder, "--gallery", album / "people", "--threshold", 0.65, *options]
    return CliRunner().invoke(app, list(map(str, command)))


def test_films_of_a_folder_have_rows_after_those_of_its_photographs(album: Path, holiday: Path) -> None:
    result = _run_on(holiday, album, "--max-bad", 0.4)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["photo"], row["from"], row["to"], row["face"], row["name"]) for row in rows] == [
        ("beach.jpg", "", "", "1", "bob"),
        ("day 2/日本.mp4", "00:00:00.000", "00:00:02.800", "", "ann & co"),
        ("day 2/日本.mp4", "00:00:00.000", "00:00:00.800", "", ""),
        ("day 2/日本.mp4", "00:00:01.000", "00:00:01.800", "", "bob"),
        ("text.mov", "", "", "0", ""),
    ]
    assert "not a film" in rows[-1]["reason"]
    assert "1 photograph, 2 films: 3 known, 1 unknown" in result.stderr
    assert "skipped" not in result.stderr
    # One of three files failed.
    assert _run_on(holiday, album, "--max-bad", 0.3).exit_code == 3


def test_a_folder_with_films_alone_is_identified(album: Path, holiday: Path) -> None:
    lines = _run_on(holiday / "day 2", album, "--json", "--quiet").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["ann & co", None, "bob"]
    for option in ("--xmp", "--webvtt=x.vtt", "--min-quality=norm=1"):
        assert _run_on(holiday / "day 2", album, option).exit_code == 2


def test_films_that_are_left_out_are_counted(album: Path, holiday: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run_on(holiday, album, "--min-quality", "detection_score=0.1")
    assert result.exit_code == 0, result.output
    assert "2 films left out; --min-quality is only for photographs" in " ".join(result.stderr.split())
    assert result.stdout.splitlines()[0] == "photo,face,name,probability,similarity,closest,reason"
    monkeypatch.setattr(folder_identification, "has_film_decoder", lambda: False)
    result = _run_on(holiday, album)
    assert (result.exit_code, "pip install 'faceclr[video]'" in result.stderr) == (0, True)
    assert _run_on(holiday / "day 2", album).exit_code == 2


def test_commands_for_photographs_tell_that_films_are_skipped(holiday: Path) -> None:
    result = CliRunner().invoke(app, ["cluster", str(holiday)])
    assert "skipped 2 films: 1 .mov, 1 .mp4; faceclr prepare and" in " ".join(result.stderr.split()), result.output
    result = CliRunner().invoke(app, ["cluster", str(holiday / "text.mov")])
    assert (result.exit_code, "text.mov: is a film; faceclr prepare" in result.stderr) == (3, True)


def test_a_file_that_is_not_a_film_is_named(album: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    result = CliRunner().invoke(app, ["identify", str(tmp_path / "text.mp4"), "-g", str(album / "people")])
    assert result.exit_code == 3
    assert "text.mp4: not a film" in " ".join(result.output.split())


def test_appearances_of_one_person_are_joined_if_they_are_close() -> None:
    def seen(start: float, end: float, name: str | None, similarity: float = 0.5) -> Appearance:
        match = Match(name=name or "ann", similarity=similarity, probability=None, picture=None)
        return Appearance(start=start, end=end, name=name, match=match, frames=2)

    joined = join_appearances(
        [
            seen(9, 10, "ann"),
            seen(0, 4, "ann"),
            seen(1, 2, "bob"),
            seen(3, 6, "ann", 0.9),
            seen(5, 6, None),
            seen(6, 7, None),
        ]
    )
    assert [(each.start, each.end, each.name, each.match.similarity, each.frames) for each in joined] == [
        (0, 6, "ann", 0.9, 4),
        (1, 2, "bob", 0.5, 2),
        (5, 6, None, 0.5, 2),
        (6, 7, None, 0.5, 2),
        (9, 10, "ann", 0.5, 2),
    ]
