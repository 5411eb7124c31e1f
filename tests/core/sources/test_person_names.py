from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.sources.person_names import name_key, read_names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("George_W_Bush", "george w. bush"),
        ("Jean-Luc  Godard", "jean.luc_godard"),
        ("Penélope Cruz", "Penelope_Cruz"),
        ("Zoe\u0308", "ZO\u00cb"),
        ("Łukasz Żółw", "lukasz zolw"),
        ("Bjørn Weiß", "BJORN WEISS"),
    ],
)
def test_spellings_of_one_name_agree(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_different_names_stay_different() -> None:
    assert name_key("Ann Lee") != name_key("Annlee") != name_key("Anne Lee")
    assert name_key("李") != name_key("王")


def test_the_list_of_lfw_is_read_without_its_counts(tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("2\n2\nAJ_Cook\t1\nAnn_Lee\t12\n1\n50_Cent\t3\n")
    assert read_names(tmp_path / "people.txt") == ("AJ_Cook", "Ann_Lee", "50_Cent")


def test_a_plain_list_may_hold_numbers_windows_lines_and_odd_bytes(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbf2880\r\n\r\n Jos\xe9 \r\nline\xe2\x80\xa8break\r\n")
    assert read_names(tmp_path / "names.txt") == ("2880", "Jos\udce9", "line\u2028break")


def test_a_list_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
        read_names(tmp_path / "gone.txt")
    (tmp_path / "empty.txt").write_text("\n  \n")
    with pytest.raises(DataError, match="contains no names"):
        read_names(tmp_path / "empty.txt")
    (tmp_path / "table.tsv").write_text("Ann_Lee\t1\nBo_Li\tBeijing\n")
    with pytest.raises(DataError, match=r"table\.tsv:2: expected a name"):
        read_names(tmp_path / "table.tsv")


def test_a_list_may_be_utf_16(tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_bytes("Björk\r\nAnn\r\n".encode("utf-16"))
    assert read_names(tmp_path / "people.txt") == ("Björk", "Ann")
