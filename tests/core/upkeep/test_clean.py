"""`faceclr clean` finds planted errors, and applies its proposals to links."""

from __future__ import annotations

import csv
import json
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.forget import ForgetConfig
from faceclr_cli.core.configs.pack import PackConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.datasets.pack import pack
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing.prepare import prepare
from faceclr_cli.core.sources.insightface_bin import write_bin
from faceclr_cli.core.upkeep.forget import forget

HEADING = "face,what,odds,other,action\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of six drawn people, with copies and junk."""
    root = tmp_path_factory.mktemp("original")
    write_people(root / "photos", 6, 4, 0, Silent())
    prepare(PrepareConfig(source=root / "photos", out=root / "faces", workers=1), Silent())
    faces = root / "faces"
    first = faces / "person-01" / "01.jpg"
    shutil.copy(first, faces / "person-01" / "99-copy.jpg")
    shutil.copy(faces / "person-02" / "01.jpg", faces / "person-05" / "stolen.jpg")
    image = cv2.imread(str(faces / "person-03" / "02.jpg"))
    cv2.imwrite(str(faces / "person-03" / "99-again.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(faces / "person-04" / "blurred.jpg"), cv2.GaussianBlur(image, (0, 0), 4))
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(faces / "person-04" / "noise.jpg"), cv2.resize(noise, (112, 112)))
    (faces / "person-06" / "cut.jpg").write_bytes(first.read_bytes()[:400])
    return root


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(original / "faces", tmp_path / "faces")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*arguments: str, exit_code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["clean", *arguments])
    assert done.exit_code == exit_code, done.output
    return done


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_copies_and_junk_are_found_and_drawn(place: Path) -> None:
    before = {path: path.read_bytes() for path in (place / "faces").rglob("*.jpg")}
    said = json.loads(typed("faces", "-o", "c.csv", "--sheet", "cases.png", "--json").stdout)
    found = {(row["face"], row["what"]): row for row in table(place / "c.csv")}
    copy = found["person-01/99-copy.jpg", "duplicate"]
    assert (copy["other"], copy["action"]) == ("person-01/01.jpg", "remove")
    again = found["person-03/99-again.jpg", "near-duplicate"]
    assert (again["other"], again["action"]) == ("person-03/02.jpg", "remove")
    assert ("person-04/blurred.jpg", "blurred") in found or ("person-04/blurred.jpg", "no-face") in found
    assert ("person-04/noise.jpg", "no-face") in found
    assert ("person-06/cut.jpg", "unreadable") in found
    assert said["faces"] == 30 and said["people"] == 6
    assert said["counts"] == {what: sum(key[1] == what for key in found) for what in {key[1] for key in found}}
    sheet = cv2.imread(said["sheets"][0])
    assert sheet.shape[0] > 600 and np.ptp(sheet) == 255
    assert {path: path.read_bytes() for path in (place / "faces").rglob("*.jpg")} == before


def test_a_copy_under_two_names_is_shown_but_not_removed_without_evidence(place: Path) -> None:
    typed("faces", "-o", "c.csv", "--model", "sface", "--min-odds", "1000000")
    (row,) = (row for row in table(place / "c.csv") if row["what"] == "duplicate" and "stolen" in str(row))
    assert {row["face"], row["other"]} == {"person-02/01.jpg", "person-05/stolen.jpg"}
    assert row["action"] == "keep"


def test_proposals_are_applied_to_links_with_a_ledger(place: Path) -> None:
    (place / "c.csv").write_text(
        HEADING
        + "person-01/01.jpg,intruder,50,person-02,move\n"  # person-02 has a 01.jpg of its own
        + "person-02,same-person,99,person-03,move\n"
        + "person-04/noise.jpg,no-face,,,remove\n"
        + "person-05/01.jpg,two-people,20,new name,move\n"
        + "person-06,test-set,20,lfw/x.jpg,remove\n"
        + "person-05/02.jpg,blurred,,,keep\n"
    )
    said = json.loads(typed("faces", "--apply", "c.csv", "-o", "out", "--json").stdout)
    assert said["moved"] == 6 and said["removed"] == 6
    source, faces = open_faces(place / "faces"), open_faces(place / "out")
    assert said["faces"] == len(faces) == len(source) - 6
    assert faces.people == ("new name", "person-01", "person-03", "person-04", "person-05")
    changes = table(place / "out" / "changes.csv")
    assert len(changes) == 12
    for row in changes:
        assert (place / "faces" / row["source"]).is_file()
        if row["face"]:
            assert (place / "faces" / row["source"]).samefile(place / "out" / row["face"])
    # Unchanged faces have their old paths, and no face exists twice.
    changed = {row["source"] for row in changes}
    assert set(faces.paths) == ({*source.paths} - changed) | {row["face"] for row in changes if row["face"]}
    assert {row["face"].split("/")[0] for row in changes if row["source"].startswith("person-02/")} == {"person-03"}
    again = typed("faces", "--apply", "c.csv", "-o", "out")
    assert "already exists" in again.stdout


def test_a_changed_list_does_not_change_a_folder(place: Path) -> None:
    (place / "c.csv").write_text(HEADING + "person-01/01.jpg,blurred,,,remove\n")
    typed("faces", "--apply", "c.csv", "-o", "out")
    (place / "c.csv").write_text(HEADING + "person-01/02.jpg,blurred,,,remove\n")
    assert "other proposals" in typed("faces", "--apply", "c.csv", "-o", "out", exit_code=2).output


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("person-99/1.jpg,blurred,,,remove\n", "c.csv:2: person-99/1.jpg is not in"),
        ("person-01/01.jpg,blurred,,,delete\n", "c.csv:2: the action must be"),
        ("person-01/01.jpg,ugly,,,remove\n", "c.csv:2: unknown finding ugly"),
        ("person-01/01.jpg,intruder,many,person-02,move\n", "c.csv:2: the odds must be a number"),
        ("person-01/01.jpg,intruder,9,../escape,move\n", "c.csv:2: a face cannot be moved to ../escape"),
        ("person-01/01.jpg,intruder,9,,move\n", "c.csv:2: a face cannot be moved"),
        ("person-01,same-person,9,person-02,move\nperson-02,same-person,9,person-01,move\n", "in a circle"),
        (
            "person-01/01.jpg,intruder,9,person-02,move\nperson-01/01.jpg,intruder,9,person-03,move\n",
            "c.csv:3: person-01/01.jpg is moved to both person-02 and person-03",
        ),
        ("".join(f"person-0{who},test-set,9,x,remove\n" for who in range(1, 7)), "removes all faces"),
    ],
)
def test_proposals_that_make_no_sense_are_refused(place: Path, lines: str, message: str) -> None:
    (place / "c.csv").write_text(HEADING + lines)
    assert message in typed("faces", "--apply", "c.csv", "-o", "out", exit_code=3).output.replace("\n", " ")
    assert not (place / "out").exists()


@pytest.mark.parametrize("content", [b"", b"face,what\n", b"\x00\x01", b"\xff\xfea"])
def test_other_files_are_not_proposals(place: Path, content: bytes) -> None:
    (place / "c.csv").write_bytes(content)
    typed("faces", "--apply", "c.csv", "-o", "out", exit_code=3)


def test_edited_proposals_and_folders_are_not_overwritten(place: Path) -> None:
    (place / "c.csv").write_text("mine")
    assert "may have been edited" in typed("faces", "-o", "c.csv", exit_code=2).output.replace("\n", " ")
    assert (place / "c.csv").read_text() == "mine"
    (place / "p.csv").write_text(HEADING)
    (place / "out").mkdir()
    typed("faces", "--apply", "p.csv", "-o", "out", exit_code=2)
    assert "inside" in typed("faces", "--apply", "p.csv", "-o", "faces/out", exit_code=2).output
    assert ".csv" in typed("faces", "-o", "out.txt", exit_code=2).output
    typed("faces", "--apply", "p.csv", "--against", "faces", exit_code=2)
    typed("nowhere", "-o", "x.csv", exit_code=3)


def test_a_person_is_forgotten_in_the_ledger_too(place: Path) -> None:
    (place / "c.csv").write_text(
        HEADING + "person-01/01.jpg,intruder,50,person-02,move\nperson-03/01.jpg,blurred,,,remove\n"
    )
    typed("faces", "--apply", "c.csv", "-o", "out")
    forget(ForgetConfig(identity="person-02", paths=(place / "out",)), Silent())
    left = [path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()]
    assert not any(b"person-02" in content for content in left)
    assert [row["source"] for row in table(place / "out" / "changes.csv")] == ["person-03/01.jpg"]


@pytest.fixture(scope="module")
def real_people(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of five real people in `faces`; other pictures of the last two, and a stranger, in `test`."""
    root = tmp_path_factory.mktemp("real")
    people = [folder for folder in sorted((real_data / "faces-train").iterdir()) if len(list(folder.iterdir())) == 14]
    for folder in people[:5]:
        for number, path in enumerate(sorted(folder.iterdir())[:11]):
            if number >= 8 and folder not in people[3:5]:
                continue
            part = "test" if number >= 8 else "faces"
            (root / "photos" / part / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / "photos" / part / folder.name)
    (root / "photos" / "test" / people[20].name).mkdir()
    for path in sorted(people[20].iterdir())[:4]:
        shutil.copy(path, root / "photos" / "test" / people[20].name)
    for part in ("faces", "test"):
        source = root / "photos" / part
        options = PrepareConfig(source=source, out=root / part, detector="none", assume="arcface", workers=1)
        prepare(options, Silent())
    (root / "shared").write_text("\n".join(folder.name for folder in people[3:5]))
    return root


@pytest.mark.parametrize("form", ["store", "bin"])
def test_people_of_a_test_set_are_found_in_each_form(
    real_people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if form == "store":
        embed(EmbedConfig(faces=real_people / "test", out=Path("test.h5")), Silent())
    else:
        pictures = [path.read_bytes() for path in sorted((real_people / "test").rglob("*.jpg"))]
        write_bin(Path("test.bin"), [(a, b, True) for a, b in zip(pictures[::2], pictures[1::2], strict=True)])
    against = "test.h5" if form == "store" else "test.bin"
    typed(str(real_people / "faces"), "-o", "c.csv", "--against", against)
    rows = [row for row in table(tmp_path / "c.csv") if row["what"] == "test-set"]
    assert {row["face"] for row in rows} == set((real_people / "shared").read_text().split())
    assert all(row["other"].startswith(f"{against}/") and row["action"] == "remove" for row in rows)


@pytest.mark.parametrize("name", [pytest.param("faces.parquet", marks=pytest.mark.nightly), "shards/faces-%02d.tar"])
def test_containers_are_cleaned_like_folders(
    real_people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(real_people / "faces", "faces")
    one, other = sorted(path for path in Path("faces").iterdir() if path.is_dir())[:2]
    wrong = sorted(one.iterdir())[5]
    wrong.rename(other / wrong.name)
    Path("shards").mkdir()
    pack(PackConfig(faces=Path("faces"), out=Path(name)), Silent())
    source = "shards" if name.startswith("shards") else name
    typed("faces", "-o", "of-folder.csv")
    typed(source, "-o", "of-container.csv")
    expected = table(Path("of-folder.csv"))
    assert (f"{other.name}/{wrong.name}", "intruder") in {(row["face"], row["what"]) for row in expected}
    assert table(Path("of-container.csv")) == expected
    for faces, out in (("faces", "clean-folder"), (source, "clean-container")):
        typed(faces, "--apply", "of-container.csv", "-o", out)
    cleaned = [
        {(path.relative_to(out), path.read_bytes()) for path in Path(out).rglob("*.jpg")}
        for out in ("clean-folder", "clean-container")
    ]
    assert cleaned[0] == cleaned[1] and len(cleaned[0]) >= 39
    assert Path(other.name, wrong.name) not in {path for path, _ in cleaned[0]}


def test_wrong_names_of_real_people_are_found(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    people = [folder for folder in sorted((real_data / "faces-train").iterdir()) if len(list(folder.iterdir())) == 14]
    for folder in people[:9]:
        shutil.copytree(folder, tmp_path / "source" / folder.name)
    options = PrepareConfig(source=Path("source"), out=Path("faces"), detector="none", assume="arcface", workers=1)
    prepare(options, Silent())
    names = sorted(path.name for path in Path("faces").iterdir() if path.is_dir())
    wrong = {}
    for one, other in pairwise(names[:6]):
        face = sorted(Path("faces", one).iterdir())[5]
        wrong[f"{other}/{face.name}"] = one
        face.rename(Path("faces", other, face.name))
    shutil.copytree(people[20], Path("test") / people[20].name)
    for name in names[7:9]:
        shutil.copytree(Path("faces", name), Path("test", name))
    shutil.copy("faces/faceclr.json", "test/faceclr.json")
    typed("faces", "-o", "c.csv", "--against", "test")
    found = {row["face"]: row for row in table(tmp_path / "c.csv") if row["what"] == "intruder"}
    assert len(found.keys() & wrong.keys()) >= 4
    assert len(found.keys() - wrong.keys()) <= 1
    moved = {face: row["other"] for face, row in found.items() if row["action"] == "move" and face in wrong}
    assert moved and all(wrong[face] == other for face, other in moved.items())
    assert {row["face"] for row in table(tmp_path / "c.csv") if row["what"] == "test-set"} == set(names[7:9])
