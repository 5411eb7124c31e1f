"""A person is removed without leaving any trace."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.artifacts import exclusive
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.forget import ForgetConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.packed_faces import open_packed
from faceclr_cli.core.datasets.splitting.split import split, summarize_part
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.store import read_store, write_store
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.errors import DataError, LockedError
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.evaluation.identification.gallery import load_gallery
from faceclr_cli.core.evaluation.identification.people_classifier import (
    PeopleClassifier,
    read_classifier,
    write_classifier,
)
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.plots.map_page import read_page, write_page
from faceclr_cli.core.preparing.prepare import prepare
from faceclr_cli.core.text import canonical
from faceclr_cli.core.upkeep import face_holdings
from faceclr_cli.core.upkeep.face_holdings import FacesHolding
from faceclr_cli.core.upkeep.forget import ForgetResult
from faceclr_cli.core.upkeep.forget import forget as run

NAME = "person-03"


class Heard:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of six drawn people, the faces in them, a split and two stores."""
    root = tmp_path_factory.mktemp("original")
    write_people(root / "photos", 6, 3, 0, Silent())
    prepare(PrepareConfig(source=root / "photos", out=root / "faces", workers=1), Silent())
    split(SplitConfig(faces=root / "faces", out=root / "splits", train=0.34, val=0.0, test=0.66), Silent())
    for name, options in (("whole.h5", {}), ("parted.h5", {"keep_parts": True})):
        embed(EmbedConfig(faces=root / "faces", model="pixels", out=root / name, **options), Silent())
    return root


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the original that a test may change; the links between faces and split are kept."""
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    subprocess.run(["cp", "-a", f"{original}/.", tmp_path], check=True)
    return tmp_path


def forget(*paths: Path, heard: Heard | None = None, **options: object) -> ForgetResult:
    return run(ForgetConfig(paths=paths, **{"identity": NAME, **options}), heard or Heard())  # type: ignore[arg-type]


def traces(place: Path) -> list[Path]:
    """Returns every file, except the photographs, that has the name in its path or its bytes."""
    files = [path for path in place.rglob("*") if path.is_file() and "photos" not in path.parts]
    return [path for path in files if NAME in str(path) or NAME.encode() in path.read_bytes()]


def test_nothing_is_left_of_a_person(place: Path) -> None:
    stores = [place / "whole.h5", place / "parted.h5"]
    before = read_store(stores[0])
    open_packed(open_faces(place / "faces"), Silent())
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


def test_decoded_faces_of_a_folder_that_was_moved_are_removed_from_the_cache(place: Path) -> None:
    open_packed(open_faces(place / "faces"), Silent())
    (place / "faces").rename(place / "moved")
    forget(place / "moved")
    assert not list((place / "cache").glob("*.npy"))


def test_a_user_without_a_home_folder_has_no_cache_to_clear(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACECLR_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: Path("~/.cache/faceclr"))
    assert [row.left for row in forget(place / "faces").rows] == [0]


def test_the_galleries_in_the_cache_are_removed(place: Path) -> None:
    config = IdentifyConfig(photos=place / "photos", gallery=place / "faces", threshold=0.5)
    load_gallery(config, place / "faces", SFaceEncoder(), Heard())
    assert list((place / "cache").rglob("*.h5"))
    forget(place / "faces", dry_run=True)
    assert list((place / "cache").rglob("*.h5"))
    forget(place / "faces")
    assert not list((place / "cache").rglob("*.h5"))


def test_what_remains_works_as_before(place: Path) -> None:
    forget(place / "whole.h5", place / "faces", place / "splits")
    result = embed(EmbedConfig(faces=place / "faces", model="pixels", out=place / "whole.h5"), Silent())
    assert (result.faces, result.embedded, result.gone) == (15, 0, 0)
    open_packed(open_faces(place / "faces"), Silent())


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


@pytest.mark.parametrize(
    ("name", "text"),
    [("person-3", "did you mean person-0"), ("..", "no artifact contains"), ("_", "no artifact contains")],
)
def test_who_is_not_there_is_an_error_and_nothing_happens(name: str, text: str, place: Path) -> None:
    files = sorted(place.rglob("*"))
    with pytest.raises(DataError, match=text):
        forget(place / "whole.h5", place / "faces", identity=name)
    assert sorted(place.rglob("*")) == files


def test_other_paths_are_refused_before_anything_is_removed(place: Path) -> None:
    with pytest.raises(DataError, match="not a store"):
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


ODD = ["Lee, Ann", "Ann", 'say "hi"', "a\nb", "x;y", ",", '"', "-rf", "100%", "b\\c", "😀", "\u202eabc", "Jose\u0301"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, a split and a store of people whose names have every kind of odd character."""
    root = tmp_path_factory.mktemp("odd")
    write_people(root / "photos", 1, 2, 0, Silent())
    for name in ODD:
        shutil.copytree(root / "photos" / "person-01", root / "photos" / name)
    prepare(PrepareConfig(source=root / "photos", out=root / "faces", workers=1), Silent())
    split(SplitConfig(faces=root / "faces", out=root / "splits", train=0, val=0, test=1), Silent())
    embed(EmbedConfig(faces=root / "faces", model="pixels", out=root / "s.h5"), Silent())
    return root


def _pairs(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", ODD)
def test_names_may_have_any_punctuation(name: str, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "place"
    shutil.copytree(odd, place)
    person = canonical(name) + "/"
    before = _pairs(place / "splits" / "pairs.csv")
    kept = [row for row in before if not any(cell.startswith(person) for cell in row)]
    assert len(kept) < len(before)
    result = forget(place / "faces", place / "splits", place / "s.h5", identity=name)
    assert all(row.removed and not row.left for row in result.rows)
    assert _pairs(place / "splits" / "pairs.csv") == kept
    assert len(open_faces(place / "faces").people) == len(ODD)
    assert set(read_store(place / "s.h5").people) == set(map(canonical, [*ODD, "person-01"])) - {canonical(name)}


def test_a_name_is_found_in_any_unicode_form(place: Path) -> None:
    store = read_store(place / "whole.h5")
    people = tuple("Jose\u0301" if name == NAME else name for name in store.identities)
    write_store(place / "whole.h5", replace(store, identities=people))
    (row,) = forget(place / "whole.h5", identity="José").rows
    assert (row.removed, row.left, row.others) == (3, 0, 15)


def test_findings_of_people_whose_names_contain_the_name_stay(place: Path) -> None:
    said = json.loads((place / "splits" / "split.json").read_text())
    finding = {"earlier": "train/a/1.jpg", "later": "test/a/2.jpg", "correlation": 1.0}
    others = [finding | {"earlier": f"train/x-{NAME}/1.jpg"}, finding | {"later": f"test/{NAME}-x/1.jpg"}, finding]
    said["audit"] |= {
        "near_duplicates": [*others, finding | {"later": f"test/{NAME}/1.jpg"}],
        "dropped": [f"train/{NAME}/1.jpg", f"train/a/{NAME}"],
        "kept_out": [NAME, f"{NAME}x"],
    }
    (place / "splits" / "split.json").write_text(json.dumps(said))
    forget(place / "splits")
    audit = json.loads((place / "splits" / "split.json").read_text())["audit"]
    assert audit["near_duplicates"] == others
    assert (audit["dropped"], audit["kept_out"]) == ([f"train/a/{NAME}"], [f"{NAME}x"])


def test_the_numbers_of_a_split_are_those_without_the_person(place: Path) -> None:
    forget(place / "splits")
    for part, said in json.loads((place / "splits" / "split.json").read_text())["parts"].items():
        faces = open_faces(place / "splits" / part)
        assert said == asdict(summarize_part(faces.paths, faces.identities))
        about = json.loads((place / "splits" / part / "faceclr.json").read_text())
        assert {name: about[name] for name in said} == said


@pytest.mark.parametrize("step", ["forget_packed", "rmtree", "_describe"])
def test_what_was_interrupted_is_finished_by_the_same_call(
    step: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        target = {"rmtree": shutil, "_describe": FacesHolding}.get(step, face_holdings)
        patch.setattr(target, step, killed)
        with pytest.raises(KeyboardInterrupt):
            forget(place / "faces", place / "splits")
    forget(place / "faces", place / "splits", place / "whole.h5", place / "parted.h5")
    assert traces(place) == []


def test_crops_that_are_gone_already_leave_the_ledger_to_be_cleaned(place: Path) -> None:
    """As left by the last release when it was killed."""
    shutil.rmtree(place / "faces" / NAME)
    (row,) = forget(place / "faces").rows
    assert (row.removed, row.left, row.others) == (3, 0, 15)
    assert NAME.encode() not in (place / "faces" / "manifest.sqlite").read_bytes()


def test_a_locked_ledger_stops_it_before_anything_is_removed(place: Path) -> None:
    with closing(sqlite3.connect(place / "faces" / "manifest.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match="another program"):
            forget(place / "faces")
    assert (place / "faces" / NAME).is_dir()
    assert [row.left for row in forget(place / "faces").rows] == [0]


def test_what_cannot_be_removed_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(DataError, match="cannot be removed"):
            forget(place / "faces")
    forget(place / "faces")


def test_a_store_that_was_never_finished_is_its_parts(place: Path) -> None:
    (place / "parted.h5").unlink()
    (row,) = forget(place / "parted.h5").rows
    assert (row.removed, row.left) == (3, 0)
    assert not (place / "parted.h5.parts").exists()


def test_a_classifier_loses_name_weights_and_template(tmp_path: Path) -> None:
    unit = np.eye(3, 4, dtype=np.float32)
    classifier = PeopleClassifier(
        people=("ann", "bob", "cat"),
        weights=2 * unit,
        bias=np.arange(3, dtype=np.float32),
        centroids=unit,
        calibration=Calibration(points=(FarPoint(far=1e-3, threshold=0.5, tar=0.9),), source="s"),
        encoder="pixels",
        encoder_digest="0",
        fingerprint=default_fingerprint(),
        flip=False,
        source={},
    )
    write_classifier(classifier, tmp_path / "known")
    (row,) = forget(tmp_path / "known", identity="bob").rows
    assert (row.kind, row.removed, row.left, row.others) == ("classifier", 1, 0, 2)
    left = read_classifier(tmp_path / "known")
    assert left.people == ("ann", "cat")
    assert np.array_equal(left.centroids, unit[[0, 2]])
    assert left.bias.tolist() == [0, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["known"]
    (tmp_path / "known").rename(tmp_path / ".known.former")  # A run was killed between two renames.
    forget(tmp_path / "known", identity="cat")
    assert list(tmp_path.iterdir()) == []


def test_groups_lose_the_links_and_the_lines(place: Path) -> None:
    options = {"faces": place / "faces", "out": place / "groups", "threshold": -1.0, "review": 3}
    config = ClusterConfig(source=place / "whole.h5", **options)
    cluster(config, Silent())
    (row,) = forget(place / "groups").rows
    assert (row.kind, row.removed, row.left, row.others) == ("groups", 3, 0, 15)
    assert not any(NAME.encode() in path.read_bytes() for path in (place / "groups").glob("*.json*"))
    said = json.loads((place / "groups" / "cluster.json").read_text())
    assert (said["faces"], sum(group["faces"] for group in said["groups"]) + said["singles"]) == (15, 15)
    assert len(open_faces(place / "groups")) == 15
    left = {path.read_bytes() for path in (place / "groups").glob("*/*.jpg")}
    assert left.isdisjoint(path.read_bytes() for path in (place / "faces" / NAME).iterdir())


def test_a_map_loses_name_points_and_thumbnails(tmp_path: Path) -> None:
    points, side = np.arange(6.0).reshape(3, 2), 8
    pictures = [np.full((side, side, 3), 250, np.uint8)] * 3
    people, paths = ["ann", "bob", None], ["ann/1.jpg", "bob/1.jpg", "x.jpg"]
    write_page(tmp_path / "m.html", points, people, paths, pictures, title="t", subtitle="3 faces of 2 people")
    (row,) = forget(tmp_path / "m.html", identity="ann").rows
    assert (row.kind, row.removed, row.left, row.others) == ("map", 1, 0, 2)
    data = read_page(tmp_path / "m.html")
    assert (data["names"], data["who"], data["x"], data["paths"]) == (["bob"], [0, -1], [2, 4], ["bob/1.jpg", "x.jpg"])
    assert data["subtitle"] == "2 faces of 1 people"
    sheet = cv2.imdecode(np.frombuffer(base64.b64decode(data["sheets"][0]), np.uint8), cv2.IMREAD_COLOR)
    tiles = [float(sheet[:side, tile * side : (tile + 1) * side].mean()) for tile in range(3)]
    assert tiles[0] < 5
    assert [tiles[place] for place in data["thumbnails"]] == pytest.approx([250, 250], abs=5)


def test_an_interruption_while_the_cache_is_cleared_is_finished_by_the_same_call(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = IdentifyConfig(photos=place / "photos", gallery=place / "faces", threshold=0.5)
    load_gallery(config, place / "faces", SFaceEncoder(), Heard())
    (left,) = (place / "cache" / "galleries").glob("*.h5")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("faceclr_cli.core.upkeep.forget.forget_cached_embeddings", killed)
        with pytest.raises(KeyboardInterrupt):
            forget(place / "faces")
    assert left.exists()
    forget(place / "faces")
    assert not left.exists()


def test_what_it_cannot_reach_is_said(place: Path) -> None:
    heard = Heard()
    forget(place / "whole.h5", heard=heard)
    assert any("calibrations" in text and "exported graphs" in text for text in heard.texts)
