"""Verification metrics over all pairs of many embeddings, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.metrics.roc import Floats, OperatingPoint

Scores = NDArray[np.float32]
Counts = NDArray[np.int64]
Blocks = Callable[[], Iterable[tuple[Scores, Scores]]]
"""Returns the genuine and impostor scores of blocks of pairs, the same at every call."""

_BINS = 1 << 22
"""Number of histogram bins for cosines from -1 to 1."""

_AT_ONCE = 1 << 24
"""Maximum number of pairs in memory."""


@dataclass(frozen=True, kw_only=True)
class AllPairs:
    """Verification metrics over all pairs.

    Attributes:
        genuine: Number of genuine pairs.
        impostor: Number of impostor pairs.
        auc: Area under the ROC. Scores that differ by less than 5e-7 may count as equal.
        eer: Equal error rate, with the same precision.
        points: For each requested false accept rate, the laxest threshold that does not exceed it. Exact, as
            `tar_at_far`.
    """

    genuine: int
    impostor: int
    auc: float
    eer: float
    points: tuple[OperatingPoint, ...]


class Pairs:
    """Cosine similarities of all pairs of rows, computed in blocks.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).

    Raises:
        ValueError: The shapes do not match, or a value is not finite.
    """

    def __init__(self, embeddings: ArrayLike, labels: ArrayLike) -> None:
        rows = np.asarray(embeddings, np.float32)
        people = np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int32)
        if rows.ndim != 2 or people.shape != rows.shape[:1]:
            raise ValueError(f"embeddings of shape {rows.shape} and labels of shape {people.shape} do not match")
        if not np.isfinite(rows).all():
            raise ValueError("an embedding is not finite")
        # Sorted by person, so that few blocks contain genuine pairs.
        order = np.argsort(people, kind="stable")
        self._rows, self._people = np.ascontiguousarray(normalize_rows(rows)[order]), people[order]
        self._order = order

    def blocks(self) -> Iterator[tuple[Scores, Scores]]:
        """Iterates over the genuine and impostor scores of blocks of pairs, in the same order at every call."""
        for _, scores, same, above in self._blocks():
            yield scores[same & above], scores[~same & above]

    def impostors_from(self, threshold: float) -> tuple[Scores, NDArray[np.int32], Counts]:
        """Returns the impostor pairs with scores of at least `threshold`.

        Returns:
            Their scores, the indices of their two people, and the number of rows of each person. Shapes: (pairs,),
            (pairs, 2), (people,).
        """
        scores, people = [np.empty(0, np.float32)], [np.empty((0, 2), np.int32)]
        for start, block, same, above in self._blocks():
            rows, columns = np.nonzero(~same & above & (block.astype(np.float64) >= threshold))
            scores.append(block[rows, columns])
            people.append(np.stack([self._people[start + rows], self._people[start + columns]], axis=1))
        return np.concatenate(scores), np.concatenate(people), np.bincount(self._people)

    def accepted(self, threshold: float) -> Iterator[tuple[Counts, NDArray[np.bool_]]]:
        """Iterates over the pairs with scores of at least `threshold`, in blocks.

        Yields:
            The two rows of each pair as in the embeddings, and True for genuine pairs. Shapes: (2, pairs), (pairs,).
        """
        for start, block, same, above in self._blocks():
            rows, columns = np.nonzero(above & (block.astype(np.float64) >= threshold))
            yield np.stack([self._order[start + rows], self._order[start + columns]]), same[rows, columns]

    def _blocks(self) -> Iterator[tuple[int, Scores, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Iterates over (first row, scores, genuine mask, upper triangle mask) of blocks of rows.

        A block is compared with all rows from its first row on, so each pair is in the upper triangle of one block.
        """
        count = len(self._rows)
        start = 0
        while start < count - 1:
            stop = min(count, start + max(1, _AT_ONCE // (count - start)))
            scores = self._rows[start:stop] @ self._rows[start:].T
            np.clip(scores, -1, 1, out=scores)
            same = self._people[start:stop, None] == self._people[None, start:]
            above = np.arange(start, count)[None] > np.arange(start, stop)[:, None]
            yield start, scores, same, above
            start = stop


def measure_all_pairs(embeddings: ArrayLike, labels: ArrayLike, fars: Sequence[float]) -> AllPairs:
    """Computes verification metrics over all pairs, in two passes with a few hundred megabytes of memory.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).
        fars: False accept rates, from 0 to 1.

    Raises:
        ValueError: As for `Pairs`, or there are no genuine or no impostor pairs, or a rate is not from 0 to 1.
    """
    return measure_blocks(Pairs(embeddings, labels).blocks, fars)


def measure_blocks(blocks: Blocks, fars: Sequence[float]) -> AllPairs:
    """Computes verification metrics of scores that are computed twice, in blocks, and never held in memory together.

    Args:
        blocks: Iterates over the scores, from -1 to 1.
        fars: False accept rates, from 0 to 1.

    Raises:
        ValueError: There are no genuine or no impostor pairs, or a rate is not from 0 to 1.
    """
    if not all(0 <= far <= 1 for far in fars):
        raise ValueError(f"false accept rates must be from 0 to 1, not {', '.join(map(str, fars))}")
    genuine, impostor = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64)
    for same, different in blocks():
        genuine += np.bincount(_bin(same), minlength=_BINS)
        impostor += np.bincount(_bin(different), minlength=_BINS)
    if not genuine.any() or not impostor.any():
        raise ValueError("verification needs both genuine and impostor pairs")
    area, equal = _auc_and_eer(genuine, impostor)
    return AllPairs(
        genuine=int(genuine.sum()),
        impostor=int(impostor.sum()),
        auc=area,
        eer=equal,
        points=_operating_points(blocks, genuine, impostor, fars),
    )


def count_scores(embeddings: ArrayLike, labels: ArrayLike, bins: int = 1 << 14) -> tuple[Floats, Counts, Counts]:
    """Computes histograms of the scores of all genuine and impostor pairs.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).
        bins: Number of bins for cosines from -1 to 1.

    Returns:
        Bin centers, counts of genuine pairs, and counts of impostor pairs. Shape of each: (bins,).

    Raises:
        ValueError: As for `Pairs`.
    """
    edges = np.linspace(-1, 1, bins + 1)
    genuine, impostor = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    for same, different in Pairs(embeddings, labels).blocks():
        genuine += np.histogram(same, edges)[0]
        impostor += np.histogram(different, edges)[0]
    return (edges[1:] + edges[:-1]) / 2, genuine, impostor


def _bin(scores: Scores | NDArray[np.float64]) -> NDArray[np.int64]:
    # In float32 the product would round, which could reorder neighboring scores.
    places = ((scores.astype(np.float64) + 1) * (_BINS / 2)).astype(np.int64)
    return np.minimum(places, _BINS - 1, out=places)


def _auc_and_eer(genuine: Counts, impostor: Counts) -> tuple[float, float]:
    """AUC and EER of histograms; see `auc` and `eer`."""
    used = np.flatnonzero(genuine + impostor)[::-1]
    tar = np.append(0.0, np.cumsum(genuine[used]) / genuine.sum())
    far = np.append(0.0, np.cumsum(impostor[used]) / impostor.sum())
    gap = far - (1 - tar)
    after = int(np.argmax(gap >= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    equal = far[after - 1] + share * (far[after] - far[after - 1])
    return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2)), float(equal)


def _operating_points(
    blocks: Blocks, genuine: Counts, impostor: Counts, fars: Sequence[float]
) -> tuple[OperatingPoint, ...]:
    """Locates the bin of each threshold in the histograms, then the exact threshold among the scores of that bin."""
    impostors, genuines = int(impostor.sum()), int(genuine.sum())
    # Number of pairs in each bin and all higher bins.
    from_top, genuine_from_top = impostor[::-1].cumsum()[::-1], genuine[::-1].cumsum()[::-1]
    occupied = np.flatnonzero(genuine + impostor)
    # 0.29 * 100 is 28.999999999999996.
    allowed = [min(int(np.floor(far * impostors + 1e-9)), impostors) for far in fars]
    # The bin of the highest rejected impostor score, and the next higher bin that is not empty.
    refused = [
        int(np.flatnonzero(from_top > count)[-1]) if count < impostors else int(occupied[0]) for count in allowed
    ]
    wanted = set(refused)
    for place in refused:
        after = np.searchsorted(occupied, place, "right")
        wanted |= {int(occupied[after])} if after < len(occupied) else set()
    same, different = _scores_in_bins(blocks, sorted(wanted))
    found = np.sort(np.concatenate([same, different]))
    points = []
    for place, count in zip(refused, allowed, strict=True):
        inside = np.sort(different[_bin(different) == place])[::-1]
        if count >= impostors:
            threshold = float(found[0])
        else:
            last = inside[count - (int(from_top[place + 1]) if place + 1 < _BINS else 0)]
            larger = found[found > last]
            threshold = float(larger[0]) if len(larger) else float(np.nextafter(np.float64(last), np.inf))
        points.append(
            OperatingPoint(
                threshold=threshold,
                far=_count_accepted(threshold, different, from_top) / impostors,
                tar=_count_accepted(threshold, same, genuine_from_top) / genuines,
            )
        )
    return tuple(points)


def _count_accepted(threshold: float, gathered: Scores, from_top: Counts) -> int:
    """Counts scores of at least `threshold`. Its bin must be among the gathered ones, or above all scores."""
    if threshold > 1:
        return 0
    place = int(_bin(np.array([threshold]))[0])
    above = int(from_top[place + 1]) if place + 1 < _BINS else 0
    # In float64, since NumPy would round the threshold to float32.
    return above + int(np.count_nonzero(gathered[_bin(gathered) == place].astype(np.float64) >= threshold))


def _scores_in_bins(blocks: Blocks, bins: Sequence[int]) -> tuple[Scores, Scores]:
    """Collects the genuine and impostor scores in some bins."""
    wanted = np.zeros(_BINS, bool)
    wanted[list(bins)] = True
    kept: tuple[list[Scores], list[Scores]] = ([np.empty(0, np.float32)], [np.empty(0, np.float32)])
    for block in blocks():
        for scores, rest in zip(block, kept, strict=True):
            rest.append(scores[wanted[_bin(scores)]])
    return np.concatenate(kept[0]), np.concatenate(kept[1])
