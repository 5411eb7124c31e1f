"""`prepare --landmarks`: faces whose landmarks another detector found."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.datasets.joined_faces import join
from faceclr_cli.core.datasets.packed_faces import open_packed
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError, TooManyBadFilesError
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.faces.align import Alignment
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint, fingerprint_for_landmarks
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing.ledger import Ledger
from faceclr_cli.core.preparing.prepare import PreparePlan, PrepareResult
from faceclr_cli.core.preparing.prepare import prepare as run

Faces = list[dict[str, Any]]


class Heard:
    def __init__(self) -> None:
        self.notices: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, and the faces that YuNet found in them."""
    root = tmp_path_factory.mktemp("drawn")
    write_people(root / "photos", people=2, photos=3, seed=0, reporter=Silent())
    run(PrepareConfig(source=root / "photos", out=root / "faces", workers=1, format="png"), Silent())
    return root


@pytest.fixture
def place(drawn: Path, tmp_path: Path) -> Path:
    shutil.copytree(drawn / "photos", tmp_path / "photos")
    return tmp_path


@pytest.fixture
def found(drawn: Path) -> Faces:
    with sqlite3.connect(drawn / "faces" / "manifest.sqlite") as ledger:
        rows = ledger.execute("SELECT path, landmarks, box, score FROM photos ORDER BY path").fetchall()
    return [
        {"path": path, "landmarks": json.loads(points), "box": json.loads(box), "score": score}
        for path, points, box, score in rows
    ]


def write(place: Path, faces: Faces, name: str = "points.jsonl") -> Path:
    (place / name).write_text("".join(f"{json.dumps(face)}\n" for face in faces))
    return place / name


def prepare(place: Path, faces: Faces | Path, heard: Heard | None = None, **options: Any) -> PrepareResult:
    file = faces if isinstance(faces, Path) else write(place, faces)
    defaults: dict[str, Any] = {"out": place / "faces", "workers": 1, "format": "png"}
    config = PrepareConfig(source=place / "photos", landmarks=file, **(defaults | options))
    result = run(config, heard or Silent())
    assert isinstance(result, PrepareResult)
    return result


def crops(folder: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(folder)): cv2.imread(str(path)) for path in sorted(folder.rglob("*.png"))}


def reasons(result: PrepareResult) -> dict[str, str]:
    with Ledger.open_to_read(result.ledger) as ledger:
        return {row.path: row.reason.value for row in ledger.rows() if row.reason is not None}


def test_the_points_of_a_detector_give_its_crops(drawn: Path, place: Path, found: Faces) -> None:
    result = prepare(place, found)
    assert (result.faces, result.people, result.bad) == (6, 2, 0)
    wanted, made = crops(drawn / "faces"), crops(result.out)
    assert wanted.keys() == made.keys()
    for name, crop in made.items():  # The ledger rounds points to hundredths of a pixel.
        assert np.abs(crop.astype(int) - wanted[name]).mean() < 0.3
    assert open_faces(result.out).fingerprint.to_json() == {
        "detector": "landmarks",
        "detector_digest": "unknown",
        "template": "arcface",
        "size": 112,
        "interpolation": "area-linear",
        "padding": "black",
        "channels": "rgb",
        "normalisation": "none",
    }


def flat(face: dict[str, Any]) -> list[Any]:
    return [face["path"], *np.ravel(face["landmarks"]).tolist()]


def write_csv(path: Path, rows: list[list[Any]], encoding: str = "utf-8", delimiter: str = ",") -> Path:
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


HEADER = "path left_eye_x left_eye_y right_eye_x right_eye_y nose_x nose_y left_mouth_x left_mouth_y right_mouth_x"
CELEBA = "image_id lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x"

FORMS: dict[str, Callable[[Faces], list[list[Any]]]] = {
    "points alone": lambda faces: [flat(face) for face in faces],
    "with scores": lambda faces: [[*flat(face), face["score"]] for face in faces],
    "with scores and spaces, as in IJB": lambda faces: [[*flat(face), face["score"]] for face in faces],
    "with boxes": lambda faces: [[*flat(face), *face["box"]] for face in faces],
    "with both": lambda faces: [[*flat(face), face["score"], *face["box"]] for face in faces],
    "CelebA's header": lambda faces: [[*CELEBA.split(), "rightmouth_y"], *map(flat, faces)],
    "other columns": lambda faces: [
        ["score", "note", *HEADER.split(), "right_mouth_y"],
        *([face["score"], "x, y", *flat(face)] for face in faces),
    ],
}


@pytest.mark.parametrize("form", list(FORMS))
def test_csv_says_the_same_as_json(place: Path, found: Faces, form: str) -> None:
    wanted = crops(prepare(place, found, out=place / "json").out)
    encoding, delimiter = "utf-16" if form == "with both" else "utf-8", " " if "spaces" in form else ","
    file = write_csv(place / "points.csv", FORMS[form](found), encoding, delimiter)
    made = crops(prepare(place, file, out=place / "csv").out)
    assert wanted.keys() == made.keys()
    assert all(np.array_equal(made[name], wanted[name]) for name in made)


def test_paths_may_be_absolute_or_relative_to_the_working_directory(
    place: Path, found: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    for number, prefix in enumerate((f"{place}/photos/", "photos/", "./photos/")):
        faces = [face | {"path": prefix + face["path"]} for face in found]
        assert prepare(place, faces, out=place / str(number)).faces == 6
    backslashes = [face | {"path": face["path"].replace("/", "\\")} for face in found]
    assert prepare(place, backslashes, out=place / "windows").faces == 6


def two_faces(place: Path, found: Faces) -> Faces:
    """Adds, beside the first photo's face, another one of half the size."""
    first = found[0]
    picture = cv2.imread(str(place / "photos" / first["path"]))
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.zeros((picture.shape[0], picture.shape[1] + half.shape[1], 3), np.uint8)
    both[:, : picture.shape[1]] = picture
    both[: half.shape[0], picture.shape[1] :] = half
    cv2.imwrite(str(place / "photos" / first["path"]), both, [cv2.IMWRITE_JPEG_QUALITY, 100])
    points = (np.array(first["landmarks"]) / 2 + [picture.shape[1], 0]).tolist()
    left, top, width, height = (side / 2 for side in first["box"])
    box = [left + picture.shape[1], top, width, height]
    return [{"path": first["path"], "landmarks": points, "box": box, "score": 0.999}, *found]


def test_of_several_faces_the_selection_decides(place: Path, found: Faces) -> None:
    faces = two_faces(place, found)
    name, small = faces[0]["path"], faces[0]["landmarks"]

    def taken(**options: Any) -> list[Any]:
        out = place / "-".join(f"{key}{value}" for key, value in options.items())
        result = prepare(place, faces, out=out, **options)
        with Ledger.open_to_read(result.ledger) as ledger:
            row = next(row for row in ledger.rows() if row.path == name)
        assert row.faces == 2 or row.reason is not None
        return [row.reason, json.loads(row.landmarks or "[]"), len(row.outputs)]

    assert taken(face="largest")[1] == pytest.approx(np.array(found[0]["landmarks"]), abs=0.02)
    assert taken(face="best")[1] == pytest.approx(np.array(small), abs=0.02)
    assert taken(face="all")[2] == 2
    assert taken(face="only")[0] == "more than one face"
    assert taken(face="best", min_size=int(faces[0]["box"][2]) + 2)[1] == pytest.approx(
        np.array(found[0]["landmarks"]), abs=0.02
    )


def test_a_box_is_estimated_where_none_is_given(place: Path, found: Faces) -> None:
    result = prepare(place, [face | {"box": None, "score": None} for face in found])
    with Ledger.open_to_read(result.ledger) as ledger:
        for row, face in zip(ledger.rows(), found, strict=True):
            left, top, width, height = face["box"]
            mine = json.loads(row.box or "")
            assert mine[2:] == pytest.approx([width, height], rel=0.35)
            assert abs(mine[0] + mine[2] / 2 - left - width / 2) < 0.25 * width
            assert abs(mine[1] + mine[3] / 2 - top - height / 2) < 0.25 * height
            assert row.score is None


def test_photos_without_usable_points_are_recorded(place: Path, found: Faces) -> None:
    (place / "photos" / "person-01" / "text.jpg").write_text("not a picture")
    wide = np.array(found[1]["landmarks"])
    outside = found[1] | {"landmarks": (wide + np.array([5000, 0])).tolist()}
    swapped = found[2] | {"landmarks": [found[2]["landmarks"][place] for place in (1, 0, 2, 4, 3)]}
    heard = Heard()
    result = prepare(place, [*found[3:], outside, swapped, swapped | {"path": "nobody/1.jpg"}], heard, max_bad=1.0)
    assert reasons(result) == {
        found[0]["path"]: "no landmarks given",
        found[1]["path"]: "unusable landmarks",
        found[2]["path"]: "unusable landmarks",
        "person-01/text.jpg": "not a picture",
    }
    assert (result.faces, result.photos) == (3, 7)
    notices = "\n".join(heard.notices)
    assert "points.jsonl:4: the points are outside the photograph" in notices
    assert "points.jsonl:5, 6: the points are in the wrong order; it must be left eye, right eye, nose" in notices
    assert f"not in {place / 'photos'}: nobody/1.jpg" in notices
    with pytest.raises(TooManyBadFilesError, match="no landmarks given"):
        prepare(place, found[3:], out=place / "other", max_bad=0.1)


@pytest.mark.parametrize("order", [(1, 0, 2, 4, 3), (0, 1, 3, 4, 2), (0, 1, 2, 4, 3), (3, 4, 2, 0, 1)])
def test_a_file_in_another_order_is_refused(place: Path, found: Faces, order: tuple[int, ...]) -> None:
    faces = [face | {"landmarks": [face["landmarks"][rank] for rank in order]} for face in found]
    with pytest.raises(DataError, match=r"points\.jsonl:1: the points are in the wrong order, .* of 6 lines"):
        prepare(place, faces)
    assert not (place / "faces").exists()


def test_faces_in_any_rotation_and_in_profile_are_in_order(place: Path, found: Faces) -> None:
    turned: Faces = []
    for turn, face in zip((90, 180, 270, 45), found[:4], strict=True):
        x, y = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        points = np.array(face["landmarks"])
        middle = points.mean(axis=0)
        turned.append(face | {"landmarks": ((points - middle) @ [[x, y], [-y, x]] + middle).tolist()})
    profile = found[4] | {"landmarks": [[100, 60], [98, 60], [85, 80], [99, 100], [98, 101]]}
    assert prepare(place, [*turned, profile, found[5]]).faces == 6


BAD_JSON = {
    '{"path": "a.jpg"': "not JSON",
    '["a.jpg"]': "expected an object",
    '{"landmarks": [1]}': "expected an object with 'path' and 'landmarks'",
    '{"path": "a.jpg", "landmarks": [[1, 2], [3, 4], [5, 6], [7, 8]]}': "expected ten coordinates of five points",
    '{"path": "a.jpg", "landmarks": [10, 20, 30, 20, 20, NaN, 10, 40, 30, 40]}': "expected ten coordinates",
    '{"path": "a.jpg", "landmarks": [10, 20, 30, 20, 20, 1e400, 10, 40, 30, 40]}': "expected ten coordinates",
    '{"path": "a.jpg", "landmarks": [10, 20, 30, 20, 20, true, 10, 40, 30, 40]}': "expected ten coordinates",
    '{"path": "a.jpg", "landmarks": [0.1, 0.2, 0.3, 0.2, 0.2, 0.3, 0.1, 0.4, 0.3, 0.4]}': "the points coincide",
    '{"path": "a.jpg", "landmarks": [10, 20, 30, 20, 20, 30, 10, 40, 30, 40], "score": "high"}': "expected a score",
    '{"path": "a.jpg", "landmarks": [10, 20, 30, 20, 20, 30, 10, 40, 30, 40], "box": [1, 2, 3]}': "expected a box",
    '{"path": "a.jpg", "landmarks": [10, 20, 30, 20, 20, 30, 10, 40, 30, 40], "box": [9, 9, 3, -4]}': "has no area",
    '{"path": " ", "landmarks": [10, 20, 30, 20, 20, 30, 10, 40, 30, 40]}': "the path is empty",
    "[" * 100_000: "not JSON",
}


@pytest.mark.parametrize("line", list(BAD_JSON), ids=range(len(BAD_JSON)))
def test_a_bad_line_of_json_is_named(place: Path, found: Faces, line: str) -> None:
    file = write(place, found[:2])
    file.write_text(f"{file.read_text()}\n{line}\n{file.read_text()}")
    with pytest.raises(DataError, match=rf"points\.jsonl:4: .*{BAD_JSON[line]}") as caught:
        prepare(place, file)
    assert len(str(caught.value)) < 400
    assert not (place / "faces").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["a.jpg", 1, 2, 3], "4 columns; expected path, left_eye_x"),
        (["a.jpg", *"abcdefghij"], "expected ten coordinates"),
        (["a.jpg", 10, 20, 30, 20, 20, "nan", 10, 40, 30, 40], "expected ten coordinates"),
        (["a.jpg", 10, 20, 30, 20, 20, "", 10, 40, 30, 40], "expected ten coordinates"),
    ],
)
def test_a_bad_line_of_csv_is_named(place: Path, found: Faces, row: list[Any], message: str) -> None:
    file = write_csv(place / "points.csv", [*map(flat, found[:2]), row])
    with pytest.raises(DataError, match=rf"points\.csv:3: .*{message}"):
        prepare(place, file)


def test_files_that_are_no_list_of_landmarks_are_refused(place: Path, found: Faces) -> None:
    for content, message in (
        (b"", "contains no landmarks"),
        (b"\0\1\2", "NUL"),
        (b'"', "not CSV"),
        (b"image,x,y\na.jpg,1,2\n", "points:1: the header lacks"),
        (b"x" * 200_000, "not CSV|columns"),
    ):
        (place / "points").write_bytes(content)
        with pytest.raises(DataError, match=message):
            prepare(place, place / "points")
    with pytest.raises(DataError, match="no such file"):
        prepare(place, place / "nothing")
    with pytest.raises(DataError, match=r"none of the photographs in it, such as nobody\.jpg, is in"):
        prepare(place, [found[0] | {"path": "nobody.jpg"}])
    both = [found[0], found[0] | {"path": f"{place}/photos/{found[0]['path']}"}]
    with pytest.raises(DataError, match="are the same photograph"):
        prepare(place, both)


def test_options_that_need_more_than_points_say_so(place: Path, found: Faces) -> None:
    bare = [{"path": face["path"], "landmarks": face["landmarks"]} for face in found]
    for options, message in (
        ({"face": "best"}, "has a score, which --face best"),
        ({"min_score": 0.5}, "has a score"),
        ({"align": "eyes"}, "has a box, which --align eyes requires; add boxes, or use --align arcface"),
    ):
        with pytest.raises(DataError, match=message):
            prepare(place, bare, **options)
    assert prepare(place, found, align="eyes", out=place / "eyes").faces == 6
    lowest = min(face["score"] for face in found)
    result = prepare(place, found, min_score=lowest + 1e-6, out=place / "sure")
    assert list(reasons(result).values()) == ["no face found"]
    with pytest.raises(ValueError, match="omit --detector"):
        PrepareConfig(source=place, landmarks=place, detector="haar")


def test_only_photos_with_changed_points_are_processed_again(place: Path, found: Faces) -> None:
    first = prepare(place, found[:5], max_bad=1.0)
    assert first.processed == 6
    (place / "points.jsonl").rename(place / "moved.jsonl")
    assert prepare(place, place / "moved.jsonl").processed == 0
    moved = found[0] | {"landmarks": (np.array(found[0]["landmarks"]) + 1).tolist()}
    before = crops(first.out)
    again = prepare(place, [moved, *found[1:]])
    assert again.processed == 2  # the changed one, and the one without points
    assert again.faces == 6
    after = crops(again.out)
    assert [name for name in before if not np.array_equal(before[name], after[name])] == ["person-01/01.png"]
    fresh = prepare(place, [moved, *found[1:]], out=place / "fresh")
    assert all(np.array_equal(after[name], crop) for name, crop in crops(fresh.out).items())
    file, out = write(place, found), place / "faces"
    config = PrepareConfig(source=place / "photos", out=out, format="png", dry_run=True, landmarks=file)
    plan = run(config, Silent())
    assert isinstance(plan, PreparePlan)
    assert (plan.todo, plan.finished) == (1, 5)


def test_moved_photos_keep_their_faces(place: Path, found: Faces) -> None:
    prepare(place, found)
    (place / "photos").rename(place / "elsewhere")
    config = PrepareConfig(
        source=place / "elsewhere", out=place / "faces", format="png", landmarks=place / "points.jsonl", workers=1
    )
    result = run(config, Silent())
    assert isinstance(result, PrepareResult)
    assert (result.processed, result.faces) == (0, 6)


def test_photos_that_are_gone_leave_nothing_in_the_ledger(place: Path, found: Faces) -> None:
    prepare(place, found)
    shutil.rmtree(place / "photos" / "person-01")
    result = prepare(place, found[3:])
    assert result.faces == 3
    assert b"person-01" not in b"".join(
        str(row).encode() for row in sqlite3.connect(result.ledger).execute("SELECT * FROM given_faces")
    )


def test_limits_per_person_are_stable(place: Path, found: Faces) -> None:
    assert prepare(place, found, max_per_identity=2).faces == 4
    assert prepare(place, found, max_per_identity=2).processed == 0
    assert prepare(place, found, max_per_identity=3).processed == 2


def test_archives_and_worker_processes_give_the_same(place: Path, found: Faces) -> None:
    wanted = crops(prepare(place, found).out)
    shutil.make_archive(str(place / "photos"), "zip", place / "photos")
    for number in range(12):
        for face in found:
            shutil.copy(place / "photos" / face["path"], place / "photos" / face["path"].replace(".", f"-{number}."))
    more = [face | {"path": face["path"].replace(".", f"-{number}.")} for number in range(12) for face in found]
    assert prepare(place, [*found, *more], out=place / "many", workers=2).faces == 13 * 6
    assert all(np.array_equal(crops(place / "many")[name], crop) for name, crop in wanted.items())
    config = PrepareConfig(source=place / "photos.zip", out=place / "zip", format="png", landmarks=write(place, found))
    run(config, Silent())
    assert all(np.array_equal(crops(place / "zip")[name], crop) for name, crop in wanted.items())


def test_an_upright_photo_is_meant(place: Path, found: Faces) -> None:
    wanted = crops(prepare(place, found).out)
    from PIL import Image

    for face in found:
        with Image.open(place / "photos" / face["path"]) as picture:
            exif = Image.Exif()
            exif[0x0112] = 6  # turned a quarter; shown clockwise
            picture.transpose(Image.Transpose.ROTATE_90).save(place / "photos" / face["path"], quality=100, exif=exif)
    turned = crops(prepare(place, found, out=place / "turned").out)
    assert all(np.abs(turned[name].astype(int) - crop).mean() < 4 for name, crop in wanted.items())


def test_fingerprints_are_compared(place: Path, drawn: Path, found: Faces) -> None:
    result = prepare(place, found)
    given = open_faces(result.out).fingerprint
    given.require_same_crops(default_fingerprint(), "a", "b")
    with pytest.raises(FingerprintError, match="detector is"):
        given.require_same(default_fingerprint(), "a", "b")
    with pytest.raises(FingerprintError, match="size"):
        given.require_same_crops(default_fingerprint(160), "a", "b")
    joined = join([(root, open_packed(open_faces(root), Silent(), place)) for root in (drawn / "faces", result.out)])
    assert (joined.fingerprint.detector, joined.fingerprint.detector_digest) == ("landmarks", "unknown")
    # An encoder that was trained on such faces takes photographs: the default detector finds their faces.
    cropper = PhotoCropper(fingerprint_for_landmarks(Alignment(method="eyes", size=96)))
    assert cropper.fingerprint.detector == default_fingerprint().detector
    assert cropper.crop_file(place / "photos" / found[0]["path"]).crop.shape == (96, 96, 3)
    with pytest.raises(ConfigError, match="contains faces made with detector landmarks, not yunet"):
        run(PrepareConfig(source=place / "photos", out=result.out, format="png"), Silent())


def test_a_person_who_is_forgotten_leaves_no_points(place: Path, found: Faces) -> None:
    result = prepare(place, found)
    with Ledger.open(result.ledger, {}) as ledger:
        ledger.forget("person-01")
    assert b"person-01" not in result.ledger.read_bytes()
    with Ledger.open_to_read(result.ledger) as ledger:
        assert set(ledger.given_digests()) == {face["path"] for face in found[3:]}
