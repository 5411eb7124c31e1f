"""Rows that `embed` wrote for other tools, passed to faceclr in place of a store or pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent

FORMATS = {"rows.csv": "CSV", "rows.jsonl": "JSON lines", "rows.npz": "an .npz file", "rows.parquet": "a Parquet file"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    write_people(place / "photos", 2, 1, 0, Silent())
    (place / "pairs.csv").write_text("person-01/01.jpg,person-02/01.jpg,0\n")
    for name in FORMATS:
        done = CliRunner().invoke(app, ["embed", str(place / "photos"), "-o", str(place / name), "-m", "pixels"])
        assert done.exit_code == 0, done.output
    return place


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("line", [
    "tsne ROWS",
    "cluster ROWS --threshold 0.5",
    "identify ROWS --gallery photos --threshold 0.5",
    "identify photos --gallery ROWS --threshold 0.5",
    "linear-eval ROWS",
    "verify --pairs pairs.csv --embeddings ROWS",
    "embed ROWS -m pixels",
])  # fmt: skip
def test_they_are_named_and_so_is_what_to_type(
    line: str, name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, line.replace("ROWS", name).split())
    assert done.exit_code == 3, done.output
    assert f"{name}: {FORMATS[name]} that faceclr embed wrote for other tools" in done.stderr
    assert "faceclr embed FACES -o rows.h5" in done.stderr
    (error,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert error
