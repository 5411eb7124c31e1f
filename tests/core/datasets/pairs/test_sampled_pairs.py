from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

from faceclr_cli.core.datasets.pairs.pair_files import Pair, read_pairs
from faceclr_cli.core.datasets.pairs.sampled_pairs import sample_pairs, write_pairs


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
    # Fixed forever: a change here would make published splits irreproducible.
    assert sample_pairs(*album(a=3, b=3), count=2, seed=0)[:2] == [
        Pair("b/000.jpg", "b/002.jpg", True),
        Pair("a/002.jpg", "b/001.jpg", False),
    ]
