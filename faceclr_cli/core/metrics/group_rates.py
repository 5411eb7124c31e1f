"""Error rates of groups of people at a common threshold, with bootstrap confidence intervals.

The terms are those of ISO/IEC 19795-10: the false match rate (FMR) is the share of impostor pairs that are accepted,
the false non-match rate (FNMR) the share of genuine pairs that are rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceclr_cli.core.metrics.all_pairs import Pairs
from faceclr_cli.core.metrics.far_thresholds import pairs_needed
from faceclr_cli.core.metrics.group_resamples import Counts, PeopleResamples, Sums
from faceclr_cli.core.metrics.resampling import pair_interval

_HIGHEST_REFERENCE = 0.1
"""Rate that decides how many pairs a group needs if the rate of all pairs is higher, or 0: at least 30 pairs."""
_BUFFER = 1 << 20
"""Number of accepted pairs to collect before they are summed."""


@dataclass(frozen=True, kw_only=True)
class GroupRate:
    """The error rate of a group, or of a pair of groups.

    Attributes:
        errors: Number of wrong verdicts.
        pairs: Number of pairs of pictures.
        people: Number of people (FNMR), or number of pairs of people (FMR).
        rate: Share of errors, or None if there are fewer than 3 / rate pairs, for the rate of all pairs.
        low: Lower end of the 95% confidence interval, or None if there are fewer than 3 / rate people (FNMR) or pairs
            of people (FMR): a bootstrap over few people underestimates the variation.
        high: Upper end of the interval, or None.
        needed: The number of pairs, and of people, that is needed.
    """

    errors: int
    pairs: int
    people: int
    rate: float | None
    low: float | None
    high: float | None
    needed: int


@dataclass(frozen=True, kw_only=True)
class GroupRates:
    """The error rates of groups at a common threshold.

    Attributes:
        fmr: FMR of all pairs, also of people without a group.
        fnmr: FNMR of all pairs, also of people without a group.
        impostor: Number of impostor pairs.
        genuine: Number of genuine pairs.
        mixed: Number of genuine pairs whose pictures are in two groups; they count in no group's rate.
        fmr_of: FMR of each pair of groups, with the FMR within a group at `fmr_of[g][g]`. Symmetric.
        fnmr_of: FNMR of each group.
    """

    fmr: float
    fnmr: float
    impostor: int
    genuine: int
    mixed: int
    fmr_of: tuple[tuple[GroupRate, ...], ...]
    fnmr_of: tuple[GroupRate, ...]


@dataclass(kw_only=True, eq=False)
class _Tally:
    """Pairs and errors: genuine ones by person and group (shape: (people, groups)), impostor ones by pair of groups.

    A pair of groups is a cell with the number `low * groups + high`. Shapes of `impostor`, `errors` and
    `pairs_of_people`: (cells,); of the resampled ones: (cells, rounds). `all_*` count all pairs, also those without a
    group.
    """

    genuine: Counts
    rejected: Counts
    impostor: Counts
    errors: Counts
    pairs_of_people: Counts
    resampled_impostor: Sums
    resampled_errors: Sums
    all_genuine: int
    all_rejected: int
    all_impostor: int
    all_accepted: int
    mixed: int


def group_rates(
    scores: ArrayLike,
    same: ArrayLike,
    people: ArrayLike,
    groups: ArrayLike,
    count: int,
    threshold: float,
    *,
    far: float | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> GroupRates:
    """Measures the error rates of groups on a list of pairs.

    Intervals are a bootstrap over people, corrected by `pair_interval` for impostor pairs. Without errors, the upper
    end is that of the rule of three: the rate that gives no error in 5% of all samples of as many people.

    Args:
        scores: Shape: (pairs,).
        same: True for genuine pairs. Shape: (pairs,).
        people: Index of the person in each picture, from 0. Shape: (2, pairs).
        groups: Index of the group of each picture, from 0; -1 for none. Shape: (2, pairs).
        count: Number of groups.
        threshold: Minimum score of an accepted pair.
        far: The false accept rate that the threshold was chosen for, which decides how many pairs a group needs; None
            for the measured one.
        rounds: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: The shapes do not match, a score is not finite, one kind of pair is missing, or the people
            contradict `same`.
    """
    values, genuine = np.asarray(scores, np.float64), np.asarray(same, bool)
    who, where = np.asarray(people, np.int64), np.asarray(groups, np.int64)
    if values.ndim != 1 or genuine.shape != values.shape or {who.shape, where.shape} != {(2, len(values))}:
        raise ValueError(f"scores {values.shape}, labels {genuine.shape}, people {who.shape} and groups {where.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite")
    if ((who[0] == who[1]) != genuine).any():
        raise ValueError("genuine pairs must have one person, and impostor pairs two people")
    accepted, shape = values >= threshold, (int(who.max(initial=-1)) + 1, count)
    resamples = PeopleResamples(shape[0], rounds, seed)
    grouped = (where >= 0).all(axis=0)
    within = grouped & genuine & (where[0] == where[1])
    impostor, errors, pairs_of_people, resampled = _sum_impostors(
        resamples, count, who[:, grouped & ~genuine], where[:, grouped & ~genuine], accepted[grouped & ~genuine]
    )
    tally = _Tally(
        genuine=_by_person(who[0, within], where[0, within], shape),
        rejected=_by_person(who[0, within & ~accepted], where[0, within & ~accepted], shape),
        impostor=impostor,
        errors=errors,
        pairs_of_people=pairs_of_people,
        resampled_impostor=resampled[0],
        resampled_errors=resampled[1],
        all_genuine=int(genuine.sum()),
        all_rejected=int((genuine & ~accepted).sum()),
        all_impostor=int((~genuine).sum()),
        all_accepted=int((~genuine & accepted).sum()),
        mixed=int((grouped & genuine & ~within).sum()),
    )
    return _measure(tally, resamples, far, seed)


def all_pairs_group_rates(
    embeddings: ArrayLike,
    people: ArrayLike,
    groups: ArrayLike,
    count: int,
    threshold: float,
    *,
    far: float | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> GroupRates:
    """Measures the error rates of groups on all pairs of many embeddings, exactly and in one pass.

    The memory does not depend on the number of pairs. See `group_rates` for the intervals.

    Args:
        embeddings: Shape: (N, D).
        people: The person of each row. Shape: (N,).
        groups: Index of the group of each row, from 0; -1 for none. Shape: (N,).
        count: Number of groups.
        threshold: Minimum cosine similarity of an accepted pair.
        far: As in `group_rates`.
        rounds: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: As for `Pairs`, or one kind of pair is missing.
    """
    where = np.asarray(groups, np.int64)
    who = np.unique(np.asarray(people), return_inverse=True)[1].astype(np.int64)
    pairs = Pairs(embeddings, who)
    if where.shape != who.shape:
        raise ValueError(f"groups of shape {where.shape} and people of shape {who.shape} do not match")
    shape = int(who.max(initial=-1)) + 1, count
    known = where >= 0
    pictures = _by_person(who[known], where[known], shape)
    resamples = PeopleResamples(shape[0], rounds, seed)
    impostor, pairs_of_people, resampled_impostor = _count_impostors(resamples, pictures)
    accepted, errors = np.zeros(shape, np.int64), np.zeros(shape[1] ** 2, np.int64)
    resampled_errors = np.zeros((shape[1] ** 2, rounds))
    totals = np.zeros(2, np.int64)  # Accepted impostor and genuine pairs.
    for ends, same in _batches(pairs.accepted(threshold)):
        totals += np.bincount(same, minlength=2)
        one, other = where[ends[0]], where[ends[1]]
        within = same & (one == other) & (one >= 0)
        accepted += _by_person(who[ends[0, within]], one[within], shape)
        apart = ~same & (one >= 0) & (other >= 0)
        cells = _cells(one[apart], other[apart], shape[1])
        errors += np.bincount(cells, minlength=len(errors))
        codes = resamples.encode(cells, who[ends[0, apart]], who[ends[1, apart]])
        resamples.add_pairs(*np.unique(codes, return_counts=True), resampled_errors)
    genuine, sizes = pictures * (pictures - 1) // 2, np.bincount(who).astype(np.int64)
    all_genuine, grouped = int((sizes * (sizes - 1) // 2).sum()), pictures.sum(axis=1)
    all_impostor = len(who) * (len(who) - 1) // 2 - all_genuine
    tally = _Tally(
        genuine=genuine,
        rejected=genuine - accepted,
        impostor=impostor,
        errors=errors,
        pairs_of_people=pairs_of_people,
        resampled_impostor=resampled_impostor,
        resampled_errors=resampled_errors,
        all_genuine=all_genuine,
        all_rejected=all_genuine - int(totals[1]),
        all_impostor=all_impostor,
        all_accepted=int(totals[0]),
        mixed=int((grouped * (grouped - 1) // 2).sum() - genuine.sum()),
    )
    return _measure(tally, resamples, far, seed)


def _cells(one: Counts, other: Counts, groups: int) -> Counts:
    return np.asarray(np.minimum(one, other) * groups + np.maximum(one, other), np.int64)


def _by_person(people: Counts, groups: Counts, shape: tuple[int, int]) -> Counts:
    """Counts the pairs or pictures of each person and group. Shape: (people, groups)."""
    return np.bincount(people * shape[1] + groups, minlength=shape[0] * shape[1]).astype(np.int64).reshape(shape)


def _batches(blocks: Iterable[tuple[Counts, NDArray[np.bool_]]]) -> Iterator[tuple[Counts, NDArray[np.bool_]]]:
    """Joins small blocks of accepted pairs."""
    ends, same, size = list[Counts](), list[NDArray[np.bool_]](), 0
    for rows, flags in blocks:
        ends.append(rows)
        same.append(flags)
        size += len(flags)
        if size >= _BUFFER:
            yield np.concatenate(ends, axis=1), np.concatenate(same)
            ends, same, size = [], [], 0
    if size:
        yield np.concatenate(ends, axis=1), np.concatenate(same)


def _sum_impostors(
    resamples: PeopleResamples, groups: int, people: Counts, places: Counts, accepted: NDArray[np.bool_]
) -> tuple[Counts, Counts, Counts, tuple[Sums, Sums]]:
    """Returns the pairs, errors and pairs of people of each cell, and the resampled pairs and errors."""
    cells = _cells(places[0], places[1], groups)
    codes = resamples.encode(cells, people[0], people[1])
    resampled = np.zeros((groups**2, resamples.rounds)), np.zeros((groups**2, resamples.rounds))
    for kept, totals in zip((np.ones(len(codes), bool), accepted), resampled, strict=True):
        resamples.add_pairs(*np.unique(codes[kept], return_counts=True), totals)
    first = np.unique(codes, return_index=True)[1]
    counted = [np.bincount(chosen, minlength=groups**2) for chosen in (cells, cells[accepted], cells[first])]
    return counted[0], counted[1], counted[2], resampled


def _count_impostors(resamples: PeopleResamples, pictures: Counts) -> tuple[Counts, Counts, Sums]:
    """Returns the pairs and pairs of people of each cell among all pairs, and the resampled pairs."""
    count = pictures.shape[1]
    impostor, pairs_of_people = np.zeros((2, count**2), np.int64)
    sums, has = pictures.sum(axis=0), pictures > 0
    people = has.sum(axis=0)
    resampled = np.zeros((count**2, resamples.rounds))
    drawn = resamples.sums(pictures)
    for one in range(count):
        # Pictures of one person are not impostors of each other.
        own = pictures[:, [one]] * pictures[:, one:]
        drawn_own = resamples.sums_of_squares(own)
        for other in range(one, count):
            cell, half = one * count + other, 2 if one == other else 1
            impostor[cell] = (sums[one] * sums[other] - own[:, other - one].sum()) // half
            resampled[cell] = (drawn[one] * drawn[other] - drawn_own[other - one]) / half
            both = int((has[:, one] & has[:, other]).sum())
            twice = 0 if one == other else both * (both - 1) // 2
            pairs_of_people[cell] = (people[one] * people[other] - both) // half - twice
    return impostor, pairs_of_people, resampled


def _measure(tally: _Tally, resamples: PeopleResamples, far: float | None, seed: int) -> GroupRates:
    if not tally.all_genuine or not tally.all_impostor:
        raise ValueError("verification needs both genuine and impostor pairs")
    fmr, fnmr = tally.all_accepted / tally.all_impostor, tally.all_rejected / tally.all_genuine
    count = tally.genuine.shape[1]
    genuine, rejected = resamples.sums(tally.genuine), resamples.sums(tally.rejected)
    generator = np.random.default_rng((seed, 1))
    cells = {
        (one, other): _impostor_rate(tally, one * count + other, fmr if far is None else far, generator)
        for one in range(count)
        for other in range(one, count)
    }
    return GroupRates(
        fmr=fmr,
        fnmr=fnmr,
        impostor=tally.all_impostor,
        genuine=tally.all_genuine,
        mixed=tally.mixed,
        fmr_of=tuple(tuple(cells[min(one, other), max(one, other)] for other in range(count)) for one in range(count)),
        fnmr_of=tuple(
            _rate(
                int(tally.rejected[:, group].sum()),
                int(tally.genuine[:, group].sum()),
                int((tally.genuine[:, group] > 0).sum()),
                fnmr,
                (rejected[group], genuine[group]),
                None,
            )
            for group in range(count)
        ),
    )


def _impostor_rate(tally: _Tally, cell: int, reference: float, generator: np.random.Generator) -> GroupRate:
    return _rate(
        int(tally.errors[cell]),
        int(tally.impostor[cell]),
        int(tally.pairs_of_people[cell]),
        reference,
        (tally.resampled_errors[cell], tally.resampled_impostor[cell]),
        generator,
    )


def _rate(
    errors: int,
    pairs: int,
    people: int,
    reference: float,
    resampled: tuple[Sums, Sums],
    generator: np.random.Generator | None,
) -> GroupRate:
    """Computes a rate and its interval; with a generator, that of impostor pairs."""
    needed = pairs_needed(min(reference, _HIGHEST_REFERENCE) or _HIGHEST_REFERENCE)
    rate = errors / pairs if pairs >= needed else None
    low = high = None
    if rate is not None and people >= needed:
        low, high = _interval(errors, pairs, people, resampled, generator)
    return GroupRate(errors=errors, pairs=pairs, people=people, rate=rate, low=low, high=high, needed=needed)


def _interval(
    errors: int, pairs: int, people: int, resampled: tuple[Sums, Sums], generator: np.random.Generator | None
) -> tuple[float, float]:
    if errors in (0, pairs):
        # Resamples of people without errors have none either.
        margin = 1 - 0.05 ** (1 / people)
        return (0.0, margin) if errors == 0 else (1 - margin, 1.0)
    drawn = resampled[1] > 0
    by_people = resampled[0][drawn] / resampled[1][drawn]
    if generator is None:
        low, high = np.quantile(by_people, (0.025, 0.975))
    else:
        by_pairs = generator.binomial(pairs, errors / pairs, len(by_people)) / pairs
        low, high = np.ravel(pair_interval(np.array([errors / pairs]), by_people[:, None], by_pairs[:, None]))
    return float(low), float(high)
