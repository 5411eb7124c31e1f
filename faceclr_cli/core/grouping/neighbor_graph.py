"""Search for the similar pairs among many faces: exact by blocks, or approximate with FAISS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]
Edges = tuple[NDArray[np.int64], NDArray[np.int64]]

NEIGHBORS = 64
"""Maximum number of neighbors to find for each face."""

MOST_EXACT = 100_000
"""With more faces, the search is approximate if FAISS is installed."""

LEAST_RECALL = 0.985
"""Minimum share of the pairs of neighbors in a sample that the approximate search must find."""

_SIMILARITIES_PER_BLOCK = 2**24
_EDGES_AT_ONCE = 2**22
_TILE = 512, 2048
"""Rows and columns of the similarities that are computed at once: 4 MiB, which stay in the cache of the processor."""
_SAMPLE = 400
_QUERIES_AT_ONCE = 2**14
_TRAINED_ON = 32
"""Faces per cell from which FAISS learns the cells."""
_ROUNDS = 10
"""Rounds of k-means. FAISS's default of 25 takes longer and finds no more neighbors."""
_LEAST_CODED = 1000
"""With fewer faces, the search compares the embeddings themselves instead of codes."""
_FEW_DIMENSIONS = 128
_SLACK = 0.1
"""Bound on the errors of the similarities of codes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NeighborGraph:
    """Pairs of faces; at least one of the two is among the nearest neighbors of the other.

    Attributes:
        matrix: Symmetric. Shape: (faces, faces).
        recall: Share of the neighbors that the search has found, measured on a sample; None for an exact search.
    """

    matrix: csr_matrix
    recall: float | None = None


def is_large(faces: int) -> bool:
    """Returns True if only nearest neighbors are compared for this number of faces."""
    return faces > MOST_EXACT


def is_search_long(faces: int) -> bool:
    """Returns True if all pairs are compared for this number of faces because FAISS is not installed."""
    return is_large(faces) and not is_search_approximate(faces)


def is_search_approximate(faces: int) -> bool:
    """Returns True if the search for neighbors is approximate for this number of faces."""
    return is_large(faces) and find_spec("faiss") is not None


def search_neighbors(embeddings: Vectors, least: float) -> NeighborGraph:
    """Finds the `NEIGHBORS` nearest neighbors of each face: nearly all of them if the search is approximate.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        least: Minimum similarity of a neighbor.
    """
    search = approximate_neighbors if is_search_approximate(len(embeddings)) else find_neighbors
    return search(embeddings, least)


def find_neighbors(embeddings: Vectors, least: float) -> NeighborGraph:
    """Finds the `NEIGHBORS` nearest neighbors of each face by comparing all pairs.

    The similarities are computed in blocks, so memory grows linearly with the number of faces.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        least: Minimum similarity of a neighbor.
    """
    count = len(embeddings)
    blocks = (np.arange(start, min(start + _TILE[0], count)) for start in range(0, count, _TILE[0]))
    return NeighborGraph(matrix=_collect((_nearest(embeddings, rows, least) for rows in blocks), count))


def _nearest(embeddings: Vectors, rows: Labels, least: float) -> Edges:
    """Returns the exact neighbors of some faces."""
    queries, width = embeddings[rows], _TILE[1]
    lowest = np.full((len(rows), 1), least, np.float32)
    none = np.empty(0, np.int64)
    parts = [_Near(none, none, np.empty(0, np.float32))]
    for start in range(0, len(embeddings), width):
        similar = queries @ embeddings[start : start + width].T
        here = np.flatnonzero((rows >= start) & (rows < start + width))
        similar[here, rows[here] - start] = -np.inf
        left, right = np.divmod(np.flatnonzero(similar >= lowest), similar.shape[1])
        parts.append(_Near(left, right + start, similar[left, right]))
        if sum(len(part.left) for part in parts[1:]) > max(len(parts[0].left), _EDGES_AT_ONCE):
            # A later neighbor must be nearer than the last of those that were found.
            near = _keep_nearest(parts)
            parts = [near]
            full = np.flatnonzero(np.bincount(near.left, minlength=len(rows)) == NEIGHBORS)
            floors = np.full(len(rows), np.inf, np.float32)
            np.minimum.at(floors, near.left, near.similarity)
            lowest[full, 0] = floors[full]
    near = _keep_nearest(parts)
    return rows[near.left], near.right


class _Near(NamedTuple):
    """Neighbors: places of faces, their neighbors, and the similarities."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    similarity: NDArray[np.float32]


def _keep_nearest(parts: Sequence[_Near]) -> _Near:
    """Keeps the `NEIGHBORS` nearest neighbors of each face, and no more even if similarities are equal."""
    left, right, similarity = map(np.concatenate, zip(*parts, strict=True))
    if not len(left) or np.bincount(left).max() <= NEIGHBORS:
        return _Near(left, right, similarity)
    order = np.lexsort((-similarity, left))
    starts = np.cumsum(counts := np.bincount(left)) - counts
    order = order[np.arange(len(order)) - starts[left[order]] < NEIGHBORS]
    return _Near(left[order], right[order], similarity[order])


def approximate_neighbors(embeddings: Vectors, least: float) -> NeighborGraph:
    """Finds nearly all of the `NEIGHBORS` nearest neighbors of each face, with FAISS.

    The faces are divided into cells, and each is compared with those of the nearest cells: first by codes of four bits
    for one or two numbers (André et al., Quicker ADC, 2019), and the best ones by their embeddings. The number of cells
    is doubled until the graph has `LEAST_RECALL` of the pairs of a sample and its exact neighbors. A pair is found if
    the search for one of the two finds the other.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        least: Minimum similarity of a neighbor.

    Raises:
        ImportError: FAISS is not installed.
    """
    count = len(embeddings)
    index = _index(embeddings)
    sample = np.sort(np.random.default_rng(0).choice(count, min(_SAMPLE, count), replace=False))
    left, right = _nearest(embeddings, sample, least)
    true, ends = left * count + right, np.union1d(left, right)
    while len(true):
        left, right = _search(index, embeddings, ends, least)
        recall = float(np.isin(true, np.concatenate([left * count + right, right * count + left])).mean())
        if recall >= LEAST_RECALL or index.nprobe >= index.nlist:
            break
        index.nprobe *= 2
    else:
        recall = 1.0
    blocks = (np.arange(start, min(start + _QUERIES_AT_ONCE, count)) for start in range(0, count, _QUERIES_AT_ONCE))
    found = _collect((_search(index, embeddings, rows, least) for rows in blocks), count)
    return NeighborGraph(matrix=found, recall=recall)


def _index(embeddings: Vectors) -> Any:
    faiss, (count, dim) = import_module("faiss"), embeddings.shape
    cells = max(1, min(int(4 * count**0.5), count // _TRAINED_ON))
    quantizer = faiss.IndexFlatIP(dim)
    if count < _LEAST_CODED:
        index = faiss.IndexIVFFlat(quantizer, dim, cells, faiss.METRIC_INNER_PRODUCT)
    else:
        # In few dimensions, the errors of single numbers have more weight.
        codes = dim // 2 if dim >= _FEW_DIMENSIONS and dim % 2 == 0 else dim
        index = faiss.IndexIVFPQFastScan(quantizer, dim, cells, codes, 4, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.min_points_per_centroid = 1
    # FAISS draws more than this itself, but copies all of them first.
    taught = np.random.default_rng(0).choice(count, min(count, cells * _TRAINED_ON), replace=False)
    index.cp.min_points_per_centroid, index.cp.niter = 1, _ROUNDS
    index.train(embeddings[np.sort(taught)])
    index.add(np.ascontiguousarray(embeddings))
    return index


def _search(index: Any, embeddings: Vectors, rows: Labels, least: float) -> Edges:
    similar, found = index.search(embeddings[rows], min(2 * NEIGHBORS, len(embeddings)))
    left, place = np.nonzero((similar >= least - _SLACK) & (found >= 0) & (found != rows[:, None]))
    right, exact = found[left, place], np.empty(len(left), np.float32)
    for start in range(0, len(left), _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        exact[part] = np.einsum("ij,ij->i", embeddings[rows[left[part]]], embeddings[right[part]])
    close = exact >= least
    near = _keep_nearest([_Near(left[close], right[close], exact[close])])
    return rows[near.left], near.right


def _collect(edges: Iterator[Edges], count: int) -> csr_matrix:
    """Builds the symmetric matrix of edges that are found block by block."""
    lefts, rights = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for left, right in edges:
        lefts.append(left.astype(np.int32))
        rights.append(right.astype(np.int32))
    return symmetric_matrix(np.concatenate(lefts), np.concatenate(rights), count)


def symmetric_matrix(left: NDArray[np.integer], right: NDArray[np.integer], count: int) -> csr_matrix:
    """Returns the symmetric boolean matrix with these entries. Shape: (count, count)."""
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
    """Returns the graph of blocks: two blocks are connected if any of their faces are.

    Args:
        graph: Symmetric. Shape: (faces, faces).
        blocks: The block of each face, numbered from 0 without gaps. Shape: (faces,).
    """
    if np.array_equal(blocks, np.arange(len(blocks))):
        return graph
    edges = graph.tocoo()
    return symmetric_matrix(blocks[edges.row], blocks[edges.col], int(blocks.max(initial=-1)) + 1)
