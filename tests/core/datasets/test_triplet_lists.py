from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from faceclr_cli.core.datasets import triplet_lists as triplets
from faceclr_cli.core.datasets.triplet_lists import PicturesByPerson, read_triplets, write_triplets
from faceclr_cli.core.errors import DataError

LABELS = np.array([2, 0, -1, 1, 0, 2, 0, 3, -1, 2])


def test_pictures_of_people_with_two_or_more_are_anchors() -> None:
    assert sorted(PicturesByPerson(LABELS).anchors) == [0, 1, 4, 5, 6, 9]


def test_positives_are_uniform_over_other_pictures_of_the_person() -> None:
    people, picture = PicturesByPerson(LABELS), 4
    drawn = people.sample_positives(np.full(6000, picture), np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=len(LABELS))
    assert set(np.flatnonzero(counts)) == {1, 6}
    assert chisquare(counts[[1, 6]]).pvalue > 1e-3


@pytest.mark.parametrize("picture", np.flatnonzero(LABELS >= 0))
def test_negatives_are_uniform_over_pictures_of_other_known_people(picture: int) -> None:
    drawn = PicturesByPerson(LABELS).sample_negatives(np.full(3000, picture), 3, np.random.default_rng(picture))
    counts = np.bincount(drawn.ravel(), minlength=len(LABELS))
    others = np.flatnonzero((LABELS >= 0) & (LABELS[picture] != LABELS))
    assert set(np.flatnonzero(counts)) == set(others)
    assert chisquare(counts[others]).pvalue > 1e-3


def test_hard_negatives_match_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triplets, "_BLOCK", 16)  # However many are drawn at a time, chance is the same.
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 12, 80)
    people = PicturesByPerson(labels)
    bank = rng.normal(size=(len(people.pictures), 6))
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    embeddings = dict(zip(people.pictures.tolist(), bank, strict=True))
    asked = rng.permutation(people.pictures)
    expected = [
        min(row, key=lambda other: float(np.linalg.norm(embeddings[picture] - embeddings[other])))
        for picture, row in zip(asked, people.sample_negatives(asked, 5, np.random.default_rng(7)), strict=True)
    ]
    found = people.sample_hard_negatives(asked, 5, torch.from_numpy(bank), np.random.default_rng(7))
    assert found.tolist() == expected


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [-1, -1], []])
def test_triplets_need_a_positive_and_a_negative(labels: list[int]) -> None:
    with pytest.raises(DataError, match="triplets"):
        PicturesByPerson(np.array(labels, np.int64))


TRIPLETS = np.array([[0, 5, 1], [4, 6, 7]])


def test_triplets_survive_the_file_which_numpy_can_read(tmp_path: Path) -> None:
    write_triplets(tmp_path / "t.npy", TRIPLETS, "sha")
    assert (read_triplets(tmp_path / "t.npy", LABELS, "sha") == TRIPLETS).all()
    assert np.load(tmp_path / "t.npy")["negative"].tolist() == [1, 7]


def test_triplets_of_another_data_set_are_refused(tmp_path: Path) -> None:
    write_triplets(tmp_path / "t.npy", TRIPLETS, "sha")
    with pytest.raises(DataError, match="another data set"):
        read_triplets(tmp_path / "t.npy", LABELS, "other")


@pytest.mark.parametrize("bad", [[0, 5, 9], [0, 0, 1], [0, 1, 4], [0, 5, 2], [0, 5, 10], [-1, 5, 1]])
def test_invalid_triplets_are_refused(bad: list[int], tmp_path: Path) -> None:
    write_triplets(tmp_path / "t.npy", np.array([[0, 5, 1], bad]), "sha")
    with pytest.raises(DataError, match=r"row 1|do not exist"):
        read_triplets(tmp_path / "t.npy", LABELS, "sha")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04nothing"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.npy").write_bytes(content)
    with pytest.raises(DataError, match="not a file of triplets"):
        read_triplets(tmp_path / "t.npy", LABELS, "sha")


def test_a_plain_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", TRIPLETS)
    with pytest.raises(DataError, match="the fields anchor, positive and negative are missing"):
        read_triplets(tmp_path / "t.npy", LABELS, "sha")
