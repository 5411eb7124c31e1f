"""The report on groups of people: their error rates at a common threshold, and the differences between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from faceclr_cli.core.datasets.group_lists import GroupColumn
from faceclr_cli.core.metrics.differentials import geometric_inequity, worst_to_best
from faceclr_cli.core.metrics.group_rates import GroupRate, GroupRates


@dataclass(frozen=True, kw_only=True)
class GroupErrors:
    """The errors of a group.

    Attributes:
        group: Name of the group.
        people: Number of people; None if unknown.
        pictures: Number of pictures, with those without a face.
        not_enrolled: Number of pictures without a face; None if unknown.
        fmr: False match rate of impostor pairs within the group.
        fnmr: False non-match rate of genuine pairs within the group.
    """

    group: str
    people: int | None
    pictures: int
    not_enrolled: int | None
    fmr: GroupRate
    fnmr: GroupRate


@dataclass(frozen=True, kw_only=True)
class GroupPairErrors:
    """The errors of impostor pairs with a picture in each of two groups.

    Attributes:
        first: Name of the first group.
        second: Name of the second group.
        fmr: False match rate.
    """

    first: str
    second: str
    fmr: GroupRate


@dataclass(frozen=True, kw_only=True)
class RateDifferential:
    """The difference of a rate between the groups for which it was measured.

    Attributes:
        worst: The group with the highest rate; None if there are fewer than two groups with a rate.
        best: The group with the lowest rate, or None.
        ratio: Highest rate divided by the lowest; None if the lowest is 0.
        inequity: Highest rate divided by the geometric mean (NIST IR 8429); None if a rate is 0.
    """

    worst: str | None
    best: str | None
    ratio: float | None
    inequity: float | None


@dataclass(frozen=True, kw_only=True)
class GroupReport:
    """Error rates of groups of people by one attribute.

    Attributes:
        attribute: Name of the attribute: the column of the list of groups.
        threshold: The common threshold.
        far: The false accept rate that the threshold was chosen for; None if the user chose the threshold.
        fmr: False match rate of all pairs, with those of people without a group.
        fnmr: False non-match rate of all pairs, with those of people without a group.
        impostor: Number of impostor pairs.
        genuine: Number of genuine pairs.
        mixed: Number of genuine pairs whose pictures are in two groups; they count in no group's rate.
        ungrouped: Number of pictures without a group.
        resampled: What the bootstrap of the intervals resampled: `people`, or `pairs` if the people are unknown.
        groups: The groups by name.
        pairs: Every two different groups.
        fmr_differential: Differences of the FMR within groups.
        fnmr_differential: Differences of the FNMR.
    """

    attribute: str
    threshold: float
    far: float | None
    fmr: float
    fnmr: float
    impostor: int
    genuine: int
    mixed: int
    ungrouped: int
    resampled: Literal["people", "pairs"]
    groups: tuple[GroupErrors, ...]
    pairs: tuple[GroupPairErrors, ...]
    fmr_differential: RateDifferential
    fnmr_differential: RateDifferential

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self) | {
            "groups": [asdict(group) for group in self.groups],
            "pairs": [asdict(pair) for pair in self.pairs],
        }


def summarize_groups(
    column: GroupColumn,
    rates: GroupRates,
    *,
    threshold: float,
    far: float | None,
    people: Sequence[str | None] | None,
    failed: Sequence[bool] | None,
) -> GroupReport:
    """Puts the rates of groups together to a report.

    Args:
        column: The groups of the pictures.
        rates: Their rates.
        threshold: The common threshold.
        far: The false accept rate that it was chosen for, or None.
        people: The person of each picture of the column; None if the people are unknown.
        failed: True for each picture of the column without a face; None if they are unknown.
    """
    names, numbers = column.names, column.numbers
    found = []
    for group, name in enumerate(names):
        own = np.flatnonzero(numbers == group).tolist()
        found.append(
            GroupErrors(
                group=name,
                people=None if people is None else len({people[place] for place in own}),
                pictures=len(own),
                not_enrolled=None if failed is None else sum(failed[place] for place in own),
                fmr=rates.fmr_of[group][group],
                fnmr=rates.fnmr_of[group],
            )
        )
    return GroupReport(
        attribute=column.attribute,
        threshold=threshold,
        far=far,
        fmr=rates.fmr,
        fnmr=rates.fnmr,
        impostor=rates.impostor,
        genuine=rates.genuine,
        mixed=rates.mixed,
        ungrouped=int((numbers < 0).sum()),
        resampled="pairs" if people is None else "people",
        groups=tuple(found),
        pairs=tuple(
            GroupPairErrors(first=names[one], second=names[other], fmr=rates.fmr_of[one][other])
            for one in range(len(names))
            for other in range(one + 1, len(names))
        ),
        fmr_differential=_differential(names, [each.fmr.rate for each in found]),
        fnmr_differential=_differential(names, [each.fnmr.rate for each in found]),
    )


def _differential(names: Sequence[str], rates: Sequence[float | None]) -> RateDifferential:
    known = [(rate, name) for rate, name in zip(rates, names, strict=True) if rate is not None]
    several = len(known) > 1
    return RateDifferential(
        worst=max(known, key=lambda each: each[0])[1] if several else None,
        best=min(known, key=lambda each: each[0])[1] if several else None,
        ratio=worst_to_best(rates),
        inequity=geometric_inequity(rates),
    )
