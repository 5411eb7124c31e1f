from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.datasets.pairs import template_pairs
from faceclr_cli.core.datasets.pairs.template_pairs import TemplatePairs
from faceclr_cli.core.errors import DataError

NAMES = ["7", "12", "3", "120"]
ROWS = [("7", "12", 1), ("3", "120", 0), ("12", "99", 0), ("120", "7", 1), ("4", "3", 1)]


def write(path: Path, text: str) -> Path:
    path.write_text(text, newline="")
    return path


def read(pairs: TemplatePairs) -> list[tuple[int, int, bool]]:
    blocks = list(pairs.blocks())
    return list(zip(*(np.concatenate([block[side] for block in blocks]).tolist() for side in range(3)), strict=True))


def expected(names: list[str]) -> list[tuple[int, int, bool]]:
    place = {name: number for number, name in enumerate(names)}
    return [(place.get(a, -1), place.get(b, -1), bool(same)) for a, b, same in ROWS]


FORMS = {
    "ijbc_template_pair_label.txt": "".join(f"{a} {b} {same}\n" for a, b, same in ROWS),
    "windows.txt": "".join(f"{a} {b} {same}\r\n" for a, b, same in ROWS),
    "mac.txt": "".join(f"{a} {b} {same}\r" for a, b, same in ROWS),
    "byte-order-mark.txt": "\ufeff" + "".join(f"{a} {b} {same}\n" for a, b, same in ROWS),
    "no-last-line-end.csv": "\n".join(f"{a},{b},{same}" for a, b, same in ROWS),
    "empty-lines.tsv": "\n\n".join(f"{a}\t{b}\t{same}" for a, b, same in ROWS) + "\n\n",
    "heading.csv": "template1,template2,same\n" + "".join(f"{a},{b},{same}\n" for a, b, same in ROWS),
    "words.csv": "a,b,label\n" + "".join(f"{a},{b},{'yes' if same else 'different'}\n" for a, b, same in ROWS),
}


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize("size", [1, 20, 1 << 22])
def test_every_form_gives_the_same_pairs(name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_pairs, "_BYTES_AT_ONCE", size)
    monkeypatch.setattr(template_pairs, "_LINES_AT_ONCE", size)
    pairs = TemplatePairs(write(tmp_path / name, FORMS[name]), NAMES, [None] * 4)
    assert read(pairs) == expected(NAMES)
    assert read(pairs) == expected(NAMES), "they are read as often as needed"


def test_utf_16_is_read(tmp_path: Path) -> None:
    file = tmp_path / "powershell.txt"
    file.write_bytes("".join(f"{a} {b} {same}\r\n" for a, b, same in ROWS).encode("utf-16"))
    assert read(TemplatePairs(file, NAMES, [None] * 4)) == expected(NAMES)


def test_names_may_be_words_or_numbers_with_zeros(tmp_path: Path) -> None:
    folders = ["ann/2020", "007", "7"]
    file = write(tmp_path / "pairs.csv", "ann/2020,007,1\n7,ann/2020,0\n")
    assert read(TemplatePairs(file, folders, [None] * 3)) == [(0, 1, True), (2, 0, False)]


@pytest.mark.parametrize("text", ["7,12\n3,120\n120,7\n", "ENROLL_TEMPLATE_ID,VERIF_TEMPLATE_ID\n7,12\n3,120\n120,7\n"])
def test_without_labels_the_people_decide(text: str, tmp_path: Path) -> None:
    file = write(tmp_path / "ijbc_11_G1_G2_matches.csv", text)
    people = ["ann", "ann", "bob", None]
    with pytest.raises(DataError, match="has no label, and the person of one of its templates is unknown"):
        read(TemplatePairs(file, NAMES, people))
    found = read(TemplatePairs(file, NAMES, [*people[:3], "ann"]))
    assert found == [(0, 1, True), (2, 3, False), (3, 0, True)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("7 12 1\n7 12\n1 7 12 1\n", 2),  # As many numbers as two whole lines.
        ("7 12 1\n3 120 2\n", 2),
        ("7 12 1\n\n3 120 x\n", 3),
        ("7 12 1\n3 -120 1\n", 2),
        ("7 12 1\n3 99999999999999999999 1\n", 2),
        ("7 12 1 7 12 1\n", 1),
        ("ann,bob,1\nann,bob\n", 2),
        ("ann,bob,1\nann,bob,maybe\n", 2),
    ],
)
@pytest.mark.parametrize("size", [4, 1 << 22])
def test_a_bad_line_is_named(text: str, line: int, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_pairs, "_BYTES_AT_ONCE", size)
    file = write(tmp_path / "pairs.txt", text)
    with pytest.raises(DataError, match=rf"pairs\.txt:{line}: expected two templates"):
        read(TemplatePairs(file, NAMES, [None] * 4))


def test_pairs_that_cannot_be_read_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="standard input: pairs of templates are read twice"):
        TemplatePairs(Path("-"), NAMES, [None] * 4)
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        TemplatePairs(tmp_path / "none.txt", NAMES, [None] * 4)
    with pytest.raises(DataError, match="contains no pairs"):
        read(TemplatePairs(write(tmp_path / "empty.txt", "\n"), NAMES, [None] * 4))
