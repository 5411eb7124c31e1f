from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.align import ARCFACE
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.plots.contact_sheet import draw_sheet
from faceclr_cli.core.preparing.ledger import Ledger, Row, RowState

Color = tuple[int, int, int]
RED, GREEN, BLUE, MAGENTA = (220, 30, 30), (30, 200, 30), (30, 30, 220), (200, 0, 200)


def _plain(color: Color, height: int = 112, width: int = 112) -> bytes:
    image = np.full((height, width, 3), color[::-1], np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def _prepared(
    root: Path,
    crops: Mapping[str, Color],
    refused: Sequence[tuple[str, Reason]] = (),
    *,
    template: str = "arcface",
    size: int = 112,
) -> Path:
    """A folder of plain crops, as `prepare` writes it, with a ledger that lists rejected photographs."""
    root.mkdir()
    with Ledger.open(root / "manifest.sqlite", {}) as ledger:
        for path, color in crops.items():
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_bytes(_plain(color, size, size))
            ledger.add(Row(path=path, state=RowState.DONE, output=path))
        for path, reason in refused:
            ledger.add(Row(path=path, state=RowState.SKIPPED, reason=reason))
    fingerprint = replace(default_fingerprint(), template=template, size=size)
    write_json(root / "faceclr.json", {**stamp("faces", {}), "fingerprint": fingerprint.to_json()})
    return root


def _drawn(faces: Path, source: Path) -> NDArray[np.int64]:
    draw_sheet(faces, source, faces.with_suffix(".png"))
    return cv2.imread(str(faces.with_suffix(".png")))[:, :, ::-1].astype(np.int64)


def _words(faces: Path, source: Path) -> list[str]:
    """Returns the texts on the sheet, in drawing order; SVG keeps each text as a comment."""
    draw_sheet(faces, source, faces.with_suffix(".svg"))
    return re.findall(r"<!-- (.*?) -->", faces.with_suffix(".svg").read_text())


def _shows(sheet: NDArray[np.int64], color: Color) -> int:
    """Returns the number of pixels with nearly this color."""
    return int((np.abs(sheet - color).max(axis=2) < 12).sum())


def test_crops_and_refused_photographs_are_shown_with_names_and_reasons(tmp_path: Path) -> None:
    faces = _prepared(
        tmp_path / "faces", {"ann/1.png": RED, "bob/2.png": GREEN}, [("x/party.png", Reason.SEVERAL)], template="none"
    )
    (tmp_path / "photos/x").mkdir(parents=True)
    (tmp_path / "photos/x/party.png").write_bytes(_plain(BLUE, 100, 200))
    sheet = _drawn(faces, tmp_path / "photos")
    assert _shows(sheet, RED) == pytest.approx(_shows(sheet, GREEN), rel=0.02)
    # A photograph is shown whole, twice as wide as high.
    assert _shows(sheet, BLUE) == pytest.approx(_shows(sheet, RED) / 2, rel=0.03)
    words = _words(faces, tmp_path / "photos")
    assert words[:2] == ["2 faces of 2 people", "1 of 3 photographs rejected"]
    assert {"ann/1", "bob/2", "Rejected: more than one face (1)", "x/party.png", "more than one face"} < set(words)


def test_unlabeled_faces_have_only_their_own_name(tmp_path: Path) -> None:
    words = _words(_prepared(tmp_path / "faces", {"_/me.png": RED}), tmp_path)
    assert words == ["1 face", "0 of 1 photograph rejected", "me"]
    mixed = _prepared(tmp_path / "mixed", {"_/me.png": RED, "ann/1.png": RED, "ann/2.png": RED})
    assert _words(mixed, tmp_path)[0] == "3 faces, 2 of 1 person"


def test_of_many_crops_a_random_choice_is_shown_that_another_seed_changes(tmp_path: Path) -> None:
    faces = _prepared(tmp_path / "faces", {f"p{number:02d}/1.png": RED for number in range(70)})
    words = _words(faces, tmp_path)
    assert words[1] == "random sample of 48; 0 of 70 photographs rejected"
    assert len(words[2:]) == len(set(words[2:])) == 48
    assert words[2:] == sorted(words[2:])
    draw_sheet(faces, tmp_path, tmp_path / "other.svg", seed=1)
    assert (tmp_path / "other.svg").read_bytes() != faces.with_suffix(".svg").read_bytes()


def test_rare_reasons_are_among_the_refused(tmp_path: Path) -> None:
    refused = [(f"{number:03d}.jpg", Reason.SURPLUS) for number in range(90)]
    refused += [("sea.jpg", Reason.NO_FACE), ("half.jpg", Reason.TRUNCATED), ("z.jpg", Reason.TRUNCATED)]
    words = _words(_prepared(tmp_path / "faces", {"ann/1.png": RED}, refused), tmp_path)
    heading = "Rejected: enough pictures of this person (90), truncated (2), no face found (1)"
    assert heading in " ".join(words)
    assert {"sea.jpg", "half.jpg", "z.jpg"} < set(words)
    assert sum(word.endswith(".jpg") for word in words) == 16


def test_only_sound_pictures_are_opened(tmp_path: Path) -> None:
    """A pipe would never end, a socket has no end, and a picture that crashed the decoder would do it again."""
    photos = tmp_path / "photos"
    photos.mkdir()
    os.mkfifo(photos / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(photos / "sock.jpg"))
    for name in ("crash.jpg", "cut.jpg"):
        (photos / name).write_bytes(_plain(BLUE))
    reasons = (Reason.NOT_A_FILE, Reason.UNREADABLE, Reason.CRASHED, Reason.TRUNCATED)
    refused = list(zip(("pipe.jpg", "sock.jpg", "crash.jpg", "cut.jpg"), reasons, strict=True))
    faces = _prepared(tmp_path / "faces", {"ann/1.png": RED}, refused)
    assert _shows(_drawn(faces, photos), BLUE) == 0
    assert {"pipe.jpg", "not a regular file", "crashed the decoder"} < set(_words(faces, photos))


def test_pictures_that_cannot_be_shown_any_more_are_frames(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "changed.jpg").write_bytes(b"no picture")
    refused = [("changed.jpg", Reason.NO_FACE), ("gone.jpg", Reason.SMALL)]
    faces = _prepared(tmp_path / "faces", {"ann/1.png": RED, "ann/2.png": GREEN}, refused)
    (faces / "ann/2.png").write_bytes(b"damaged since")
    assert {"ann/2", "changed.jpg", "gone.jpg"} < set(_words(faces, photos))
    sheet = _drawn(faces, photos)
    assert _shows(sheet, RED) > 1000
    assert _shows(sheet, GREEN) == 0


@pytest.mark.parametrize("size", [112, 240])
def test_the_marks_lie_where_the_template_puts_landmarks(tmp_path: Path, size: int) -> None:
    sheet = _drawn(_prepared(tmp_path / "faces", {"ann/1.png": MAGENTA}, size=size), tmp_path)
    near = np.abs(sheet - MAGENTA).max(axis=2) < 12
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    tile = sheet[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    marked = (np.abs(tile - MAGENTA).max(axis=2) > 40)[3:-3, 3:-3].astype(np.uint8)
    _, _, _, centers = cv2.connectedComponentsWithStats(cv2.dilate(marked, np.ones((3, 3))))
    found = (centers[1:] + 3 + 0.5) / len(tile)
    assert len(found) == 5
    expected = (ARCFACE + 0.5) / 112
    for point in expected:
        assert np.linalg.norm(found - point, axis=1).min() < 0.01


def test_other_templates_have_an_axis_or_no_marks(tmp_path: Path) -> None:
    def marked(template: str) -> int:
        faces = _prepared(tmp_path / template, {"ann/1.png": MAGENTA}, template=template)
        return _shows(_drawn(faces, tmp_path), MAGENTA)

    assert marked("eyes 0.2") < marked("none") == marked("box 0.2")


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp", "pdf", "svg"])
def test_the_same_folder_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    faces = _prepared(tmp_path / "faces", {"ann/1.png": RED, "bob/1.png": GREEN}, [("x.jpg", Reason.NO_FACE)])
    draw_sheet(faces, tmp_path, tmp_path / f"a.{suffix}")
    draw_sheet(faces, tmp_path, tmp_path / f"b.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_format_that_cannot_be_drawn_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sheet\.tga: .* use \.jpg, \.png, \.webp, \.pdf or \.svg"):
        draw_sheet(tmp_path / "missing", tmp_path, tmp_path / "sheet.tga")


def test_a_folder_without_its_ledger_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    faces = _prepared(tmp_path / "faces", {"ann/1.png": RED})
    (faces / "manifest.sqlite").unlink()
    with pytest.raises(DataError, match=r"manifest\.sqlite"):
        draw_sheet(faces, tmp_path, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_odd_names_are_drawn_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    odd = {f"{name}/{name}.png": RED for name in ("caf\udce9", "李", "$x$", "two\nlines", "n" * 200)}
    words = _words(_prepared(tmp_path / "faces", odd, [("雷\udce9.jpg", Reason.NO_FACE)]), tmp_path)
    assert {"caf\\udce9/caf\\udce9", "\\u674e/\\u674e", "$x$/$x$", "\\u96f7\\udce9.jpg"} < set(words)
    assert any(re.fullmatch("n{4,}…n{4,}", word) for word in words)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
