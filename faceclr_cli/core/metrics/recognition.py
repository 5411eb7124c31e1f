"""Recognition metrics in which all people have equal weights, regardless of their number of pictures.

The number of genuine pairs grows with the square of a person's pictures: among 12 people, one with 200 pictures can
have 85% of all genuine pairs, and would dominate metrics over pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.knn import knn_correct
from faceclr_cli.core.metrics.normalization import normalize_rows

Floats = NDArray[np.float64]

_ROUNDS = 400
_INTERVAL = (0.025, 0.975)


class Interval(NamedTuple):
    """A 95% interval by bootstrap over people."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """Recognition metrics.

    Attributes:
        pictures: Number of pictures.
        people: Number of people.
        genuine: Number of genuine pairs.
        impostor: Number of impostor pairs.
        knn: Share of pictures whose nearest other picture shows the same person; mean over people.
        knn_interval: Confidence interval of `knn`.
        chance: Expected `knn` of random embeddings.
        threshold: Cosine similarity with the highest balanced accuracy.
        accuracy: Balanced verification accuracy at the threshold.
        accuracy_interval: Confidence interval of `accuracy` for a fixed threshold.
        far: Share of impostor pairs accepted at the threshold; mean over pairs of people.
        tar: Share of genuine pairs accepted at the threshold; mean over people.
        points: By false accept rate, for rates that the number of people supports: threshold, actual false accept rate
            and true accept rate.
    """

    pictures: int
    people: int
    genuine: int
    impostor: int
    knn: float
    knn_interval: Interval
    chance: float
    threshold: float
    accuracy: float
    accuracy_interval: Interval
    far: float
    tar: float
    points: dict[float, tuple[float, float, float]]


def measure_recognition(embeddings: ArrayLike, labels: ArrayLike, fars: Sequence[float], seed: int = 0) -> Recognition:
    """Computes k-NN and verification metrics over all pairs, with equal weights for all people.

    The weight of a genuine pair is 1 / (number of genuine pairs of its person), that of an impostor pair 1 / (number of
    impostor pairs of its two people). A false accept rate is measured if it allows at least one pair of people. All
    pairs are held in memory, which suits a few thousand pictures.

    Args:
        embeddings: Shape: (pictures, dim).
        labels: The person of each picture. Shape: (pictures,).
        fars: False accept rates to measure.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: The shapes differ, there are fewer than two people, or a person has only one picture.
    """
    rows, owners = np.asarray(embeddings, np.float64), np.asarray(labels)
    names, people, counts = np.unique(owners, return_inverse=True, return_counts=True)
    if rows.ndim != 2 or len(rows) != len(people) or len(names) < 2 or counts.min() < 2:
        raise ValueError(
            f"embeddings of shape {rows.shape} and {len(people)} labels: needs two or more people with two or more "
            "pictures each"
        )
    pairs = _Pairs.of(rows, people, counts)
    best = int(np.argmax(np.round(pairs.tar - pairs.far, 12)))
    threshold = pairs.above(best)
    accepted_own, accepted_others = pairs.accepted(threshold)
    right = knn_correct(rows, people)[1]
    shares = np.bincount(people, right) / counts
    draws = _draws(len(names), seed)
    return Recognition(
        pictures=len(rows),
        people=len(names),
        genuine=int(pairs.same.sum()),
        impostor=int((~pairs.same).sum()),
        knn=float(shares.mean()),
        knn_interval=_interval(draws @ shares / len(names)),
        chance=float(np.mean((counts - 1) / (len(rows) - 1))),
        threshold=threshold,
        accuracy=float(pairs.tar[best] + 1 - pairs.far[best]) / 2,
        accuracy_interval=_interval(_accuracies(draws, accepted_own, accepted_others)),
        far=float(pairs.far[best]),
        tar=float(pairs.tar[best]),
        points={far: pairs.at(far) for far in fars if far * len(names) * (len(names) - 1) / 2 >= 1},
    )


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """All pairs by descending similarity, and the weighted rates at each threshold.

    Attributes:
        scores: Similarities in descending order. Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        first, second: Indices of the people. Shape: (pairs,).
        counts: Number of pictures of each person. Shape: (people,).
        cuts: A value above all scores, then the distinct scores in descending order. Shape: (points,).
        far, tar: Weighted rates. Shape: (points,).
    """

    scores: Floats
    same: NDArray[np.bool_]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    counts: NDArray[np.intp]
    cuts: Floats
    far: Floats
    tar: Floats

    @classmethod
    def of(cls, rows: Floats, people: NDArray[np.intp], counts: NDArray[np.intp]) -> _Pairs:
        rows = normalize_rows(rows)
        one, other = np.triu_indices(len(rows), 1)
        scores = np.clip((rows @ rows.T)[one, other], -1, 1)
        order = np.argsort(-scores, kind="stable")
        scores, first, second = scores[order], people[one[order]], people[other[order]]
        same, number = first == second, len(counts)
        own = 2 / (counts * (counts - 1.0)) / number
        weights = np.where(same, own[first], 2 / (counts[first] * counts[second] * (number * (number - 1.0))))
        last_of_tie = np.append(scores[1:] != scores[:-1], True)
        rates = [np.append(0.0, np.cumsum(np.where(kind, weights, 0))[last_of_tie]) for kind in (same, ~same)]
        cuts = np.append(np.nextafter(scores[0], np.inf), scores[last_of_tie])
        return cls(
            scores=scores, same=same, first=first, second=second, counts=counts, cuts=cuts, tar=rates[0], far=rates[1]
        )

    def above(self, point: int) -> float:
        """Returns a threshold that accepts the same pairs as a point, halfway to the next score."""
        low = self.cuts[min(point + 1, len(self.cuts) - 1)]
        middle = (low + self.cuts[point]) / 2
        return float(middle if middle > low else self.cuts[point])

    def at(self, far: float) -> tuple[float, float, float]:
        """Returns the laxest threshold for a false accept rate, the actual rate, and the true accept rate."""
        point = int(np.searchsorted(self.far, far + 1e-9, "right")) - 1
        return self.above(point), float(self.far[point]), float(self.tar[point])

    def accepted(self, threshold: float) -> tuple[Floats, Floats]:
        """Computes the accepted share of each person's genuine pairs, and of each two people's impostor pairs.

        Returns:
            Shapes: (people,), (people, people). The second is symmetric, with zeros on the diagonal.
        """
        number, accepted = len(self.counts), self.scores >= threshold
        own = np.bincount(self.first[self.same & accepted], minlength=number)
        place = self.first * number + self.second
        times = np.bincount(place[~self.same & accepted], minlength=number * number).reshape(number, number)
        others: Floats = (times + times.T) / np.outer(self.counts, self.counts)
        return own * 2 / (self.counts * (self.counts - 1.0)), others


def _draws(people: int, seed: int) -> Floats:
    """Returns how often each person is drawn in each resample of two or more people. Shape: (rounds, people)."""
    times = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=_ROUNDS)
    draws: Floats = times[(times > 0).sum(axis=1) > 1].astype(np.float64)
    return draws


def _accuracies(draws: Floats, own: Floats, others: Floats) -> Floats:
    """Computes the balanced accuracy of each resample. Two draws of the same person do not form impostor pairs."""
    tar = draws @ own / len(own)
    pairs = np.square(draws.sum(axis=1)) - np.square(draws).sum(axis=1)
    far = np.einsum("rp,rp->r", draws @ others, draws) / pairs
    accuracies: Floats = (tar + 1 - far) / 2
    return accuracies


def _interval(values: Floats) -> Interval:
    low, high = np.quantile(values, _INTERVAL)
    return Interval(float(low), float(high))
