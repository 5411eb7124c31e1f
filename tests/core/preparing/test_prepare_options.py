"""The effect of each option of `prepare` on real photographs."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.embeddings.crop_source import list_pictures
from faceclr_cli.core.errors import ConfigError, FingerprintError, TooManyBadFilesError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing.prepare import PreparePlan, PrepareResult
from faceclr_cli.core.preparing.prepare import prepare as run

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def people(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people of LFW with five to eight photographs each."""
    root = tmp_path_factory.mktemp("people")
    albums = sorted((real_data / "lfw-view1" / "images").iterdir())
    for album in [album for album in albums if 5 <= len(os.listdir(album)) <= 8][:4]:
        shutil.copytree(album, root / album.name)
    return root


def prepare(source: Path, out: Path, **options: object) -> PrepareResult:
    result = run(PrepareConfig(source=source, out=out, workers=1, **options), Silent())  # type: ignore[arg-type]
    assert isinstance(result, PrepareResult)
    return result


def rows(out: Path, columns: str = "path, reason") -> list[tuple[object, ...]]:
    return sqlite3.connect(out / "manifest.sqlite").execute(f"SELECT {columns} FROM photos ORDER BY path").fetchall()


def crops(out: Path) -> dict[str, bytes]:
    return {path: (out / path).read_bytes() for path in open_faces(out).paths}


ALIGNMENTS = [
    ("yunet", "arcface", 112),
    ("yunet", "eyes", 240),
    ("yunet", "box", 96),
    ("haar", "box", 224),
    ("mtcnn", "arcface", 160),
    pytest.param("mtcnn", "eyes", 96, marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("detector", "align", "size"), ALIGNMENTS)
def test_every_detector_and_alignment(people: Path, tmp_path: Path, detector: str, align: str, size: int) -> None:
    if detector == "mtcnn":
        pytest.importorskip("facenet_pytorch")
    result = prepare(people, tmp_path / "faces", detector=detector, align=align, size=size, pad="reflect")
    assert result.faces >= 0.85 * result.photos
    faces = open_faces(result.out)
    assert faces.fingerprint.detector.startswith(detector)
    assert faces.fingerprint.template.startswith(align)
    assert (faces.fingerprint.size, faces.fingerprint.padding) == (size, "reflect")
    assert {cv2.imread(str(result.out / path)).shape for path in faces.paths} == {(size, size, 3)}


def test_crops_of_another_alignment_are_refused_by_an_encoder(people: Path, tmp_path: Path) -> None:
    out = prepare(people, tmp_path / "faces", pad="reflect").out
    with pytest.raises(FingerprintError, match="padding is 'reflect' and 'black'"):
        list_pictures(EmbedConfig(), out, default_fingerprint(), Silent())


def test_existing_crops_keep_their_bytes_and_name_their_template(people: Path, tmp_path: Path) -> None:
    ready = prepare(people, tmp_path / "ready").out
    (ready / "manifest.sqlite").unlink()
    again = prepare(ready, tmp_path / "again", detector="none", assume="arcface").out
    assert crops(again) == crops(ready)
    fingerprint = open_faces(again).fingerprint
    assert (fingerprint.template, fingerprint.detector) == ("arcface", "unknown")
    assert len(list_pictures(EmbedConfig(), again, default_fingerprint(), Silent()).photos) == len(open_faces(again))
    larger = prepare(ready, tmp_path / "larger", detector="none", assume="arcface", size=160, format="png").out
    assert {cv2.imread(str(larger / path)).shape for path in open_faces(larger).paths} == {(160, 160, 3)}
    assert rows(larger, "box, landmarks, score")[0] == (None, None, None)


def test_a_wrong_template_is_detected(people: Path, real_data: Path, tmp_path: Path) -> None:
    for loose in (people, real_data / "celeba-layout"):
        with pytest.raises(ConfigError, match=r"these are not ArcFace crops.*remove --detector none or --assume"):
            prepare(loose, tmp_path / "faces", detector="none", assume="arcface")
    assert not (tmp_path / "faces").exists()
    out = prepare(people, tmp_path / "faces", detector="none").out
    with pytest.raises(FingerprintError, match="template is 'unknown'"):
        list_pictures(EmbedConfig(), out, default_fingerprint(), Silent())


def test_group_photographs(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(real_data / "photos" / "solvay_1927_group.jpg", tmp_path / "photos")
    shutil.copy(real_data / "photos" / "astronaut.png", tmp_path / "photos")
    every = prepare(tmp_path / "photos", tmp_path / "all", face="all")
    assert every.faces >= 26
    assert every.states["done"] == 2
    assert len(open_faces(every.out)) == every.faces
    more = json.loads(str(rows(every.out, "more")[1][0]))
    assert len(more) == every.faces - 2
    assert all((every.out / face["output"]).is_file() and len(face["landmarks"]) == 5 for face in more)
    assert prepare(tmp_path / "photos", tmp_path / "all", face="all").processed == 0
    (every.out / more[3]["output"]).unlink()
    assert prepare(tmp_path / "photos", tmp_path / "all", face="all").processed == 1
    with pytest.raises(TooManyBadFilesError):
        prepare(tmp_path / "photos", tmp_path / "only", face="only", max_bad=0)
    assert rows(tmp_path / "only") == [("astronaut.png", None), ("solvay_1927_group.jpg", "more than one face")]
    assert int(str(rows(tmp_path / "only", "faces")[1][0])) >= 25
    large = prepare(tmp_path / "photos", tmp_path / "large", face="all", min_size=100)
    assert 1 <= large.faces < 20
    boxes = [json.loads(str(box)) for (box,) in rows(large.out, "box") if box]
    assert min(min(box[2:]) for box in boxes) >= 100
    first = {choice: prepare(tmp_path / "photos", tmp_path / choice, face=choice).out for choice in ("center", "best")}
    assert rows(first["center"], "box")[1] != rows(first["best"], "box")[1]
    assert rows(first["best"], "score")[1][0] == max(
        [face["score"] for face in more] + [rows(every.out, "score")[1][0]]
    )


def test_blurred_photographs_are_left_out_and_are_not_bad(people: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(people, tmp_path / "photos"))
    victim = next(iter(sorted(photos.glob("*/*.jpg"))))
    cv2.imwrite(str(victim), cv2.GaussianBlur(cv2.imread(str(victim)), (0, 0), 4))
    result = prepare(photos, tmp_path / "faces", min_sharpness=30.0, max_bad=0.0)
    reasons = dict(rows(result.out))
    assert reasons[victim.relative_to(photos).as_posix()] == "not sharp enough"
    assert result.bad == 0
    assert min(grade for (grade,) in rows(result.out, "sharpness") if grade is not None) >= 30


def test_people_with_too_few_or_too_many_photographs(people: Path, tmp_path: Path) -> None:
    counts = {album.name: len(os.listdir(album)) for album in people.iterdir()}
    least = sorted(counts.values())[1]
    few = prepare(people, tmp_path / "few", min_images=least)
    kept = {name for name, count in counts.items() if count >= least}
    assert set(open_faces(few.out).people) == kept
    assert few.reasons.get("too few pictures of this person", 0) == sum(counts[name] for name in counts.keys() - kept)
    most = prepare(people, tmp_path / "most", max_per_identity=3)
    assert (most.faces, most.bad, most.processed) == (12, 0, 12)
    # Nothing was done that another limit would not need as well, and nothing is repeated.
    more = prepare(people, tmp_path / "most", max_per_identity=4)
    assert (more.faces, more.processed) == (16, 4)
    less = prepare(people, tmp_path / "most", max_per_identity=2)
    assert (less.faces, less.processed) == (8, 0)
    assert crops(less.out) == crops(prepare(people, tmp_path / "afresh", max_per_identity=2).out)
    assert rows(less.out, "*") == rows(tmp_path / "afresh", "*")


def test_limits_on_people_need_identities(people: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this source has no identities"):
        prepare(people, tmp_path / "faces", layout="flat", min_images=3)


def test_png_keeps_every_value(people: Path, tmp_path: Path) -> None:
    exact, lossy = prepare(people, tmp_path / "png", format="png").out, prepare(people, tmp_path / "jpg").out
    for one, other in zip(open_faces(exact).paths, open_faces(lossy).paths, strict=True):
        assert one.removesuffix(".png") == other.removesuffix(".jpg")
        difference = cv2.imread(str(exact / one)).astype(int) - cv2.imread(str(lossy / other))
        assert 0 < np.abs(difference).mean() < 3


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(people: Path, tmp_path: Path) -> None:
    photos, out = Path(shutil.copytree(people, tmp_path / "photos")), tmp_path / "faces"

    def plan(**options: object) -> PreparePlan:
        planned = run(PrepareConfig(source=photos, out=out, dry_run=True, **options), Silent())  # type: ignore[arg-type]
        assert isinstance(planned, PreparePlan)
        return planned

    total = len(list(photos.glob("*/*.jpg")))
    first = plan()
    assert (first.photos, first.people, first.todo, first.finished, first.removed) == (total, 4, total, 0, 0)
    assert not out.exists()
    prepare(photos, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    shutil.rmtree(sorted(photos.iterdir())[0])
    shutil.copy(next(photos.glob("*/*.jpg")), photos / "new.jpg")
    then = plan()
    assert (then.todo, then.removed) == (1, total - then.photos + 1)
    assert plan(max_per_identity=2).todo == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(ConfigError, match="size 112, not 96"):
        plan(size=96)


def test_failed_and_skipped_photos_can_be_retried(people: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(people, tmp_path / "photos"))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    wall = photos / "wall.png"
    cv2.imwrite(str(wall), np.full((80, 80, 3), 90, np.uint8))
    out = prepare(photos, tmp_path / "faces").out
    assert prepare(photos, out).processed == 0
    assert prepare(photos, out, retry="failed").processed == 1
    assert prepare(photos, out, retry="skipped").processed == 1


def packed(people: Path, target: Path) -> Path:
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(people.glob("*/*.jpg"), reverse=True):
                archive.write(path, f"lfw/{path.relative_to(people)}")
    else:
        with tarfile.open(target, "w:gz" if target.suffix == ".tgz" else "w") as archive:
            archive.add(people, "lfw")
    return target


@pytest.mark.parametrize("name", ["lfw.zip", "lfw.tar", "lfw.tgz"])
def test_archives_give_what_the_folder_gives(people: Path, tmp_path: Path, name: str) -> None:
    plain = prepare(people, tmp_path / "plain")
    archive = packed(people, tmp_path / name)
    result = prepare(archive, tmp_path / "faces")
    assert result.layout == plain.layout == "lfw"
    assert crops(result.out) == crops(plain.out)
    assert prepare(archive, tmp_path / "faces").processed == 0
    together = run(PrepareConfig(source=archive, out=tmp_path / "two", workers=2), Silent())
    assert isinstance(together, PrepareResult)
    assert crops(together.out) == crops(plain.out)


def test_a_list_on_standard_input_only_adds(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / os.fsdecode(b"my \n caf\xe9") / "1.jpg"
    odd.parent.mkdir()
    shutil.copy(sorted(people.glob("*/*.jpg"))[0], odd)

    def listed(paths: list[Path], **options: object) -> PrepareResult:
        text = b"\0".join(os.fsencode(path) for path in paths) + b"\0"
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
        return prepare(Path("-"), tmp_path / "faces", null=True, **options)

    everything = sorted(people.glob("*/*.jpg"))
    first = listed([*everything[:3], odd])
    assert (first.faces, first.people) == (4, 0)
    crops = list((tmp_path / "faces").glob("*/*.jpg"))  # as `find .` lists them with the rest
    second = listed([*everything[3:5], *crops])
    assert (second.processed, second.removed, second.faces) == (2, 0, 6)
    assert len(open_faces(second.out)) == 6
