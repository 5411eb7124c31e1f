"""Search for the similar pairs among many faces: exact by blocks, or approximate with FAISS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]
Edges = tuple[NDArray[np.int64], NDArray[np.int64]]

NEIGHBORS = 64
"""Maximum number of neighbors that are searched for each face."""

MOST_EXACT = 100_000
"""With more faces, the search is approximate if FAISS is installed."""

LEAST_RECALL = 0.99
"""Share of the neighbors of a sample that the approximate search must find."""

_SIMILARITIES_PER_BLOCK = 2**24
_EDGES_AT_ONCE = 2**22
_SAMPLE = 1000
_QUERIES_AT_ONCE = 2**14
_TRAINED_ON = 64
"""Faces per cell from which FAISS learns the cells."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NeighborGraph:
    """Pairs of faces of which at least one is among the nearest neighbors of the other.

    Attributes:
        matrix: Symmetric. Shape: (faces, faces).
        recall: Share of the neighbors that the search has found, measured on a sample; None for an exact search.
    """

    matrix: csr_matrix
    recall: float | None = None


def is_search_long(faces: int) -> bool:
    """Returns True if all pairs of so many faces are compared because FAISS is not installed."""
    return faces > MOST_EXACT and not is_search_approximate(faces)


def is_search_approximate(faces: int) -> bool:
    """Returns True if the neighbors of so many faces are searched approximately."""
    return faces > MOST_EXACT and find_spec("faiss") is not None


def find_neighbors(embeddings: Vectors, least: float) -> NeighborGraph:
    """Finds the `NEIGHBORS` nearest neighbors of each face by comparing all pairs.

    The similarities are computed in blocks, so memory grows linearly with the number of faces.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        least: Minimum similarity of a neighbor.
    """
    step = max(1, _SIMILARITIES_PER_BLOCK // max(1, len(embeddings)))
    blocks = (np.arange(start, min(start + step, len(embeddings))) for start in range(0, len(embeddings), step))
    return NeighborGraph(matrix=_collect((_nearest(embeddings, rows, least) for rows in blocks), len(embeddings)))


def _nearest(embeddings: Vectors, rows: Labels, least: float) -> Edges:
    """The exact neighbors of some faces."""
    similar = embeddings[rows] @ embeddings.T
    similar[np.arange(len(rows)), rows] = -np.inf
    close = similar >= least
    for row in np.flatnonzero(np.count_nonzero(close, axis=1) > NEIGHBORS):
        # Exactly as many, even if similarities are equal.
        close[row] = False
        close[row, np.argpartition(similar[row], -NEIGHBORS)[-NEIGHBORS:]] = True
    left, right = np.nonzero(close)
    return rows[left], right


def approximate_neighbors(embeddings: Vectors, least: float) -> NeighborGraph:
    """Finds nearly all of the `NEIGHBORS` nearest neighbors of each face, with FAISS.

    The faces are divided into cells, and each is compared with those of the nearest cells. The number of cells is
    doubled until the search finds `LEAST_RECALL` of the neighbors of a sample, whose exact neighbors are known.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        least: Minimum similarity of a neighbor.

    Raises:
        ImportError: FAISS is not installed.
    """
    count = len(embeddings)
    index = _index(embeddings)
    sample = np.sort(np.random.default_rng(0).choice(count, min(_SAMPLE, count), replace=False))
    step = max(1, _SIMILARITIES_PER_BLOCK // max(1, count))
    exact = [_nearest(embeddings, sample[start : start + step], least) for start in range(0, len(sample), step)]
    true = np.concatenate([left * count + right for left, right in exact])
    while True:
        left, right = _search(index, embeddings, sample, least)
        recall = float(np.isin(true, left * count + right).mean()) if len(true) else 1.0
        if recall >= LEAST_RECALL or index.nprobe >= index.nlist:
            break
        index.nprobe *= 2
    blocks = (np.arange(start, min(start + _QUERIES_AT_ONCE, count)) for start in range(0, count, _QUERIES_AT_ONCE))
    found = _collect((_search(index, embeddings, rows, least) for rows in blocks), count)
    return NeighborGraph(matrix=found, recall=recall)


def _index(embeddings: Vectors) -> Any:
    faiss, (count, dim) = import_module("faiss"), embeddings.shape
    cells = max(1, min(int(4 * count**0.5), count // _TRAINED_ON))
    quantizer = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFFlat(quantizer, dim, cells, faiss.METRIC_INNER_PRODUCT)
    # FAISS draws more than this itself, but copies all of them first.
    taught = np.random.default_rng(0).choice(count, min(count, cells * _TRAINED_ON), replace=False)
    index.cp.min_points_per_centroid = 1
    index.train(embeddings[np.sort(taught)])
    index.add(np.ascontiguousarray(embeddings))
    return index


def _search(index: Any, embeddings: Vectors, rows: Labels, least: float) -> Edges:
    similar, found = index.search(embeddings[rows], min(NEIGHBORS + 1, len(embeddings)))
    left, place = np.nonzero((similar >= least) & (found >= 0) & (found != rows[:, None]))
    return rows[left], found[left, place]


def _collect(edges: Iterator[Edges], count: int) -> csr_matrix:
    """The symmetric matrix of edges that are found block by block."""
    lefts, rights = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for left, right in edges:
        lefts.append(left.astype(np.int32))
        rights.append(right.astype(np.int32))
    return symmetric_matrix(np.concatenate(lefts), np.concatenate(rights), count)


def symmetric_matrix(left: NDArray[np.integer], right: NDArray[np.integer], count: int) -> csr_matrix:
    """The symmetric boolean matrix that has these entries. Shape: (count, count)."""
    graph = coo_matrix((np.ones(len(left), bool), (left, right)), shape=(count, count)).tocsr()
    return (graph + graph.T).tocsr()


def find_components(embeddings: Vectors, least: float, blocks: Labels) -> Labels:
    """Finds the connected components of the graph whose edges are similar pairs, and pairs of the same block.

    All pairs are compared. The similarities are computed in blocks, so memory grows linearly with the number of faces.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        least: Minimum similarity of a pair.
        blocks: The block of each face, numbered from 0 without gaps. Shape: (faces,).

    Returns:
        The component of each block. Shape: (blocks,).
    """
    faces, count = len(embeddings), int(blocks.max(initial=-1)) + 1
    parts, sources, targets, edges = np.arange(count), list[Labels](), list[Labels](), 0
    step = max(1, _SIMILARITIES_PER_BLOCK // max(1, faces))
    for start in range(0, faces, step):
        left, right = np.nonzero(embeddings[start : start + step] @ embeddings[start:].T >= least)
        sources.append(blocks[left + start])
        targets.append(blocks[right + start])
        edges += len(left)
        if edges >= _EDGES_AT_ONCE or start + step >= faces:
            # The first block of each component stands for it.
            first = np.unique(parts, return_index=True)[1][parts]
            ends = np.concatenate([*sources, np.arange(count)]), np.concatenate([*targets, first])
            graph = coo_matrix((np.ones(len(ends[0]), bool), ends), shape=(count, count))
            parts = connected_components(graph, directed=False)[1].astype(np.int64)
            sources, targets, edges = [], [], 0
    return parts


def contract(graph: csr_matrix, blocks: Labels) -> csr_matrix:
    """The graph of blocks: two are connected if two of their faces are.

    Args:
        graph: Symmetric. Shape: (faces, faces).
        blocks: The block of each face, numbered from 0 without gaps. Shape: (faces,).
    """
    if np.array_equal(blocks, np.arange(len(blocks))):
        return graph
    edges = graph.tocoo()
    return symmetric_matrix(blocks[edges.row], blocks[edges.col], int(blocks.max(initial=-1)) + 1)
