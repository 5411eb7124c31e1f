"""Lists of groups as people write them, and the errors of malformed lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.datasets.group_lists import read_groups
from faceclr_cli.core.errors import DataError


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "identity,age,glasses\nann,old,yes\nJosé,young,\nbo,young,no\n",
        "\ufeffIdentity; age; glasses\r\nann; old; yes\r\nJosé; young;\r\nbo; young; no\r\n",
        "identity\tage\tglasses\nann\told\tyes\n\nJosé\tyoung\t\nbo\tyoung\tno\nbo\tyoung\tno\n",
        "identity,age,glasses\nann,old,yes\nJose\u0301,young,\nbo,young,no\n".encode("utf-16"),
    ],
)
def test_every_column_is_an_attribute_and_an_empty_cell_no_group(text: str | bytes, tmp_path: Path) -> None:
    groups = read_groups(write(tmp_path, text))
    age, glasses = groups.assign(["1.jpg", "2.jpg", "3.jpg", "4.jpg"], ["bo", "José", None, "ann"])
    assert (age.attribute, age.names, age.numbers.tolist()) == ("age", ("old", "young"), [1, 1, -1, 0])
    assert (glasses.attribute, glasses.names, glasses.numbers.tolist()) == ("glasses", ("no", "yes"), [0, -1, -1, 1])


def test_groups_of_pictures_are_found_by_path_as_pairs_are(tmp_path: Path) -> None:
    """A prepared face has another suffix than its photograph; a stranger of the same name is not ann."""
    groups = read_groups(write(tmp_path, "path,age\nann/1.jpg,old\n./bo\\2.jpg,young\ncy/9.jpg,old\n"))
    (age,) = groups.assign(["bo/2.png", "ann/1.jpg", "dee/ann/1.jpg"], [None] * 3)
    assert (age.names, age.numbers.tolist()) == (("old", "young"), [1, 0, -1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ann,old\nbo,young\n", r"groups.csv:1: expected a header such as 'identity,age' or 'path,age'"),
        ("identity\nann\n", r"groups.csv:1: expected a header"),
        ("identity,age,\nann,old,x\n", r"groups.csv:1: expected a header"),
        ("identity,age,age\nann,old,old\n", r"groups.csv:1: a column name is listed twice"),
        ("identity,age\nann,old,tall\n", r"groups.csv:2: expected 2 cells: 'identity,age'"),
        ("identity,age\n,old\n", r"groups.csv:2: expected 2 cells"),
        ("identity,age\nann,old\nann,young\n", r"groups.csv:3: ann is listed above with other groups"),
        ("identity,age\n", r"groups.csv: lists no groups"),
        ("", r"groups.csv:1: expected a header"),
        (
            "identity,age\n" + "".join(f"p{year},{year}\n" for year in range(41)),
            r"column age has 41 groups.*ranges",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_groups(write(tmp_path, text))


def test_a_list_of_others_is_refused(tmp_path: Path) -> None:
    groups = read_groups(write(tmp_path, "identity,age\nann,old\n"))
    with pytest.raises(DataError, match=r"lists none of the people; it begins with ann, the people with bo"):
        groups.assign(["1.jpg"], ["bo"])
    with pytest.raises(DataError, match=r"no/such.csv: cannot be read"):
        read_groups(Path("no/such.csv"))
