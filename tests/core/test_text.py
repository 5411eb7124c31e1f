from __future__ import annotations

import codecs
import unicodedata

import pytest

from faceclr_cli.core.text import canonical, decode


@pytest.mark.parametrize("name", ["José Núñez", "Zoë Müller", "Björk", "김철수", "Đặng", "\u212bngström"])
def test_all_unicode_forms_of_a_name_are_one(name: str) -> None:
    assert {canonical(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")} == {canonical(name)}


@pytest.mark.parametrize(("one", "other"), [("José", "Jose"), ("ann", "Ann"), ("ann_lee", "ann lee"), ("ﬁ", "fi")])
def test_names_that_differ_in_more_stay_different(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


def test_names_that_are_not_utf_8_stay_as_they_are() -> None:
    assert canonical("J\udcf6rg") == "J\udcf6rg"


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
def test_text_is_decoded_by_its_byte_order_mark(encoding: str, mark: bytes) -> None:
    assert decode(mark + "Björk 😀\r\n".encode(encoding)) == "Björk 😀\r\n"


@pytest.mark.parametrize(
    ("data", "message"), [("ann".encode("utf-16-le"), "NUL"), (codecs.BOM_UTF16_LE + b"a\0b", "damaged UTF-16")]
)
def test_what_is_not_text_says_why(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(data)
