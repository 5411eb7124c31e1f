from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from faceclr_cli.core.grouping.person_albums import PersonAlbums, find_core
from tests.core.grouping.noisy_people import draw


def test_affinities_are_those_of_the_definition_number_by_number() -> None:
    embeddings, labels = draw(4, 5)
    labels[labels == 3] = np.array([3, 3, 3, 2, 1])
    albums = PersonAlbums(embeddings, labels)
    for row in range(len(labels)):
        for person in range(4):
            others = [other for other in np.flatnonzero(labels == person) if other != row]
            core = [embeddings[other] for other in others if albums.is_core[other]]
            center = np.sum(core, axis=0)
            nearest = sorted((float(embeddings[row] @ embeddings[other]) for other in others), reverse=True)[:3]
            expected = (embeddings[row] @ center / np.linalg.norm(center) + np.mean(nearest)) / 2
            assert albums.affinities(np.array([row]), np.array([person]))[0] == pytest.approx(expected, abs=1e-5)


def test_the_core_is_nearly_the_best_half_of_all_and_of_one_person() -> None:
    """Least trimmed squares, found by trying each half of the faces."""
    for seed in range(10):
        embeddings = draw(1, 9, seed)[0]
        embeddings[:3] = draw(3, 1, seed + 100)[0]  # Three other people.
        best = max(np.linalg.norm(embeddings[list(half)].sum(axis=0)) for half in combinations(range(9), 5))
        core = find_core(embeddings)
        assert np.linalg.norm(embeddings[core].sum(axis=0)) > 0.99 * best
        assert len(core) == 5 and core.min() >= 3


def test_a_person_with_one_face_has_no_affinity_to_it() -> None:
    albums = PersonAlbums(np.eye(3, dtype=np.float32), np.array([0, 1, 1]))
    assert albums.affinities(np.array([0]), np.array([0])) == 0


def test_the_nearest_others_are_the_people_with_the_closest_centers() -> None:
    embeddings, labels = draw(6, 4)
    albums = PersonAlbums(embeddings, labels)
    found = albums.nearest_others(np.arange(len(labels)), 9)
    assert found.shape == (24, 5)
    for row, people in enumerate(found):
        expected = sorted(set(range(6)) - {labels[row]}, key=lambda person: -(embeddings[row] @ albums.centers[person]))
        assert people.tolist() == expected


@pytest.mark.parametrize("labels", [[0, 2, 2], [0, 1], []])
def test_wrong_numbers_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"without gaps|do not match"):
        PersonAlbums(np.eye(3, dtype=np.float32), np.array(labels, np.int64))
