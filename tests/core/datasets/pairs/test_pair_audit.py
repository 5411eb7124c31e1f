from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.datasets.pairs.pair_audit import PairAudit, audit_pairs, people_in_pairs
from faceclr_cli.core.datasets.pairs.pair_files import Pair, read_pairs


def test_a_valid_list_has_no_defects() -> None:
    pairs = [Pair("a/1", "a/2", True), Pair("a/1", "b/1", False), Pair("a/2", "b/1", None)]
    assert audit_pairs(pairs, {"a/1": "x", "a/2": "y"}).to_json() == {
        "repeated": 0,
        "contradictory": 0,
        "itself": 0,
        "copies": 0,
    }


def test_each_defect_is_counted() -> None:
    pairs = [
        Pair("a/1", "a/2", True),
        Pair("a/2", "a/1", True),
        Pair("a/1", "a/2", None),
        Pair("a/1", "b/1", False),
        Pair("b/1", "a/1", True),
        Pair("b/1", "a/1", False),
        Pair("c/1", "c/1", True),
        Pair("d/1", "d/2", True),
        Pair("d/1", "e/1", False),
    ]
    hashes = {"a/1": "x", "a/2": "y", "c/1": "z", "d/1": "w", "d/2": "w"}
    # The file e/1 has no hash, nor has b/1, and a picture with itself is no copy.
    assert audit_pairs(pairs, hashes) == PairAudit(repeated=4, contradictory=1, itself=1, copies=1)


def test_two_unknown_files_are_not_copies() -> None:
    assert audit_pairs([Pair("a/1", "a/2", True)], {}).copies == 0


def test_folders_are_people_where_labels_agree() -> None:
    found = people_in_pairs([Pair("x/b/1", "y/b/2", True), Pair("x/c/1", "x/a/1", False), Pair("x/a/1", "x/b/1", None)])
    assert found is not None
    one, other, names = found
    assert names == ("a", "b", "c")
    assert one.dtype == other.dtype == np.int64
    assert (one.tolist(), other.tolist()) == ([1, 2, 0], [1, 0, 1])


@pytest.mark.parametrize(
    "pair",
    [
        Pair("b/1.jpg", "b/2.jpg", False),
        Pair("b/1.jpg", "c/2.jpg", True),
        Pair("1.jpg", "2.jpg", True),
        Pair("_/1.jpg", "a/2.jpg", False),
    ],
)
def test_people_are_unknown_where_folders_are_not_people(pair: Pair) -> None:
    assert people_in_pairs([Pair("a/1.jpg", "a/2.jpg", True), pair]) is None


def test_people_are_folders_above_where_the_innermost_are_poses_as_in_cfp() -> None:
    found = people_in_pairs(
        [
            Pair("Data/Images/001/frontal/01.jpg", "Data/Images/001/profile/01.jpg", True),
            Pair("Data/Images/001/frontal/02.jpg", "Data/Images/002/profile/01.jpg", False),
            Pair("Data/Images/003/frontal/02.jpg", "Data/Images/003/profile/01.jpg", True),
        ]
    )
    assert found is not None
    one, other, names = found
    assert (one.tolist(), other.tolist(), names) == ([0, 0, 2], [0, 1, 2], ("001", "002", "003"))


@pytest.mark.real
def test_lfws_folders_are_its_people(real_data: Path) -> None:
    pairs = read_pairs(real_data / "lfw-view1" / "pairsDevTest.txt")
    found = people_in_pairs(pairs)
    assert found is not None
    one, other, names = found
    assert (one == other).tolist() == [pair.same for pair in pairs]
    assert [f"{names[who]}/{names[who]}" for who in other] == [pair.b[: -len("_0001.jpg")] for pair in pairs]
    assert audit_pairs(pairs, {}) == PairAudit(repeated=0, contradictory=0, itself=0, copies=0)
