from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.plots.picture_counts import count_classes, count_top_people, draw_counts


def _folder(root: Path, people: dict[str, int]) -> Path:
    for person, pictures in people.items():
        (root / person).mkdir(parents=True)
        for number in range(pictures):
            (root / person / f"{number}.jpg").touch()
    write_json(root / "faceclr.json", {**stamp("faces", {}), "fingerprint": default_fingerprint().to_json()})
    return root


def _words(faces: Path) -> list[str]:
    """Returns the texts in the picture, in drawing order; SVG keeps each text as a comment."""
    target = faces.with_suffix(".svg")
    draw_counts(faces, target)
    return re.findall(r"<!-- (.*?) -->", target.read_text())


def test_few_people_have_a_bar_each_and_the_most_pictured_comes_first(tmp_path: Path) -> None:
    words = _words(_folder(tmp_path / "faces", {"ann": 2, "bob": 5, "cid": 3, "dan": 3}))
    assert [word for word in words if word.isalpha()] == ["bob", "cid", "dan", "ann"]
    assert [words[words.index(name) + 1] for name in ("bob", "cid", "dan", "ann")] == ["5", "3", "3", "2"]
    assert "13 faces of 4 people" in words
    assert "2 to 5 per person  ·  mean 3.2  ·  median 3" in words


def test_bars_are_as_long_as_people_have_pictures(tmp_path: Path) -> None:
    draw_counts(_folder(tmp_path / "faces", {"ann": 40, "bob": 10}), tmp_path / "counts.png")
    image = cv2.imread(str(tmp_path / "counts.png")).astype(int)
    inked = (np.abs(image - (0x88, 0x22, 0x33)).max(axis=2) < 8).sum(axis=1)
    long, short = inked[inked > 100].max(), inked[inked > 100].min()
    assert long == pytest.approx(4 * short, rel=0.02)


def test_many_people_are_summed_up(tmp_path: Path) -> None:
    people = {f"p{number:02d}": 1 if number < 25 else 3 if number < 49 else 103 for number in range(50)}
    words = _words(_folder(tmp_path / "faces", people))
    assert "200 faces of 50 people" in words
    assert "1 to 103 per person  ·  mean 4.0  ·  median 2" in words
    assert "Half of the faces belong to 1 of 50 people (2%)" in words
    table = words[words.index("with fewer") + 1 :][:21]
    assert table[:6] == ["1", "25", "0", "2–4", "24", "25 (50%)"]
    assert table[-3:] == ["100–199", "1", "49 (98%)"]
    assert "p00" not in words


def test_faces_of_unknown_people_are_counted_separately(tmp_path: Path) -> None:
    some = _words(_folder(tmp_path / "some", {"ann": 3, "_": 2}))
    assert {"3 faces of 1 person", "3 per person  ·  and 2 faces of unknown people"} < set(some)
    assert set(_words(_folder(tmp_path / "none", {"_": 4}))) == {"4 faces of unknown people", "unknown", "4"}


@pytest.mark.parametrize("people", [1, 40, 41, 300])
def test_any_number_of_people_fits(tmp_path: Path, people: int) -> None:
    words = _words(_folder(tmp_path / "faces", {f"p{number:03d}": 2 for number in range(people)}))
    assert f"{2 * people} faces of {people} {'person' if people == 1 else 'people'}" in words


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp", "pdf", "svg"])
def test_the_same_folder_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    faces = _folder(tmp_path / "faces", {f"p{number}": 1 + number for number in range(45)})
    draw_counts(faces, tmp_path / f"a.{suffix}")
    draw_counts(faces, tmp_path / f"b.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_format_that_cannot_be_drawn_is_named_before_anything_is_read(tmp_path: Path) -> None:
    for name in ("counts.bmp", "counts"):
        with pytest.raises(ConfigError, match=r"use \.jpg, \.png, \.webp, \.pdf or \.svg"):
            draw_counts(tmp_path / "missing", tmp_path / name)
    with pytest.raises(ConfigError, match="is a folder"):
        (tmp_path / "out.png").mkdir()
        draw_counts(tmp_path / "missing", tmp_path / "out.png")


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    faces = _folder(tmp_path / "faces", {"ann": 1})
    with pytest.raises(DataError, match=r"cannot be written \(.*\)$"):
        draw_counts(faces, faces / "ann" / "0.jpg" / "counts.png")


def test_odd_names_are_drawn_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    odd = ["caf\udce9", "李雷", "$x^2$", "two\nlines", "n" * 200, "Zoë"]
    words = _words(_folder(tmp_path / "faces", dict.fromkeys(odd, 2)))
    assert {"caf\\udce9", "\\u674e\\u96f7", "$x^2$", "two\\nlines", "Zoë"} < set(words)
    assert any(re.fullmatch("n{5,}…n{5,}", word) for word in words)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize("low, high", [(1, 1), (1, 9), (1, 700), (480, 520), (37, 41), (3, 59), (1, 10_000)])
def test_classes_hold_every_count_once(low: int, high: int) -> None:
    counts = np.unique(np.geomspace(low, high, 200).round().astype(np.int64))
    ranges = count_classes(counts)
    assert len(ranges) <= 14
    assert all(sum(first <= count <= last for first, last in ranges) == 1 for count in counts)
    # None of them lies wholly outside.
    assert all(first <= high and last >= low for first, last in ranges)


def test_the_richest_half_is_the_fewest_people_who_have_half() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = rng.integers(1, 30, size=rng.integers(1, 20))
        descending = sorted(counts, reverse=True)
        slow = next(n for n in range(1, 21) if 2 * sum(descending[:n]) >= sum(descending))
        assert count_top_people(counts) == slow
