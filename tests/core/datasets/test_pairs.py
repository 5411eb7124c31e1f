from __future__ import annotations

import io
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from faceclr_cli.core.datasets.pairs import Pair, read_pairs, sample_pairs, write_pairs
from faceclr_cli.core.errors import DataError


def read(tmp_path: Path, text: str) -> list[Pair]:
    (tmp_path / "pairs").write_text(text, encoding="utf-8")
    return read_pairs(tmp_path / "pairs")


@pytest.mark.parametrize(
    "text",
    [
        "a,b,same\nx/1.jpg,x/2.jpg,1\nx/1.jpg,y/1.jpg,0\n",
        "x/1.jpg,x/2.jpg,true\nx/1.jpg,y/1.jpg,False\n",
        "x/1.jpg\tx/2.jpg\tsame\r\nx/1.jpg\ty/1.jpg\tdifferent\r\n",
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
        ("x.jpg,y.jpg,1\nx.jpg\n", r"pairs:2: not of the form"),
        ("x.jpg,y.jpg,1\nx.jpg,y.jpg,maybe\n", r"pairs:2: not of the form"),
        ("x.jpg,y.jpg,1,9\n", r"pairs:1: not of the form"),
        ('x.jpg,y.jpg,1\n"x.jpg,y.jpg', r"pairs:2: malformed"),
        ("1\nA\t1\t2\nB\tone\ttwo\n", r"pairs:3: neither"),
        ("2\nA\t1\t2\nA\t1\tB\t2\n", r"announces 4 pairs, but it holds 2"),
        ("", "holds no pairs"),
        ("a,b,same\n", "holds no pairs"),
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


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    odd = [Pair('a "b", c/\n1.jpg', os.fsdecode(b"caf\xe9/1.jpg"), True), Pair("笑/1.jpg", "x/2.jpg", None)]
    write_pairs(tmp_path / "pairs.csv", odd)
    assert read_pairs(tmp_path / "pairs.csv") == odd


def album(**sizes: int) -> tuple[list[str], list[str | None]]:
    paths = [f"{name}/{number:03d}.jpg" for name, size in sizes.items() for number in range(size)]
    return paths, [path.split("/")[0] for path in paths]


def test_sampled_pairs_are_balanced_true_and_distinct() -> None:
    paths, owners = album(a=50, b=30, c=3, d=1, e=2)
    pairs = sample_pairs(paths, owners, count=100, seed=3)
    assert [pair.same for pair in pairs] == [True, False] * 100
    assert all((pair.a.split("/")[0] == pair.b.split("/")[0]) is pair.same for pair in pairs)
    assert len({frozenset((pair.a, pair.b)) for pair in pairs}) == 200
    assert all(pair.a != pair.b for pair in pairs)
    genuine = Counter(pair.a.split("/")[0] for pair in pairs if pair.same)
    assert genuine == {"a": 48, "b": 48, "c": 3, "e": 1}


def test_all_pairs_are_taken_where_there_are_few() -> None:
    paths, owners = album(a=2, b=3)
    pairs = sample_pairs(paths, owners, count=100)
    assert sum(pair.same is True for pair in pairs) == 4
    assert len(pairs) == 8
    assert sample_pairs(*album(a=5)) == []
    assert sample_pairs(["_/1.jpg", "_/2.jpg"], [None, None]) == []


def test_the_draw_depends_on_names_and_seed_alone() -> None:
    paths, owners = album(a=20, b=20, c=20)
    mixed = list(zip(paths, owners, strict=True))
    random.Random(1).shuffle(mixed)
    again = sample_pairs([path for path, _ in mixed], [owner for _, owner in mixed], count=50, seed=7)
    assert again == sample_pairs(paths, owners, count=50, seed=7)
    assert again != sample_pairs(paths, owners, count=50, seed=8)
    # Fixed for ever: a change here would make published splits irreproducible.
    assert sample_pairs(*album(a=3, b=3), count=2, seed=0)[:2] == [
        Pair("b/000.jpg", "b/002.jpg", True),
        Pair("a/002.jpg", "b/001.jpg", False),
    ]


@pytest.mark.real
def test_the_real_lists_of_lfw(real_data: Path) -> None:
    pairs = read_pairs(real_data / "lfw-view1" / "pairsDevTest.txt")
    assert Counter(pair.same for pair in pairs) == {True: 500, False: 500}
    assert all((real_data / "lfw-view1" / "images" / path).is_file() for pair in pairs for path in (pair.a, pair.b))
