"""`faceclr identify` as a shell sees it, where it measures or draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("album")
    for person, name in enumerate(("ann", "bob", "stranger")):
        for folder, picture in (("gallery", 0), ("probes", 5), ("probes", 6)):
            if (folder, name) != ("gallery", "stranger"):
                (root / folder / name).mkdir(parents=True, exist_ok=True)
                image = draw_photo(invent_person(person), picture).image
                cv2.imwrite(str(root / folder / name / f"{picture}.jpg"), image[..., ::-1])
    return root


def identify(*arguments: object, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["identify", *map(str, arguments)], input=given)


def test_evaluate_shows_a_table_and_one_json_document(album: Path) -> None:
    done = identify(album / "probes", "-g", album / "gallery", "--evaluate")
    assert done.exit_code == 0, done.output
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "4 of known people, 2 of unknown people, 0 excluded" in lines["photographs"]
    assert {"rank 1", "rank 5", "threshold", "decisions", "FAR"} <= set(lines)
    assert "FAR 0.01 needs 100 or more unknown faces, but there are 2" in done.stdout
    document = json.loads(identify(album / "probes", "-g", album / "gallery", "--evaluate", "--json").stdout)
    assert (document["known"], document["unknown"]) == (4, 2)
    assert [point["far"] for point in document["dir_at_far"]] == [0.1, 0.01, 0.001]
    assert 0 <= document["rule"]["named"] <= 1


def test_evaluate_with_too_many_bad_files_shows_its_numbers_and_fails(album: Path, tmp_path: Path) -> None:
    shutil.copytree(album / "probes", tmp_path / "probes")
    (tmp_path / "probes" / "ann" / "text.jpg").write_text("no picture")
    done = identify(tmp_path / "probes", "-g", album / "gallery", "--evaluate", "--max-bad", 0)
    assert done.exit_code == 3
    assert done.stdout.count("rank 1") == 1
    as_json = identify(tmp_path / "probes", "-g", album / "gallery", "--evaluate", "--max-bad", 0, "--json")
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout)["failed"] == 1


def test_annotate_takes_a_list_of_paths_and_keeps_within_its_folder(album: Path, tmp_path: Path) -> None:
    photo = album / "probes" / "ann" / "5.jpg"
    done = identify("-", "-g", album / "gallery", "--annotate", tmp_path / "out", given=f"{photo}\n")
    assert done.exit_code == 0, done.output
    assert [path for path in (tmp_path / "out").rglob("*.*g") if path.is_file()] == [
        tmp_path / "out" / str(photo).lstrip("/")
    ]
    assert "1 photograph with boxes and names" in done.stderr


def test_options_that_exclude_each_other_are_refused(album: Path, tmp_path: Path) -> None:
    for options in (
        ("--evaluate", "--annotate", tmp_path / "out"),
        ("--evaluate", "--face", "all"),
        ("--annotate", album / "probes"),
        ("--annotate", album / "gallery" / "out"),
    ):
        done = identify(album / "probes", "-g", album / "gallery", *options)
        assert done.exit_code == 2, done.output
    assert identify("-", "-g", album / "gallery", "--evaluate", given="a.jpg").exit_code == 2


def test_prepared_faces_are_named_but_not_drawn_on(album: Path, tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["prepare", str(album / "probes"), "-o", str(tmp_path / "faces")])
    assert made.exit_code == 0, made.output
    done = identify(tmp_path / "faces", "-g", album / "gallery")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 7
    assert identify(tmp_path / "faces", "-g", album / "gallery", "--evaluate").exit_code == 0
    drawn = identify(tmp_path / "faces", "-g", album / "gallery", "--annotate", tmp_path / "out")
    assert drawn.exit_code == 2
    assert "give the original photographs" in drawn.stderr
