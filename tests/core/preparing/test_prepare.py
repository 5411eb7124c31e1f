from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from faceclr_cli.core.artifacts import exclusive
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.errors import ConfigError, DataError, LockedError, TooManyBadFilesError
from faceclr_cli.core.events import Event, Notice, Silent, TaskAdvanced
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing.crop_paths import default_faces_folder
from faceclr_cli.core.preparing.photo_worker import PART, WRITING
from faceclr_cli.core.preparing.prepare import PreparePlan, PrepareResult
from faceclr_cli.core.preparing.prepare import prepare as run


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    write_people(root, people=3, photos=4, seed=0, reporter=Silent())
    return root


@pytest.fixture
def photos(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "photos"))


def prepare(photos: Path, **options: object) -> PrepareResult:
    out = options.pop("out", photos.parent / "faces")
    return run(PrepareConfig(source=photos, out=out, **options), Silent())  # type: ignore[arg-type]


class Heard:
    def __init__(self) -> None:
        self.notices: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.sqlite")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_photo_gives_a_face_under_its_person(photos: Path) -> None:
    result = prepare(photos)
    faces = open_faces(result.out)
    assert faces.people == ("person-01", "person-02", "person-03")
    assert faces.paths[0] == "person-01/01.jpg"
    assert (result.photos, result.faces, result.people, result.bad) == (12, 12, 3, 0)
    assert all(cv2.imread(str(result.out / path)).shape == (112, 112, 3) for path in faces.paths)
    assert json.loads(json.dumps(result.to_json()))["states"] == {"done": 12, "skipped": 0, "failed": 0}


def test_bad_files_are_recorded_with_their_reason_and_end_nothing(photos: Path) -> None:
    whole = (photos / "person-01" / "01.jpg").read_bytes()
    (photos / "person-01" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "person-01" / "empty.png").touch()
    (photos / "person-02" / "text.jpg").write_text("not a picture")
    (photos / "person-02" / "gone.jpg").symlink_to("nowhere.jpg")
    (photos / "person-02" / "notes.txt").write_text("not even named like a picture")
    wall = cv2.imencode(".png", cv2.imread(str(photos / "person-03" / "01.jpg"))[:20, :20])[1]
    (photos / "person-03" / "wall.png").write_bytes(wall.tobytes())
    result = prepare(photos)
    assert result.states == {"done": 12, "skipped": 1, "failed": 4}
    rows = dict(sqlite3.connect(result.ledger).execute("SELECT path, reason FROM photos WHERE state != 'done'"))
    assert rows == {
        "person-01/empty.png": "empty file",
        "person-01/half.jpg": "truncated",
        "person-02/gone.jpg": "file is missing",
        "person-02/text.jpg": "not a picture",
        "person-03/wall.png": "no face found",
    }
    with pytest.raises(TooManyBadFilesError, match=r"5 of 17 files .*1 truncated") as caught:
        prepare(photos, max_bad=0.1)
    assert caught.value.exit_code == 3
    assert len(open_faces(result.out)) == 12


def test_a_second_run_does_nothing(photos: Path) -> None:
    first = prepare(photos)
    before = content(first.out)
    stamps = {path: path.stat().st_mtime_ns for path in first.out.glob("*/*.jpg")}
    second = prepare(photos)
    assert (second.processed, second.faces, second.photos_per_second) == (0, 12, None)
    assert content(first.out) == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_only_new_changed_and_lost_photos_are_processed(photos: Path) -> None:
    out = prepare(photos).out
    shutil.copyfile(photos / "person-02" / "01.jpg", photos / "person-01" / "02.jpg")  # changed
    shutil.copyfile(photos / "person-02" / "02.jpg", photos / "person-01" / "99.jpg")  # new
    (out / "person-03" / "03.jpg").unlink()  # lost
    result = prepare(photos)
    assert (result.processed, result.faces) == (3, 13)
    assert (out / "person-01" / "02.jpg").read_bytes() == (out / "person-02" / "01.jpg").read_bytes()
    assert content(out) == content(prepare(photos, out=out).out)


def test_faces_of_missing_photos_are_removed(photos: Path) -> None:
    out = prepare(photos).out
    shutil.rmtree(photos / "person-03")
    (photos / "person-01" / "01.jpg").write_bytes(b"")
    heard: list[Event] = []

    class Ear:
        def report(self, event: Event) -> None:
            heard.append(event)

    result = run(PrepareConfig(source=photos, out=out), Ear())
    assert any(isinstance(event, Notice) and "4 photographs no longer exist" in event.text for event in heard)
    assert [event.done for event in heard if isinstance(event, TaskAdvanced)] == [1]
    assert (result.people, result.faces, result.removed) == (2, 7, 4)
    assert "person-01/01.jpg" not in open_faces(out).paths
    assert not (out / "person-03").exists()


def test_processes_give_the_same_bytes(photos: Path) -> None:
    write_people(photos, people=3, photos=8, seed=1, reporter=Silent())
    alone, together = prepare(photos, workers=1), prepare(photos, workers=2, out=photos.parent / "two")
    jpegs = [{k: v for k, v in content(result.out).items() if k.endswith("jpg")} for result in (alone, together)]
    assert len(jpegs[0]) == 24
    assert jpegs[0] == jpegs[1]


def test_names_of_any_kind_survive_and_never_collide(photos: Path) -> None:
    picture = (photos / "person-01" / "01.jpg").read_bytes()
    names = [b"a.jpg", b"a.JPG", b"a.jpeg", b"two words.jpg", b"new\nline.jpg", "笑.jpg".encode(), b"caf\xe9.jpg"]
    names.append(b"x" * 250 + b".jpe")
    person = photos / "Zoë van 't Hof"
    person.mkdir()
    for name in names:
        (person / os.fsdecode(name)).write_bytes(picture)
    result = prepare(photos)
    written = os.listdir(os.fsencode(result.out / "Zoë van 't Hof"))
    assert result.faces == 12 + len(names)
    assert len(written) == len(names)
    assert {b"a.jpg", b"two words.jpg", b"new\nline.jpg", "笑.jpg".encode(), b"caf\xe9.jpg"} < set(written)
    assert prepare(photos).processed == 0


def test_a_single_photo(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    result = run(PrepareConfig(source=photos / "person-01" / "01.jpg"), Silent())
    assert result.out == Path("01-faces")
    assert open_faces(result.out).identities == (None,)
    (photos / "bad.jpg").write_text("text")
    with pytest.raises(DataError, match=r"bad\.jpg: not a picture"):
        run(PrepareConfig(source=photos / "bad.jpg"), Silent())
    assert not Path("bad-faces").exists()


def test_default_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "celeba").mkdir()
    monkeypatch.chdir(tmp_path / "celeba")
    assert default_faces_folder(Path("../celeba/")) == default_faces_folder(Path()) == Path("celeba-faces")
    (tmp_path / "mine").symlink_to(tmp_path / "celeba")
    assert default_faces_folder(Path("../mine")) == Path("mine-faces")


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        prepare(tmp_path / "photos")
    assert not (tmp_path / "faces").exists()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_text("text")
    with pytest.raises(DataError, match=r"none of the 2 files produced a face \(2 not a picture\)"):
        prepare(tmp_path / "photos")
    with pytest.raises(DataError, match="no such file or folder"):
        prepare(tmp_path / "nowhere")


def test_other_options_or_sources_are_never_mixed(photos: Path) -> None:
    prepare(photos)
    with pytest.raises(ConfigError, match="size 112, not 160"):
        prepare(photos, size=160)
    other = photos.parent / "other"
    write_people(other, people=3, photos=4, seed=1, reporter=Silent())  # the same names, other people
    for path in other.rglob("*.jpg"):
        path.write_bytes(path.read_bytes().ljust((photos / path.relative_to(other)).stat().st_size, b"\0"))
    faces = content(photos.parent / "faces")
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match="made with source"):
            prepare(other, dry_run=dry_run)
    assert content(photos.parent / "faces") == faces


@pytest.mark.parametrize("how", ["moved", "copied", "fresh", "packed"])
def test_moved_photos_are_recognized_by_their_content(photos: Path, how: str) -> None:
    before = content(prepare(photos).out)
    place = photos.parent / "elsewhere"
    if how == "moved":
        photos.rename(place)
    elif how == "packed":
        place = Path(shutil.make_archive(str(place), "zip", photos))
    else:  # with the dates of the files, or without
        shutil.copytree(photos, place, copy_function=shutil.copy2 if how == "copied" else shutil.copyfile)
    plan = run(PrepareConfig(source=place, out=photos.parent / "faces", dry_run=True), Silent())
    assert isinstance(plan, PreparePlan)
    assert (plan.todo, plan.finished, plan.removed) == (0, 12, 0)
    heard = Heard()
    config = PrepareConfig(source=place, out=photos.parent / "faces")
    result = run(config, heard)
    assert isinstance(result, PrepareResult)
    assert (result.photos, result.faces, result.processed, result.removed) == (12, 12, 0, 0)
    assert f"the photographs were moved from {photos}; their faces are kept" in heard.notices
    after = content(result.out)
    assert before.keys() == after.keys()
    assert all(after[name] == before[name] for name in before if name != "faceclr.json")
    again = Heard()
    run(config, again)
    assert again.notices == []


def test_new_and_missing_photos_of_a_moved_source_are_handled(photos: Path) -> None:
    prepare(photos)
    place = photos.rename(photos.parent / "elsewhere")
    (place / "person-01" / "01.jpg").unlink()
    (place / "person-01" / "02.jpg").rename(place / "person-01" / "new.jpg")
    result = prepare(place)
    assert (result.photos, result.faces, result.processed, result.removed) == (11, 11, 1, 2)


def test_foreign_folders_are_left_alone(photos: Path) -> None:
    (photos.parent / "faces").mkdir()
    (photos.parent / "faces" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        prepare(photos)
    with pytest.raises(ConfigError, match="inside the source folder"):
        prepare(photos, out=photos / "faces")
    with pytest.raises(ConfigError, match="is a file"):
        prepare(photos, out=photos / "person-01" / "01.jpg")


def test_a_second_run_at_the_same_time_is_kept_out(photos: Path) -> None:
    out = photos.parent / "faces"
    code = (
        "import sys; from pathlib import Path; from faceclr_cli.core.artifacts import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(LockedError) as caught:
            prepare(photos)
        assert caught.value.exit_code == 75
        other.communicate()
    assert prepare(photos).faces == 12
    with exclusive(out):
        pass


@pytest.mark.real
def test_the_layout_of_celeba(real_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "celeba"
    (source / "img_celeba").mkdir(parents=True)
    lines = (real_data / "celeba-layout" / "identity_CelebA.txt").read_text().splitlines()[:40]
    for line in lines:
        name = line.split()[0]
        (source / "img_celeba" / name).symlink_to(real_data / "celeba-layout" / "img_celeba" / name)
    (source / "identity_CelebA.txt").write_text("\n".join([*lines, "999999.jpg 77"]))
    result = prepare(source)
    assert result.layout == "celeba"
    assert result.faces >= 39
    assert set(open_faces(result.out).people) == {line.split()[1] for line in lines}


class Mischief(Heard):
    """After the first photograph, leaves a half-written crop, as a lost worker would, and calls a function."""

    def __init__(self, out: Path, deed: Callable[[], None]) -> None:
        super().__init__()
        self._out, self._deed, self._is_done = out, deed, False

    def report(self, event: Event) -> None:
        if isinstance(event, TaskAdvanced) and event.done and not self._is_done:
            self._is_done = True
            (self._out / WRITING / f"lost{PART}").write_bytes(b"\xff\xd8")
            self._deed()


def kill_a_worker() -> None:
    os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("deed", [kill_a_worker, interrupt])
def test_partial_files_of_a_lost_worker_are_removed(photos: Path, deed: Callable[[], None]) -> None:
    write_people(photos, people=5, photos=10, seed=2, reporter=Silent())
    out = photos.parent / "faces"
    config = PrepareConfig(source=photos, out=out, workers=2)
    with pytest.raises(KeyboardInterrupt) if deed is interrupt else nullcontext():
        run(config, Mischief(out, deed))
    assert not list(out.rglob(".*"))
    result = run(config, Silent())
    assert isinstance(result, PrepareResult)
    assert result.faces == 50


@pytest.mark.parametrize("option", ["sheet", "plot"])
def test_output_pictures_inside_the_source_are_refused(photos: Path, option: str) -> None:
    for target in (photos / "x.jpg", photos / "person-01" / "x.png"):
        with pytest.raises(
            ConfigError, match=f"--{option} .*: is inside the source folder and would be read as a photograph"
        ):
            prepare(photos, **{option: target})
    assert isinstance(prepare(photos, **{option: photos / "x.pdf"}), PrepareResult)


def test_the_rotation_in_which_a_face_was_found_is_recorded(tmp_path: Path) -> None:
    image = skimage.data.astronaut()[..., ::-1]
    (tmp_path / "photos").mkdir()
    for turns in range(3):
        cv2.imwrite(str(tmp_path / "photos" / f"{turns}.png"), np.rot90(image, turns))
    prepare(tmp_path / "photos", workers=1)
    with closing(sqlite3.connect(tmp_path / "faces" / "manifest.sqlite")) as ledger:
        found = ledger.execute("SELECT turn, bordered FROM photos ORDER BY path").fetchall()
    # The second photograph is upright after a counterclockwise rotation by 270 degrees.
    assert found == [(0, 0), (270, 0), (180, 0)]
