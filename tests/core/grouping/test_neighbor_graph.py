"""The search for neighbors, compared with scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from faceclr_cli.core.grouping import neighbor_graph
from faceclr_cli.core.grouping.neighbor_graph import approximate_neighbors, find_components, find_neighbors


def _rows(faces: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(faces, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _neighbors(rows: np.ndarray, count: int, least: float) -> np.ndarray:
    """Returns True for two faces if one is among the nearest neighbors of the other."""
    distances, found = NearestNeighbors(n_neighbors=count, metric="cosine").fit(rows).kneighbors()
    matrix = np.zeros((len(rows), len(rows)), bool)
    left, place = np.nonzero(1 - distances >= least)
    matrix[left, found[left, place]] = True
    return matrix | matrix.T


@pytest.mark.parametrize(("count", "least"), [(5, -1.0), (5, 0.4), (50, 0.2)])
def test_the_neighbors_are_those_of_scikit_learn(count: int, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbor_graph, "NEIGHBORS", count)
    monkeypatch.setattr(neighbor_graph, "_TILE", (17, 30))
    rows = _rows(400, 12)
    for at_once in (100, 2**22):
        monkeypatch.setattr(neighbor_graph, "_EDGES_AT_ONCE", at_once)
        found = find_neighbors(rows, least).matrix.toarray()
        assert np.array_equal(found, _neighbors(rows, count, least))


def test_a_face_with_many_copies_has_only_as_many_neighbors_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbor_graph, "NEIGHBORS", 3)
    graph = find_neighbors(np.repeat(_rows(1, 8), 200, axis=0), 0.5).matrix
    assert graph.nnz <= 2 * 3 * 200
    assert graph.diagonal().sum() == 0


@pytest.mark.parametrize(("faces", "dim"), [(2500, 16), (2500, 15), (900, 16), (2500, 64)])
@pytest.mark.parametrize("least", [-1.0, 0.3])
def test_the_approximate_search_finds_nearly_all_neighbors(least: float, faces: int, dim: int) -> None:
    pytest.importorskip("faiss")
    # Without any groups, the neighbors of a face are in many cells.
    rows = _rows(faces, dim)
    graph = approximate_neighbors(rows, least)
    true = _neighbors(rows, neighbor_graph.NEIGHBORS, least)
    found = graph.matrix.toarray()
    recall = (found & true).sum() / true.sum()
    assert recall >= 0.98
    assert graph.recall == pytest.approx(recall, abs=0.01)
    assert not found.diagonal().any()
    similar = rows @ rows.T
    assert similar[found].min() >= least - 1e-5


def test_blocks_that_no_pair_connects_are_components() -> None:
    rows = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0], [0, -1]], np.float32)
    assert find_components(rows, 0.7, np.arange(5)).tolist() == [0, 0, 1, 2, 3]
    assert find_components(rows, 0.5, np.array([0, 1, 2, 3, 0])).tolist() == [0, 0, 0, 1]
