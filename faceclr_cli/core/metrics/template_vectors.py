"""Templates: several pictures of one person, represented by one vector, or by a few that are compared together.

The embeddings of each medium, such as the frames of a video, are averaged first, and then those of all media, so that a
long video does not outweigh the photographs. This is the practice of IJB-B and IJB-C (Whitelam et al. 2017; Maze et al.
2018; Crosswhite et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

NOT_ENROLLED = -1.0
"""Similarity to a template without vectors: a pair with it is accepted only if every pair is."""

_ROWS_AT_ONCE = 1 << 14
_PAIRS_AT_ONCE = 1 << 12
"""Pairs that are compared together: few enough that their vectors stay in the processor's cache."""
_AT_ONCE = 1 << 24
"""Maximum number of similarities in memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TemplateVectors:
    """The vectors of each template.

    Attributes:
        vectors: L2-normalized, or zeros. Those of a template are consecutive. Shape: (vectors, dim).
        starts: Row of the first vector of each template, and the number of vectors. A template without pictures has no
            vectors. Shape: (templates + 1,).
    """

    vectors: Vectors
    starts: Numbers

    def __len__(self) -> int:
        """Number of templates."""
        return len(self.starts) - 1

    @property
    def sizes(self) -> Numbers:
        """Number of vectors of each template. Shape: (templates,)."""
        return np.diff(self.starts)

    @property
    def template_of_vector(self) -> Numbers:
        """The template of each vector. Shape: (vectors,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def of(self, template: int) -> Vectors:
        """Returns the vectors of a template. Shape: (vectors, dim)."""
        return self.vectors[self.starts[template] : self.starts[template + 1]]

    def similarities(self, left: ArrayLike, right: ArrayLike) -> Vectors:
        """Computes the similarity of pairs of templates: the highest cosine similarity of any of their vectors.

        Args:
            left: Indices of templates; negative for an unknown template. Shape: (pairs,).
            right: As `left`. Shape: (pairs,).

        Returns:
            Values from -1 to 1; `NOT_ENROLLED` for pairs with a template that is unknown or has no vectors. Shape:
            (pairs,).
        """
        a, b = np.asarray(left, np.int64), np.asarray(right, np.int64)
        scores = np.full(len(a), NOT_ENROLLED, np.float32)
        known = np.flatnonzero(self.is_enrolled(a) & self.is_enrolled(b))
        several = self.sizes.max(initial=0) > 1
        step = _AT_ONCE // 64 if several else _PAIRS_AT_ONCE
        for start in range(0, len(known), step):
            block = known[start : start + step]
            compare = self._highest if several else self._products
            scores[block] = compare(a[block], b[block])
        return np.clip(scores, -1, 1, out=scores)

    def is_enrolled(self, templates: Numbers) -> NDArray[np.bool_]:
        """Returns the mask of the indices that belong to templates with vectors. Shape: (indices,)."""
        sizes = np.append(self.sizes, 0)  # The last one stands for unknown templates, whose indices are negative.
        enrolled: NDArray[np.bool_] = sizes[np.maximum(templates, -1)] > 0
        return enrolled

    def all_pairs(self, people: ArrayLike) -> Iterator[tuple[Vectors, Vectors]]:
        """Iterates over the genuine and impostor similarities of blocks of pairs, in the same order at every call.

        Args:
            people: The person of each template. Shape: (templates,).

        Raises:
            ValueError: A template has no vectors, or the shapes do not match.
        """
        who = np.asarray(people)
        if who.shape != (len(self),) or not self.sizes.all():
            raise ValueError("each template needs a person and a vector")
        start = 0
        while start < len(self) - 1:
            first = int(self.starts[start])
            room = max(1, _AT_ONCE // (len(self.vectors) - first))
            stop = max(start + 1, int(np.searchsorted(self.starts, first + room, "right")) - 1)
            scores = self.vectors[first : self.starts[stop]] @ self.vectors[first:].T
            scores = np.maximum.reduceat(scores, self.starts[start:-1] - first, axis=1)
            scores = np.maximum.reduceat(scores, self.starts[start:stop] - first, axis=0)
            np.clip(scores, -1, 1, out=scores)
            same = who[start:stop, None] == who[None, start:]
            above = np.arange(start, len(self))[None] > np.arange(start, stop)[:, None]
            yield scores[same & above], scores[~same & above]
            start = stop

    def take(self, templates: ArrayLike) -> TemplateVectors:
        """Returns the templates with the given indices, in their order. Shape: (templates,)."""
        chosen = np.asarray(templates, np.int64)
        starts = np.append(0, np.cumsum(self.sizes[chosen]))
        return TemplateVectors(vectors=self.vectors[self._places(chosen)], starts=starts)

    def _places(self, templates: Numbers) -> Numbers:
        """Returns the rows of the vectors of templates, template by template."""
        sizes = self.sizes[templates]
        before = np.cumsum(sizes) - sizes
        return np.repeat(self.starts[templates] - before, sizes) + np.arange(int(sizes.sum()))

    def _products(self, left: Numbers, right: Numbers) -> Vectors:
        rows = self.starts[:-1]
        products: Vectors = np.einsum("nd,nd->n", self.vectors[rows[left]], self.vectors[rows[right]])
        return products

    def _highest(self, left: Numbers, right: Numbers) -> Vectors:
        """Returns the highest product of any two vectors of each pair, by a matrix product per template on the left."""
        order = np.argsort(left, kind="stable")
        scores = np.empty(len(left), np.float32)
        for pairs in np.split(order, np.flatnonzero(np.diff(left[order])) + 1):
            others = right[pairs]
            highest = (self.vectors[self._places(others)] @ self.of(int(left[pairs[0]])).T).max(axis=1)
            ends = np.cumsum(self.sizes[others])
            scores[pairs] = np.maximum.reduceat(highest, ends - self.sizes[others])
        return scores


def pool_templates(
    embeddings: Vectors,
    templates: ArrayLike,
    media: ArrayLike,
    *,
    rows: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    count: int | None = None,
    keep_media: bool = False,
) -> TemplateVectors:
    """Pools the embeddings of pictures to templates.

    The vector of a medium is the mean of `weight * embedding` over its pictures; that of a template is the sum over its
    media, normalized. The vectors of media are not normalized before they are added.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        templates: Index of the template of each picture. Shape: (pictures,).
        media: Index of its medium; media of different templates are different. Shape: (pictures,).
        rows: Row of the embedding of each picture, or None if all are given in order. Shape: (pictures,).
        weights: Weight of each picture, or None for equal weights. Shape: (pictures,).
        count: Number of templates, or None for the highest index plus one.
        keep_media: Return the normalized vectors of media instead of their sums.

    Raises:
        ValueError: The shapes do not match, or a weight is negative or not finite.

    Examples:
        >>> faces = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
        >>> pool_templates(faces, templates=[0, 0, 0], media=[0, 1, 1]).vectors.round(3)
        array([[0.707, 0.707]], dtype=float32)
    """
    owners, kinds = np.asarray(templates, np.int64), np.asarray(media, np.int64)
    places = np.arange(len(owners)) if rows is None else np.asarray(rows, np.int64)
    shares = np.ones(len(owners)) if weights is None else np.asarray(weights, np.float64)
    if not owners.shape == kinds.shape == places.shape == shares.shape or owners.ndim != 1:
        raise ValueError("templates, media, rows and weights must have one value for each picture")
    if not (np.isfinite(shares) & (shares >= 0)).all():
        raise ValueError("a weight is negative or not finite")
    total = (int(owners.max(initial=-1)) + 1) if count is None else count
    order = np.lexsort((kinds, owners))
    is_new = np.ones(len(order), bool)
    is_new[1:] = (np.diff(owners[order]) != 0) | (np.diff(kinds[order]) != 0)
    medium = np.cumsum(is_new) - 1
    shares = shares[order] / np.bincount(medium)[medium] if len(order) else shares
    group = medium if keep_media else owners[order]
    first = np.flatnonzero(np.diff(group, prepend=-1))
    sizes = np.bincount(owners[order][first], minlength=total)
    return TemplateVectors(
        vectors=_add_by_group(embeddings, places[order], shares, group), starts=np.append(0, np.cumsum(sizes))
    )


def _add_by_group(embeddings: Vectors, rows: Numbers, shares: NDArray[np.float64], group: Numbers) -> Vectors:
    """Adds `shares * embeddings[rows]` over consecutive equal groups, a block of rows at a time, and normalizes."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(group))
    sums = np.empty((len(starts), embeddings.shape[1]), np.float32)
    done = 0
    while done < len(starts):
        stop = max(done + 1, int(np.searchsorted(ends, starts[done] + _ROWS_AT_ONCE, "right")))
        inside = slice(starts[done], ends[stop - 1])
        block = embeddings[rows[inside]].astype(np.float64) * shares[inside, None]
        sums[done:stop] = normalize_rows(np.add.reduceat(block, starts[done:stop] - starts[done], axis=0))
        done = stop
    return sums
