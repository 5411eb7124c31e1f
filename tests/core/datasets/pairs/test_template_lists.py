from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.datasets.pairs.template_lists import read_template_lists
from faceclr_cli.core.errors import DataError

ROWS = [("1.jpg", "5", "70"), ("2.jpg", "5", "70"), ("3.jpg", "9", "71"), ("1.jpg", "9", "72")]
FORMS = {
    "ijbc_face_tid_mid.txt": "".join(f"{a} {b} {c}\n" for a, b, c in ROWS),
    "windows.txt": "".join(f"{a} {b} {c}\r\n" for a, b, c in ROWS),
    "table.csv": "path,template,media\n" + "".join(f"{a},{b},{c}\n" for a, b, c in ROWS),
    "turned.tsv": "media\tother\ttid\timage\n" + "".join(f"{c}\tx\t{b}\t{a}\n" for a, b, c in ROWS),
    "nist.csv": "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X\n"
    + "".join(f"{b},{int(b) + 1},{a},{c},3\n" for a, b, c in ROWS),
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, newline="")
    return path


@pytest.mark.parametrize("name", list(FORMS))
def test_every_form_gives_the_same_templates(name: str, tmp_path: Path) -> None:
    found = read_template_lists([write(tmp_path / name, FORMS[name])])
    rows = [
        (path, found.names[number], medium)
        for path, number, medium in zip(found.paths, found.templates, found.media, strict=True)
    ]
    assert rows == ROWS
    assert found.people == ({"5": "6", "9": "10"} if name == "nist.csv" else {})


def test_pictures_and_people_may_come_from_two_files(tmp_path: Path) -> None:
    pictures = write(tmp_path / "a.txt", "1.jpg 5\n2.jpg 9\n")
    people = write(tmp_path / "b.csv", "template,person\n9,zoe\n")
    found = read_template_lists([pictures, people])
    assert (found.names, found.people, found.media) == (["5", "9"], {"9": "zoe"}, ["1.jpg", "2.jpg"])
    assert read_template_lists([people], pictures=False).names == ["9"]
    chosen = write(tmp_path / "c.csv", "template\n5\n9\n")
    assert read_template_lists([chosen], pictures=False).names == ["5", "9"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contains no pictures of templates"),
        ("1.jpg 5 70\n2.jpg 5\n", "list.txt:2: expected the columns|list.txt:2: expected 'path template'"),
        ("path,template\na.jpg,1\nb.jpg,\n", "list.txt:3: the template is empty"),
        ("path,template,person\na.jpg,1,ann\nb.jpg,1,bob\n", "list.txt:3: template 1 has two people, ann and bob"),
        ("template,person\n1,ann\n", "contains no pictures"),
        ("just some words in a file\n", "list.txt:1: expected"),
    ],
)
def test_a_bad_line_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_template_lists([write(tmp_path / "list.txt", text)])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: cannot be read"):
        read_template_lists([tmp_path / "none.txt"])
