"""`faceclr embed` in a pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import faceclr_cli
from faceclr_cli.commands.app import app
from faceclr_cli.core.artifacts import exclusive
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.events import Silent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    write_people(place / "photos", 3, 4, 0, Silent())
    return place


def shell(line: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which `faceclr` is this one."""
    faceclr = f'faceclr() {{ "{sys.executable}" -m faceclr_cli "$@"; }}\n'
    environment = os.environ | {"PYTHONPATH": str(Path(faceclr_cli.__file__).parents[1])}
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{faceclr}{line}"],
        cwd=place, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_a_list_of_paths_becomes_rows_for_the_next_program(place: Path) -> None:
    done = shell(
        "find photos -name '*.jpg' -print0 | sort -z | faceclr embed --null - -o - --layout identities "
        "| python3 -c 'import json, sys; [print(json.loads(l)[\"identity\"]) for l in sys.stdin]'",
        place,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(4 * [path.name for path in (place / "photos").iterdir()])
    assert "12 faces of 3 people, 128 dimensions, encoder sface" in done.stderr


def test_a_reader_that_has_seen_enough_ends_it_quietly(place: Path) -> None:
    done = shell("faceclr embed photos -o - --batch-size 1 | head -n 1", place)
    assert json.loads(done.stdout)["path"].endswith(".jpg")
    assert done.stderr.count("error") == done.stderr.count("Traceback") == 0
    assert done.returncode in (0, 141)


def test_a_store_that_another_run_writes_is_left_alone(place: Path) -> None:
    with exclusive(place / "locked.h5.parts"):
        done = CliRunner().invoke(app, ["embed", str(place / "photos"), "-o", str(place / "locked.h5")])
    assert done.exit_code == 75
    assert "another run is writing to this folder" in done.stderr


def test_rows_and_a_summary_cannot_both_have_standard_output(place: Path) -> None:
    done = CliRunner().invoke(app, ["embed", str(place / "photos"), "-o", "-", "--json"])
    assert done.exit_code == 2
    assert done.stdout == ""


def test_what_is_new_is_said(place: Path) -> None:
    line = ["embed", str(place / "photos"), "-m", "pixels", "-o", str(place / "twice.h5")]
    first, second = CliRunner().invoke(app, line), CliRunner().invoke(app, line)
    assert "the others were already in the store" not in first.stdout
    assert "0; the others were already in the store" in second.stdout
    assert json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)["embedded"] == 0


@pytest.mark.real
def test_every_face_of_a_group_has_a_row_with_its_box(place: Path, real_data: Path) -> None:
    group = real_data / "photos" / "solvay_1927_group.jpg"
    out = place / "group.h5"
    done = CliRunner().invoke(app, ["embed", str(group), "--face", "all", "-o", str(out), "--json"])
    assert done.exit_code == 0, done.stderr
    store = read_store(out)
    assert set(store.paths) == {"solvay_1927_group.jpg"}
    assert len(store) >= 27
    assert len(np.unique(store.boxes, axis=0)) == len(store)
    assert (store.boxes[:, 2:] > 10).all()
    again = CliRunner().invoke(app, ["embed", str(group), "--face", "all", "-o", str(out), "--json"])
    assert json.loads(again.stdout)["embedded"] == 0
    assert np.array_equal(read_store(out).boxes, store.boxes)
    one = CliRunner().invoke(app, ["embed", str(group), "-o", str(out)])
    assert one.exit_code == 3
    assert "--face all" in one.stderr
