"""Separation of the scores of genuine and impostor pairs, and the difference of two encoders in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.metrics.roc import Floats


@dataclass(frozen=True, kw_only=True)
class SeparationDifference:
    """The separation of the first encoder minus that of the second.

    Attributes:
        value: The difference on all pairs.
        low: Lower end of its 99% confidence interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


def separation(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """The decidability index d' of all pairs: the difference of the two mean scores over their mean standard deviation.

    Daugman 2000, "Biometric decision landscapes". Unlike the AUC, it does not saturate: it distinguishes two good
    encoders even if both rarely confuse people.

    Args:
        embeddings: Shape: (N, D).
        labels: The person of each row. Shape: (N,).

    Raises:
        ValueError: There are no genuine or no impostor pairs, or the shapes do not match.

    Examples:
        >>> round(separation([[1, 0], [1, 0.1], [0, 1], [0.2, 1]], ["ann", "ann", "bob", "bob"]), 2)
        10.89
    """
    moments = _Moments(embeddings, labels)
    return float(moments.separations(np.ones((1, moments.people)))[0])


def separation_difference(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike, *, rounds: int = 1000, seed: int = 0
) -> SeparationDifference:
    """Compares two encoders on the same faces, by bootstrap over people.

    People are resampled, not pairs, because pairs that share a person are correlated (Bolle, Ratha and Pankanti 2004,
    "Error analysis of pattern recognition systems: the subsets bootstrap"), and both encoders are measured on the same
    resample. The weight of a genuine pair is the number of draws of its person, that of an impostor pair the product of
    the draws of its two people.

    Args:
        first: Embeddings of the first encoder. Shape: (N, D).
        second: Embeddings of the second encoder. Shape: (N, E).
        labels: The person of each row. Shape: (N,).
        rounds: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: As for `separation`.
    """
    one, other = _Moments(first, labels), _Moments(second, labels)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(one.people, np.full(one.people, 1 / one.people), rounds).astype(np.float64)
    whole = np.ones((1, one.people))
    value = float(one.separations(whole)[0] - other.separations(whole)[0])
    gaps = one.separations(draws) - other.separations(draws)
    low, high = np.nanquantile(gaps, (0.005, 0.995))
    return SeparationDifference(value=value, low=float(low), high=float(high))


class _Moments:
    """Counts, sums and sums of squares of the scores within each person and between every two people."""

    def __init__(self, embeddings: ArrayLike, labels: ArrayLike) -> None:
        rows = normalize_rows(np.asarray(embeddings, np.float64))
        numbers = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
        if rows.ndim != 2 or len(numbers) != len(rows):
            raise ValueError(f"embeddings of shape {rows.shape} and {len(numbers)} labels do not match")
        self.people = int(numbers.max(initial=-1)) + 1
        member = np.zeros((len(rows), self.people))
        member[np.arange(len(rows)), numbers] = 1
        scores = rows @ rows.T
        np.fill_diagonal(scores, 0)  # A face is not compared with itself.
        sums = np.stack([member.T @ power @ member for power in (1 - np.eye(len(rows)), scores, scores**2)])
        self._genuine: Floats = np.diagonal(sums, axis1=1, axis2=2).copy()
        self._impostor: Floats = sums * (1 - np.eye(self.people))
        if not self._genuine[0].any() or not self._impostor[0].any():
            raise ValueError("separation needs both genuine and impostor pairs")

    def separations(self, draws: Floats) -> Floats:
        """Returns d' given the draws of each person: 0 if all scores are equal, NaN if one kind of pair is missing.

        Args:
            draws: Shape: (rounds, people).

        Returns:
            Shape: (rounds,).
        """
        genuine = draws @ self._genuine.T
        impostor = np.stack([((draws @ power) * draws).sum(axis=1) for power in self._impostor], axis=1)
        (same, same_spread), (apart, apart_spread) = _mean_and_variance(genuine), _mean_and_variance(impostor)
        spread = np.sqrt((same_spread + apart_spread) / 2)
        found: Floats = np.divide(same - apart, spread, out=np.zeros_like(spread), where=spread != 0)
        return found


def _mean_and_variance(sums: NDArray[np.float64]) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums[:, 1] / sums[:, 0]
        variance = np.maximum(sums[:, 2] / sums[:, 0] - mean**2, 0)
    return mean, variance
