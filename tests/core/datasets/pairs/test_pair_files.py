from __future__ import annotations

import io
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faceclr_cli.core.datasets.pairs.pair_files import Pair, iter_pairs, read_pairs
from faceclr_cli.core.errors import DataError


def read(tmp_path: Path, text: str) -> list[Pair]:
    (tmp_path / "pairs").write_text(text, encoding="utf-8", newline="")
    return read_pairs(tmp_path / "pairs")


@pytest.mark.parametrize(
    "text",
    [
        "a,b,same\nx/1.jpg,x/2.jpg,1\nx/1.jpg,y/1.jpg,0\n",
        "x/1.jpg,x/2.jpg,true\nx/1.jpg,y/1.jpg,False\n",
        "x/1.jpg\tx/2.jpg\tsame\r\nx/1.jpg\ty/1.jpg\tdifferent\r\n",
        "x/1.jpg,x/2.jpg,1\rx/1.jpg,y/1.jpg,0\r",
        "\ufeffpath1,path2,label\n\nx/1.jpg,x/2.jpg,1\nx/1.jpg,y/1.jpg,0",
    ],
)
def test_tables(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == [Pair("x/1.jpg", "x/2.jpg", True), Pair("x/1.jpg", "y/1.jpg", False)]


def test_tables_need_not_say_who_is_who(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\nx/1.jpg,x/2.jpg\n") == [Pair("x/1.jpg", "x/2.jpg", None)]
    assert read(tmp_path, "x/1.jpg,x/2.jpg,\n") == [Pair("x/1.jpg", "x/2.jpg", None)]


@pytest.mark.parametrize("count", ["1", "1\t1", None])
def test_lfw(tmp_path: Path, count: str | None) -> None:
    lines = "Abel_Pacheco\t1\t14\nAbdel_Madi_Shabneh 1 Dean_Barker 1\n"
    assert read(tmp_path, f"{count}\n{lines}" if count else lines) == [
        Pair("Abel_Pacheco/Abel_Pacheco_0001.jpg", "Abel_Pacheco/Abel_Pacheco_0014.jpg", True),
        Pair("Abdel_Madi_Shabneh/Abdel_Madi_Shabneh_0001.jpg", "Dean_Barker/Dean_Barker_0001.jpg", False),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.jpg,y.jpg,1\nx.jpg\n", r"pairs:2: expected"),
        ("x.jpg,y.jpg,1\nx.jpg,y.jpg,maybe\n", r"pairs:2: expected"),
        ("x.jpg,y.jpg,1,9\n", r"pairs:1: expected"),
        ('x.jpg,y.jpg,1\n"x.jpg,y.jpg', r"pairs:2: malformed"),
        ("1\nA\t1\t2\nB\tone\ttwo\n", r"pairs:3: expected"),
        ("2\nA\t1\t2\nA\t1\tB\t2\n", r"announces 4 pairs, but the file contains 2"),
        ("", "contains no pairs"),
        ("a,b,same\n", "contains no pairs"),
    ],
)
def test_malformed_files_are_errors_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_pairs(tmp_path / "nowhere.csv")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x.jpg,y.jpg,1\n")))
    assert read_pairs(Path("-")) == [Pair("x.jpg", "y.jpg", True)]


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (b"", b"A/A_0001.jpg,A/A_0002.jpg,1\n"),
        (b"\xef\xbb\xbf\r\n\r\na,b,same\r\n", b'A/A_0001.jpg,"A/A_0002.jpg",same\r\n'),
        (b"\n1 1\n", b"A 1 2\n"),
    ],
)
def test_a_pair_is_given_while_the_pipe_is_still_open(
    monkeypatch: pytest.MonkeyPatch, before: bytes, line: bytes
) -> None:
    reading, writing = os.pipe()
    # The pool is left last, when no producer keeps a reader waiting.
    with ThreadPoolExecutor() as pool, open(reading) as source, open(writing, "wb", buffering=0) as producer:
        monkeypatch.setattr(sys, "stdin", source)
        producer.write(before + line)
        pairs = iter_pairs(Path("-"))
        assert pool.submit(next, pairs).result(timeout=30) == Pair("A/A_0001.jpg", "A/A_0002.jpg", True)
        producer.write(b"B 1 C 1\n" if b"," not in line else b"B/B_0001.jpg,C/C_0001.jpg,0\n")
        assert pool.submit(next, pairs).result(timeout=30) == Pair("B/B_0001.jpg", "C/C_0001.jpg", False)
        producer.close()
        assert list(pairs) == []
        assert not source.closed


def test_pairs_before_a_malformed_line_are_given(tmp_path: Path) -> None:
    (tmp_path / "pairs").write_text("x.jpg,y.jpg,1\nx.jpg\n")
    pairs = iter_pairs(tmp_path / "pairs")
    assert next(pairs) == Pair("x.jpg", "y.jpg", True)
    with pytest.raises(DataError, match="pairs:2: expected"):
        next(pairs)


def test_a_table_that_begins_with_empty_lines_may_have_tabs(tmp_path: Path) -> None:
    assert read(tmp_path, "\n\na, 1.jpg\tb.jpg\t0\n") == [Pair("a, 1.jpg", "b.jpg", False)]


@pytest.mark.real
def test_the_real_lists_of_lfw(real_data: Path) -> None:
    pairs = read_pairs(real_data / "lfw-view1" / "pairsDevTest.txt")
    assert Counter(pair.same for pair in pairs) == {True: 500, False: 500}
    assert all((real_data / "lfw-view1" / "images" / path).is_file() for pair in pairs for path in (pair.a, pair.b))


@pytest.mark.parametrize(
    "text",
    [
        "x/1.jpg, x/2.jpg, 1\nx/1.jpg ,y/1.jpg , 0 \n",
        'x/1.jpg, "x/2.jpg", 1\n"x/1.jpg", y/1.jpg,0\n',
        "x/1.jpg;x/2.jpg;1\nx/1.jpg;y/1.jpg;0\n",
        "x/1.jpg x/2.jpg 1\nx/1.jpg  y/1.jpg  0\n",
        "a b same\nx/1.jpg x/2.jpg 1\nx/1.jpg y/1.jpg 0\n",
        "x/1.jpg,x/2.jpg,1\n   \nx/1.jpg,y/1.jpg,0\n \t\n",
    ],
)
def test_tables_that_people_typed(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == [Pair("x/1.jpg", "x/2.jpg", True), Pair("x/1.jpg", "y/1.jpg", False)]


def test_the_separator_may_also_be_part_of_names(tmp_path: Path) -> None:
    assert read(tmp_path, "Lee, Ann/1.jpg;Lee, Ann/2.jpg;1\n") == [Pair("Lee, Ann/1.jpg", "Lee, Ann/2.jpg", True)]
    assert read(tmp_path, "a;b/1.jpg,a b/2.jpg\n") == [Pair("a;b/1.jpg", "a b/2.jpg", None)]
    assert read(tmp_path, "a b/1.jpg\ta,b/2.jpg\t0\n") == [Pair("a b/1.jpg", "a,b/2.jpg", False)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_files_of_other_encodings(tmp_path: Path, encoding: str) -> None:
    # The bytes of U+010A and U+0D0A hold those of line ends.
    (tmp_path / "pairs").write_bytes("a,b,same\r\nĊ/1.jpg,ഊ/2.jpg,0\r\n".encode(encoding))
    assert read_pairs(tmp_path / "pairs") == [Pair("Ċ/1.jpg", "ഊ/2.jpg", False)]
