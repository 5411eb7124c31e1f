from __future__ import annotations

import os

import pytest

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.sources.lists import find_listed, read_identities, read_parts, read_paths


@pytest.mark.parametrize(
    ("line", "file", "identity"),
    [
        ("000001.jpg 2880", "000001.jpg", "2880"),
        ("a b/my  photo.jpg   Ann", "a b/my  photo.jpg", "Ann"),
        ("1.jpg\tAnn Lee", "1.jpg", "Ann Lee"),
        ("1.jpg,Ann Lee", "1.jpg", "Ann Lee"),
        ("1.jpg, Ann Lee \r", "1.jpg", "Ann Lee"),
        ("Lee, Ann.jpg 7", "Lee, Ann.jpg", "7"),
        ("./x//1.JPG 7", "x/1.JPG", "7"),
    ],
)
def test_file_and_identity_may_be_separated_in_three_ways(line: str, file: str, identity: str) -> None:
    assert read_identities(line.encode(), "list") == {file: identity}


def test_a_list_from_windows_is_read_as_any_other() -> None:
    assert read_identities(b"\xef\xbb\xbf1.jpg Ann\r\n\r\n2.jpg Bob\r\n", "list") == {"1.jpg": "Ann", "2.jpg": "Bob"}


def test_names_that_are_not_text_survive() -> None:
    ((file, identity),) = read_identities(b"J\xf6rg.jpg Z\xfc\n", "list").items()
    assert (os.fsencode(file), os.fsencode(identity)) == (b"J\xf6rg.jpg", b"Z\xfc")


@pytest.mark.parametrize(
    "line",
    ["2.jpg", "2.jpg\t", "2.jpg 1 2", "2.jpg a/b", "2.jpg .hidden", "2.jpg _", "file identity", "2.jpg " + 256 * "x"],
)
def test_an_identity_that_cannot_be_a_folder_is_an_error_with_its_line(line: str) -> None:
    with pytest.raises(DataError, match=r"^list:2: expected 'file identity'$"):
        read_identities(f"1.jpg Ann\n{line}\n".encode(), "list")


def test_a_list_that_contradicts_itself_is_an_error() -> None:
    assert len(read_identities(b"1.jpg Ann\n1.jpg Ann\n", "list")) == 1
    with pytest.raises(DataError, match=r"list:2: .*'Ann'.*'Bob'"):
        read_identities(b"1.jpg Ann\n./1.jpg Bob\n", "list")


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(DataError, match="list: lists no pictures"):
        read_identities(b"\n \n", "list")


def test_celebas_parts_have_their_names() -> None:
    assert read_parts(b"1.jpg 0\n2.jpg 1\n3.jpg 2\n", "list") == {"1.jpg": "train", "2.jpg": "val", "3.jpg": "test"}
    with pytest.raises(DataError, match=r"list:1: expected 'file 0\|1\|2'"):
        read_parts(b"1.jpg 3\n", "list")


def test_listed_pictures_are_found_by_path_or_by_a_name_of_their_own() -> None:
    listed = {"1.jpg": "Ann", "2.jpg": "Bob", "both.jpg": "Cat", "gone.jpg": "Dan", "x/4.jpg": "Eve", "y/1.jpg": "Fay"}
    here = ["top/1.jpg", "top/a/2.jpg", "top/a/both.jpg", "top/b/both.jpg", "top/z/4.jpg"]
    found = find_listed(listed, here, "top/")
    assert found.words == {"top/1.jpg": "Ann", "top/a/2.jpg": "Bob"}
    assert (found.absent, found.unclear) == (3, 1)


def test_paths_are_taken_once_and_as_they_were_given() -> None:
    assert read_paths(b"b.jpg\n\n./b.jpg\nx/../a b.jpg\r\n", null=False) == ["b.jpg", "x/../a b.jpg"]
    assert read_paths(b"a\nb.jpg\0c.jpg\r\0", null=True) == ["a\nb.jpg", "c.jpg\r"]
    assert os.fsencode(read_paths(b"J\xf6rg.jpg", null=False)[0]) == b"J\xf6rg.jpg"
    with pytest.raises(ConfigError, match="add --null"):
        read_paths(b"a.jpg\0b.jpg\0", null=False)


def test_pictures_are_found_in_any_unicode_form_and_people_have_one() -> None:
    listed = read_identities("José1.jpg\tJose\u0301\n".encode("utf-16"), "list")
    assert listed == {"José1.jpg": "José"}
    assert find_listed(listed, ["in/Jose\u03011.jpg"], "in/").words == {"in/Jose\u03011.jpg": "José"}
    assert find_listed(listed, ["in/x/Jose\u03011.jpg"], "in/").words == {"in/x/Jose\u03011.jpg": "José"}


def test_a_list_of_paths_may_be_utf_16() -> None:
    assert read_paths("a.jpg\r\nö.jpg\r\n".encode("utf-16"), null=False) == ["a.jpg", "ö.jpg"]
