"""Measurement of groups of people on listed pairs, or on all pairs of labeled faces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.group_lists import GroupColumn, GroupList
from faceclr_cli.core.datasets.pairs.pair_audit import people_in_pairs
from faceclr_cli.core.datasets.pairs.pair_files import Pair
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.differentials.group_report import GroupReport, summarize_groups
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.far_thresholds import pairs_needed
from faceclr_cli.core.metrics.group_rates import all_pairs_group_rates, group_rates
from faceclr_cli.core.metrics.roc import tar_at_far

USUAL_GROUP_FARS = (1e-3, 1e-2, 1e-1)
"""Rates for the common threshold: by default the lowest for which two groups of each attribute have enough pairs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupRequest:
    """The groups and rates to measure.

    Attributes:
        groups: The groups.
        far: The false accept rate of the common threshold, or None for one of the usual rates.
        threshold: The common threshold, or None to choose it for `far`.
        rounds: Number of resamples of the people.
        seed: Seed of the resamples.
    """

    groups: GroupList
    far: float | None = None
    threshold: float | None = None
    rounds: int = 1000
    seed: int = 0


def require_groups_of_pairs(groups: GroupList, pairs: Sequence[Pair], origin: str) -> None:
    """Checks a list of groups before pictures are embedded.

    Raises:
        DataError: See `measure_groups_of_pairs`.
    """
    paired = _find_pictures(groups, pairs, origin)
    groups.assign(paired.paths, paired.identities)


def measure_groups_of_pairs(
    request: GroupRequest,
    pairs: Sequence[Pair],
    scores: NDArray[np.float64],
    failed: Collection[str],
    origin: str,
    reporter: Reporter,
) -> tuple[GroupReport, ...]:
    """Measures groups on a list of pairs. Pairs that could not be compared are not part of any rate.

    Args:
        request: The groups and rates to measure.
        pairs: The pairs, with labels and the actual names of the pictures.
        scores: NaN for a pair that could not be compared. Shape: (pairs,).
        failed: Pictures without a face.
        origin: Name of the pairs in messages.
        reporter: Receives a warning if pictures have no group.

    Returns:
        One report for each attribute.

    Raises:
        DataError: The list of groups contains no picture of the pairs, it names people who are unknown, or one kind of
            pair is missing.
    """
    paired = _find_pictures(request.groups, pairs, origin)
    columns = _assign(request.groups, paired.paths, paired.identities, origin, reporter)
    compared = ~np.isnan(scores)
    rows, people = paired.rows[:, compared], paired.people[:, compared]
    values, genuine = scores[compared], np.array([bool(pair.same) for pair in pairs])[compared]
    far, threshold, reports = None, request.threshold, []
    try:
        if threshold is None:
            _require_measurable(request.far, int((~genuine).sum()), origin)
            far = request.far or _usual_far([_pairs_within(column, rows[:, ~genuine]) for column in columns])
            threshold = tar_at_far(values, genuine, far).threshold
        for column in columns:
            rates = group_rates(
                values,
                genuine,
                people,
                column.numbers[rows],
                len(column.names),
                threshold,
                far=far,
                rounds=request.rounds,
                seed=request.seed,
            )
            report = summarize_groups(
                column,
                rates,
                threshold=threshold,
                far=far,
                people=paired.identities if paired.has_people else None,
                failed=[path in failed for path in paired.paths],
            )
            reports.append(report)
    except ValueError as error:
        raise DataError(f"{origin}: {error}") from error
    return tuple(reports)


def measure_groups_of_faces(
    request: GroupRequest,
    rows: Rows,
    thresholds: Mapping[float, float],
    failed: Sequence[tuple[str, str | None]] | None,
    origin: str,
    reporter: Reporter,
) -> tuple[GroupReport, ...]:
    """Measures groups on all pairs of labeled faces.

    Args:
        request: The groups and rates to measure; the rate must be among those of the thresholds.
        rows: The faces, all with a name.
        thresholds: The measured threshold of each false accept rate.
        failed: Path and person of each picture without a face; None if they are unknown.
        origin: Name of the faces in messages.
        reporter: Receives a warning if pictures have no group.

    Returns:
        One report for each attribute.

    Raises:
        DataError: The list of groups contains no picture and no person, or one kind of pair is missing.
    """
    missing = list(failed or ())
    paths = [*rows.paths, *(path for path, _ in missing)]
    identities = [*rows.identities, *(name for _, name in missing)]
    columns = _assign(request.groups, paths, identities, origin, reporter)
    people = np.unique([str(name) for name in rows.identities], return_inverse=True)[1]
    far, threshold, reports = None, request.threshold, []
    if threshold is None:
        within = [_all_pairs_within(column, people) for column in columns]
        sizes = np.bincount(people).astype(np.int64)
        _require_measurable(request.far, int(sizes.sum() ** 2 - (sizes**2).sum()) // 2, origin)
        far = request.far or _usual_far(within, thresholds, origin)
        threshold = thresholds[far]
    for column in columns:
        try:
            rates = all_pairs_group_rates(
                rows.embeddings,
                people,
                column.numbers[: len(rows)],
                len(column.names),
                threshold,
                far=far,
                rounds=request.rounds,
                seed=request.seed,
            )
        except ValueError as error:
            raise DataError(f"{origin}: {error}") from error
        report = summarize_groups(
            column,
            rates,
            threshold=threshold,
            far=far,
            people=identities,
            failed=None if failed is None else [row >= len(rows) for row in range(len(paths))],
        )
        reports.append(report)
    return tuple(reports)


@dataclass(frozen=True, kw_only=True, eq=False)
class _PairedPictures:
    """The pictures in pairs with their people, and the two pictures and people of each pair. Shapes: (2, pairs)."""

    paths: tuple[str, ...]
    identities: tuple[str | None, ...]
    rows: NDArray[np.int64]
    people: NDArray[np.int64]
    has_people: bool


def _find_pictures(groups: GroupList, pairs: Sequence[Pair], origin: str) -> _PairedPictures:
    known = people_in_pairs(pairs)
    if known is None and groups.key == "identity":
        raise DataError(
            f"{origin}: the people are unknown, since the folders of the pictures are not people; list the groups of "
            f"pictures instead, with the header 'path,GROUP' in {groups.origin}"
        )
    row_of = dict[str, int]()
    rows = np.array([[row_of.setdefault(name, len(row_of)) for name in (pair.a, pair.b)] for pair in pairs], np.int64).T
    identities: list[str | None] = [None] * len(row_of)
    if known is None:  # Each pair shows people of its own.
        different = np.array([not pair.same for pair in pairs])
        people = np.stack([2 * np.arange(len(pairs)), 2 * np.arange(len(pairs)) + different])
    else:
        people = np.stack(known[:2])
        for row, number in zip(rows.ravel().tolist(), people.ravel().tolist(), strict=True):
            identities[row] = known[2][number]
    return _PairedPictures(
        paths=tuple(row_of), identities=tuple(identities), rows=rows, people=people, has_people=known is not None
    )


def _assign(
    groups: GroupList, paths: Sequence[str], identities: Sequence[str | None], origin: str, reporter: Reporter
) -> tuple[GroupColumn, ...]:
    columns = groups.assign(paths, identities)
    for column in columns:
        without = int((column.numbers < 0).sum())
        if without:
            text = (
                f"{origin}: {without:,} of {len(paths):,} pictures have no value of {column.attribute} in "
                f"{groups.origin} and are in no group"
            )
            reporter.report(Notice(text=text, level="warning"))
    return columns


def _require_measurable(far: float | None, impostors: int, origin: str) -> None:
    """Raises a DataError if a rate that was asked for is below that of a single impostor pair."""
    # 1000 * 1e-3 is 1, but not all such products are.
    if far is not None and far * impostors < 1 - 1e-9:
        raise DataError(
            f"{origin}: a FAR of {far:g} needs {1 / far:,.0f} or more impostor pairs, but there are {impostors:,}; "
            "choose a higher --far"
        )


def _usual_far(within: Sequence[Sequence[int]], fars: Collection[float] = USUAL_GROUP_FARS, origin: str = "") -> float:
    """Returns the lowest of the usual rates for which two groups of each attribute have enough impostor pairs.

    Args:
        within: Number of impostor pairs within each group, for each attribute.
        fars: The rates to choose from.
        origin: Name of the faces in messages.

    Raises:
        DataError: There are no rates to choose from.
    """
    usual = sorted(set(USUAL_GROUP_FARS) & set(fars)) or sorted(fars)
    if not usual:
        raise DataError(f"{origin}: too few impostor pairs for a threshold")
    for far in usual:
        if all(sum(pairs >= pairs_needed(far) for pairs in counts) >= 2 for counts in within):
            return far
    return usual[-1]


def _pairs_within(column: GroupColumn, impostors: NDArray[np.int64]) -> list[int]:
    one, other = column.numbers[impostors]
    pairs: list[int] = np.bincount(one[(one == other) & (one >= 0)], minlength=len(column.names)).tolist()
    return pairs


def _all_pairs_within(column: GroupColumn, people: NDArray[np.int64]) -> list[int]:
    counts = []
    for group in range(len(column.names)):
        sizes = np.bincount(people[column.numbers[: len(people)] == group]).astype(np.int64)
        counts.append(int(sizes.sum() ** 2 - (sizes**2).sum()) // 2)
    return counts
