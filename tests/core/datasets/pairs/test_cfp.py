from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.datasets.pairs.cfp import read_cfp
from faceclr_cli.core.datasets.pairs.pair_files import Pair
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.metrics.cross_validation import fold_numbers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty people with two frontal pictures and one profile each; split n is about people 2n - 1 and 2n."""
    protocol = tmp_path / "cfp" / "Protocol"
    protocol.mkdir(parents=True)
    people = [f"{person:03d}" for person in range(1, 21)]
    frontal = [f"../Data/Images/{person}/frontal/{picture}.jpg" for person in people for picture in ("01", "02")]
    profile = [f"../Data/Images/{person}/profile/01.jpg" for person in people]
    for name, paths in (("F", frontal), ("P", profile)):
        lines = [f"{number} {path}\r\n" for number, path in enumerate(paths, start=1)]
        (protocol / f"Pair_list_{name}.txt").write_text("".join(lines), newline="")
    for split in range(10):
        # The people's first frontal pictures are 4 * split + 1 and + 3, their profiles 2 * split + 1 and + 2.
        f, p = 4 * split + 1, 2 * split + 1
        for kind, same, different in (
            ("FP", f"{f},{p}\n{f + 2},{p + 1}\n", f"{f},{p + 1}\n{f + 2},{p}\n"),
            ("FF", f"{f},{f + 1}\n", f"{f}, {f + 2}\n\n"),
        ):
            folder = protocol / "Split" / kind / f"{split + 1:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text(same)
            (folder / "diff.txt").write_text(different)
    return tmp_path / "cfp"


def test_frontal_pictures_are_paired_with_profiles(root: Path) -> None:
    assert read_cfp(root)[:4] == [
        Pair("Data/Images/001/frontal/01.jpg", "Data/Images/001/profile/01.jpg", True),
        Pair("Data/Images/002/frontal/01.jpg", "Data/Images/002/profile/01.jpg", True),
        Pair("Data/Images/001/frontal/01.jpg", "Data/Images/002/profile/01.jpg", False),
        Pair("Data/Images/002/frontal/01.jpg", "Data/Images/001/profile/01.jpg", False),
    ]


def test_frontal_pictures_are_paired_with_each_other(root: Path) -> None:
    assert read_cfp(root, "FF")[-2:] == [
        Pair("Data/Images/019/frontal/01.jpg", "Data/Images/019/frontal/02.jpg", True),
        Pair("Data/Images/019/frontal/01.jpg", "Data/Images/020/frontal/01.jpg", False),
    ]


def test_ten_folds_are_the_official_splits(root: Path) -> None:
    pairs = read_cfp(root)
    people: list[set[str]] = [set() for _ in range(10)]
    for pair, fold in zip(pairs, fold_numbers([bool(pair.same) for pair in pairs], 10), strict=True):
        people[fold].update(path.split("/")[2] for path in (pair.a, pair.b))
    assert people == [{f"{2 * split + 1:03d}", f"{2 * split + 2:03d}"} for split in range(10)]
    assert [pair.same for pair in pairs] == [True, True, False, False] * 10


def test_the_archive_may_be_unpacked_into_the_folder(root: Path) -> None:
    assert read_cfp(root.parent)[0] == Pair(
        "cfp/Data/Images/001/frontal/01.jpg", "cfp/Data/Images/001/profile/01.jpg", True
    )
    (root.parent / "again" / "Protocol").mkdir(parents=True)
    with pytest.raises(DataError, match=r"contains both .*again/Protocol and .*cfp/Protocol"):
        read_cfp(root.parent)


def test_a_folder_without_the_protocol(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="contains no folder Protocol"):
            read_cfp(folder)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("Pair_list_P.txt", None, r"Pair_list_P\.txt: cannot be read"),
        ("Split/FP/07/diff.txt", None, r"07/diff\.txt: cannot be read"),
        ("Pair_list_F.txt", "1 ../Data/1.jpg\ntwo ../Data/2.jpg\n", r"Pair_list_F\.txt:2: expected"),
        ("Pair_list_F.txt", "1\n", r"Pair_list_F\.txt:1: expected 'number path'"),
        ("Pair_list_F.txt", "1 ../a.jpg\n1 ../b.jpg\n", r"Pair_list_F\.txt:2: picture 1 is listed twice"),
        ("Pair_list_F.txt", "1 ../../a.jpg\n", r"Pair_list_F\.txt:1: the path leads outside .*cfp$"),
        ("Pair_list_F.txt", "1 ../x/../..\n", r"Pair_list_F\.txt:1: the path leads outside"),
        ("Pair_list_F.txt", "1 /etc/passwd\n", r"Pair_list_F\.txt:1: the path leads outside"),
        ("Split/FP/03/same.txt", "9,5\n41,6\n", r"03/same\.txt:2: picture 41 is not in .*Pair_list_F\.txt"),
        ("Split/FP/03/same.txt", "9,21\n11,6\n", r"03/same\.txt:1: picture 21 is not in .*Pair_list_P\.txt"),
        ("Split/FP/03/same.txt", "0,5\n11,6\n", r"03/same\.txt:1: picture 0 is not in"),
        ("Split/FP/03/same.txt", "9,5\n\n11 6\n", r"03/same\.txt:3: expected 'number,number'"),
        ("Split/FP/03/same.txt", "9,5,1\n", r"03/same\.txt:1: expected 'number,number'"),
        ("Split/FP/03/same.txt", "9,5\n", r"03: 1 same and 2 different pairs, but 2 and 2 in split 01"),
        ("Split/FP/01/diff.txt", "", r"01: same.txt or diff.txt contains no pairs"),
    ],
)
def test_a_damaged_protocol_is_an_error_that_says_where(root: Path, file: str, text: str | None, message: str) -> None:
    target = root / "Protocol" / file
    target.unlink()
    if text is not None:
        target.write_text(text)
    with pytest.raises(DataError, match=message):
        read_cfp(root)
