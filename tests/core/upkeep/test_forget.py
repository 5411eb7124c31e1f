"""A person is removed, and nothing of them is left."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.artifacts import exclusive
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.forget import ForgetConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.folder import open_faces
from faceclr_cli.core.datasets.packed import pack
from faceclr_cli.core.datasets.prepare import run as prepare
from faceclr_cli.core.datasets.split import run as split
from faceclr_cli.core.embeddings.embed import run as embed
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.errors import DataError, LockedError
from faceclr_cli.core.evaluation.gallery import load_people
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.faces.drawn import write_people
from faceclr_cli.core.upkeep.forget import ForgetResult, run

NAME = "person-03"


class Heard:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photographs of six drawn people, the faces in them, a split and two stores."""
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    write_people(tmp_path / "photos", 6, 3, 0, Silent())
    prepare(PrepareConfig(source=tmp_path / "photos", out=tmp_path / "faces", workers=1), Silent())
    split(SplitConfig(faces=tmp_path / "faces", out=tmp_path / "splits", train=0.34, val=0.0, test=0.66), Silent())
    for name, options in (("whole.h5", {}), ("parted.h5", {"keep_parts": True})):
        embed(EmbedConfig(faces=tmp_path / "faces", model="pixels", out=tmp_path / name, **options), Silent())
    return tmp_path


def forget(*paths: Path, heard: Heard | None = None, **options: object) -> ForgetResult:
    return run(ForgetConfig(paths=paths, **{"identity": NAME, **options}), heard or Heard())  # type: ignore[arg-type]


def traces(place: Path) -> list[Path]:
    """Every file, beside the photographs, that has the name in its path or its bytes."""
    files = [path for path in place.rglob("*") if path.is_file() and "photos" not in path.parts]
    return [path for path in files if NAME in str(path) or NAME.encode() in path.read_bytes()]


def test_nothing_is_left_of_a_person(place: Path) -> None:
    stores = [place / "whole.h5", place / "parted.h5"]
    before = read_store(stores[0])
    pack(open_faces(place / "faces"), Silent())
    assert traces(place)
    result = forget(*stores, place / "faces", place / "splits")
    assert [(row.removed, row.left) for row in result.rows if row.path in map(str, [*stores, place / "faces"])] == [
        (3, 0)
    ] * 3
    assert traces(place) == []
    assert not list((place / "cache").glob("*.npy"))
    others = [row for row, name in enumerate(before.identities) if name != NAME]
    for path in stores:
        after = read_store(path)
        assert after.paths == before.take(others).paths
        assert np.array_equal(after.embeddings, before.embeddings[others])
    assert not (place / "parted.h5.parts").exists()
    assert json.loads((place / "faces" / "faceclr.json").read_text())["faces"] == 15
    parts = json.loads((place / "splits" / "split.json").read_text())["parts"]
    assert sum(part["faces"] for part in parts.values()) == 15
    rows = sqlite3.connect(place / "faces" / "manifest.sqlite").execute("SELECT COUNT(*) FROM photos").fetchone()
    assert rows == (15,)


def test_the_galleries_in_the_cache_are_removed(place: Path) -> None:
    config = IdentifyConfig(photos=place / "photos", gallery=place / "faces", threshold=0.5)
    load_people(config, place / "faces", SFaceEncoder(), Heard())
    assert list((place / "cache").rglob("*.h5"))
    forget(place / "faces", dry_run=True)
    assert list((place / "cache").rglob("*.h5"))
    forget(place / "faces")
    assert not list((place / "cache").rglob("*.h5"))


def test_what_remains_works_as_before(place: Path) -> None:
    forget(place / "whole.h5", place / "faces", place / "splits")
    again = EmbedConfig(faces=place / "faces", model="pixels", out=place / "whole.h5")
    result = embed(again, Silent())
    assert (result.faces, result.embedded, result.gone) == (15, 0, 0)
    pack(open_faces(place / "faces"), Silent())


def test_a_store_in_parts_that_knows_nothing_of_them_keeps_its_rows(place: Path) -> None:
    before = read_store(place / "parted.h5")
    embed(
        EmbedConfig(faces=place / "splits" / "train", model="pixels", out=place / "few.h5", keep_parts=True), Silent()
    )
    few = read_store(place / "few.h5")
    stranger = next(name for name in before.people if name not in few.people)
    forget(place / "parted.h5", place / "few.h5", identity=stranger)
    assert np.array_equal(read_store(place / "few.h5").embeddings, few.embeddings)


def test_pictures_that_a_split_still_links_are_told_of(place: Path) -> None:
    heard = Heard()
    assert forget(place / "faces", heard=heard).linked == 3
    assert any("3 of the pictures are linked in another folder" in text for text in heard.texts)
    assert forget(place / "splits").linked == 0


def test_a_dry_run_removes_nothing(place: Path) -> None:
    files = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    result = forget(place / "whole.h5", place / "faces", dry_run=True)
    assert [(row.removed, row.left) for row in result.rows] == [(3, 3), (3, 3)]
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == files


def test_the_last_person_takes_the_store_along(place: Path) -> None:
    for path in (place / "faces").glob("person-*"):
        if path.name != NAME:
            run(ForgetConfig(paths=(place / "whole.h5", place / "faces"), identity=path.name), Silent())
    forget(place / "whole.h5", place / "faces")
    assert not (place / "whole.h5").exists()
    assert not (place / "faces" / "faceclr.json").exists()


@pytest.mark.parametrize(("name", "text"), [("person-3", "did you mean person-0"), ("..", "nobody"), ("_", "nobody")])
def test_who_is_not_there_is_an_error_and_nothing_happens(name: str, text: str, place: Path) -> None:
    files = sorted(place.rglob("*"))
    with pytest.raises(DataError, match=text):
        forget(place / "whole.h5", place / "faces", identity=name)
    assert sorted(place.rglob("*")) == files


def test_other_paths_are_refused_before_anything_is_removed(place: Path) -> None:
    with pytest.raises(DataError, match="neither a store nor"):
        forget(place / "whole.h5", place / "photos")
    assert NAME in read_store(place / "whole.h5").people


def test_a_folder_that_is_being_written_is_left_alone(place: Path) -> None:
    with exclusive(place / "faces"), pytest.raises(LockedError):
        forget(place / "faces")


def test_the_command_line_shows_what_is_left(place: Path) -> None:
    done = CliRunner().invoke(app, ["forget", "--identity", NAME, str(place / "whole.h5")])
    assert done.exit_code == 0, done.output
    row = next(line for line in done.stdout.splitlines() if "whole.h5" in line)
    assert row.split()[-3:] == ["3", "0", "15"]


def test_a_name_may_be_a_number_as_in_celeba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ledger has a 7 somewhere."""
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    write_people(tmp_path / "photos", 2, 2, 0, Silent())
    (tmp_path / "photos" / "person-01").rename(tmp_path / "photos" / "7")
    (tmp_path / "photos" / "person-02").rename(tmp_path / "photos" / "17")
    prepare(PrepareConfig(source=tmp_path / "photos", out=tmp_path / "faces", workers=1), Silent())
    (row,) = forget(tmp_path / "faces", identity="7").rows
    assert (row.removed, row.left, row.others) == (2, 0, 2)
    ledger = sqlite3.connect(tmp_path / "faces" / "manifest.sqlite")
    assert {identity for (identity,) in ledger.execute("SELECT identity FROM photos")} == {"17"}
