"""Every genuine and every impostor pair among many rows, without ever holding them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.metrics.roc import Floats, OperatingPoint

Scores = NDArray[np.float32]
Counts = NDArray[np.int64]

_BINS = 1 << 22
"""Of cosines from -1 to 1."""

_AT_ONCE = 1 << 24
"""Pairs that are held at a time."""


@dataclass(frozen=True, kw_only=True)
class AllPairs:
    """What all pairs say of an encoder.

    Attributes:
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        auc: Area under the ROC. Scores that differ by less than 5e-7 may count as equal.
        eer: Equal error rate, likewise.
        points: For each false accept rate that was asked for, the laxest threshold that accepts no larger share of the
            impostor pairs. Exact, as `tar_at_far`.
    """

    genuine: int
    impostor: int
    auc: float
    eer: float
    points: tuple[OperatingPoint, ...]


class Pairs:
    """The cosine similarity of every two rows, each pair once, in blocks.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).

    Raises:
        ValueError: The shapes don't go together, or a number is not finite.
    """

    def __init__(self, embeddings: ArrayLike, labels: ArrayLike) -> None:
        rows = np.asarray(embeddings, np.float32)
        people = np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int32)
        if rows.ndim != 2 or people.shape != rows.shape[:1]:
            raise ValueError(f"rows of {rows.shape} and labels of {people.shape} don't go together")
        if not np.isfinite(rows).all():
            raise ValueError("an embedding is not finite")
        # One person's rows lie together, so that a block has few of its genuine pairs and those in one place.
        order = np.argsort(people, kind="stable")
        self._rows, self._people = np.ascontiguousarray(normalize_rows(rows)[order]), people[order]

    def blocks(self) -> Iterator[tuple[Scores, Scores]]:
        """Genuine and impostor scores of some pairs after others; the same at every call."""
        for _, scores, same, above in self._blocks():
            yield scores[same & above], scores[~same & above]

    def impostors_from(self, threshold: float) -> tuple[Scores, NDArray[np.int32], Counts]:
        """The impostor pairs with at least a score.

        Returns:
            Their scores, the two people of each, as numbers from 0, and how many rows each person has. Shapes:
            (pairs,), (pairs, 2), (people,).
        """
        scores, people = [np.empty(0, np.float32)], [np.empty((0, 2), np.int32)]
        for start, block, same, above in self._blocks():
            rows, columns = np.nonzero(~same & above & (block.astype(np.float64) >= threshold))
            scores.append(block[rows, columns])
            people.append(np.stack([self._people[start + rows], self._people[start + columns]], axis=1))
        return np.concatenate(scores), np.concatenate(people), np.bincount(self._people)

    def _blocks(self) -> Iterator[tuple[int, Scores, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Some rows against all from the first of them on: its place, scores, which are genuine, which count."""
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
    """Measures every pair. Takes two passes over them, and some hundred megabytes however many they are.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).
        fars: False accept rates, from 0 to 1.

    Raises:
        ValueError: As for `Pairs`, or one kind of pair is missing, or a rate is no share.
    """
    if not all(0 <= far <= 1 for far in fars):
        raise ValueError(f"false accept rates are from 0 to 1, not {', '.join(map(str, fars))}")
    pairs = Pairs(embeddings, labels)
    genuine, impostor = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64)
    for same, different in pairs.blocks():
        genuine += np.bincount(_bin(same), minlength=_BINS)
        impostor += np.bincount(_bin(different), minlength=_BINS)
    if not genuine.any() or not impostor.any():
        raise ValueError("verification needs both genuine and impostor pairs")
    area, equal = _curve(genuine, impostor)
    return AllPairs(
        genuine=int(genuine.sum()),
        impostor=int(impostor.sum()),
        auc=area,
        eer=equal,
        points=_points(pairs, genuine, impostor, fars),
    )


def count_scores(embeddings: ArrayLike, labels: ArrayLike, bins: int = 1 << 14) -> tuple[Floats, Counts, Counts]:
    """How many genuine and impostor pairs have which score.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).
        bins: How finely cosines from -1 to 1 are divided.

    Returns:
        The middle of each bin, and its genuine and impostor pairs. Shape of each: (bins,).

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
    # In float32 the product would round, and neighbors could change places.
    places = ((scores.astype(np.float64) + 1) * (_BINS / 2)).astype(np.int64)
    return np.minimum(places, _BINS - 1, out=places)


def _curve(genuine: Counts, impostor: Counts) -> tuple[float, float]:
    """AUC and EER of counts by bins, as `auc` and `eer` of scores."""
    used = np.flatnonzero(genuine + impostor)[::-1]
    tar = np.append(0.0, np.cumsum(genuine[used]) / genuine.sum())
    far = np.append(0.0, np.cumsum(impostor[used]) / impostor.sum())
    gap = far - (1 - tar)
    after = int(np.argmax(gap >= 0))
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    equal = far[after - 1] + share * (far[after] - far[after - 1])
    return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2)), float(equal)


def _points(pairs: Pairs, genuine: Counts, impostor: Counts, fars: Sequence[float]) -> tuple[OperatingPoint, ...]:
    """Finds the bins that thresholds are in by the counts, and the thresholds by the scores in those bins."""
    impostors, genuines = int(impostor.sum()), int(genuine.sum())
    # How many lie in a bin or above it.
    from_top, genuine_from_top = impostor[::-1].cumsum()[::-1], genuine[::-1].cumsum()[::-1]
    occupied = np.flatnonzero(genuine + impostor)
    # 0.29 * 100 is 28.999999999999996.
    allowed = [min(int(np.floor(far * impostors + 1e-9)), impostors) for far in fars]
    # The bin of the first impostor that is refused, and the next one above it in which there is anything.
    refused = [
        int(np.flatnonzero(from_top > count)[-1]) if count < impostors else int(occupied[0]) for count in allowed
    ]
    wanted = set(refused)
    for place in refused:
        after = np.searchsorted(occupied, place, "right")
        wanted |= {int(occupied[after])} if after < len(occupied) else set()
    same, different = _gathered(pairs, sorted(wanted))
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
                far=_accepted(threshold, different, from_top) / impostors,
                tar=_accepted(threshold, same, genuine_from_top) / genuines,
            )
        )
    return tuple(points)


def _accepted(threshold: float, gathered: Scores, from_top: Counts) -> int:
    """How many scores are at least the threshold, of one in a bin that was gathered, or above all scores."""
    if threshold > 1:
        return 0
    place = int(_bin(np.array([threshold]))[0])
    above = int(from_top[place + 1]) if place + 1 < _BINS else 0
    # As float64, or NumPy would round the threshold to float32.
    return above + int(np.count_nonzero(gathered[_bin(gathered) == place].astype(np.float64) >= threshold))


def _gathered(pairs: Pairs, bins: Sequence[int]) -> tuple[Scores, Scores]:
    """The scores in some bins."""
    wanted = np.zeros(_BINS, bool)
    wanted[list(bins)] = True
    kept: tuple[list[Scores], list[Scores]] = ([np.empty(0, np.float32)], [np.empty(0, np.float32)])
    for block in pairs.blocks():
        for scores, rest in zip(block, kept, strict=True):
            rest.append(scores[wanted[_bin(scores)]])
    return np.concatenate(kept[0]), np.concatenate(kept[1])
