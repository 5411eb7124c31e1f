"""What is wrong with a list of pairs, and whom its pictures show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs.pair_files import Pair
from faceclr_cli.core.sources.folder_levels import find_person_folders
from faceclr_cli.core.sources.identities import people_by_parent


@dataclass(frozen=True, kw_only=True)
class PairAudit:
    """How many pairs of a list say nothing, or twice the same, or two things.

    Attributes:
        repeated: Pairs that an earlier line lists already, in either order and whatever it says of them.
        contradictory: Pairs that are listed both as the same person and as two, in either order, each counted once.
        itself: Pairs of a picture with itself.
        copies: Pairs of two files with the same content.
    """

    repeated: int
    contradictory: int
    itself: int
    copies: int

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)


def audit_pairs(pairs: Sequence[Pair], content_hashes: Mapping[str, str]) -> PairAudit:
    """Counts the pairs that should not be in a list.

    Args:
        pairs: The list.
        content_hashes: The hash of each file's content, by its path. Pairs with a file that is not there are not known
            to be copies.
    """
    said: dict[tuple[str, str], set[bool | None]] = defaultdict(set)
    itself = copies = 0
    for pair in pairs:
        said[min(pair.a, pair.b), max(pair.a, pair.b)].add(pair.same)
        content = content_hashes.get(pair.a)
        if pair.a == pair.b:
            itself += 1
        elif content is not None and content == content_hashes.get(pair.b):
            copies += 1
    return PairAudit(
        repeated=len(pairs) - len(said),
        contradictory=sum({True, False} <= labels for labels in said.values()),
        itself=itself,
        copies=copies,
    )


def people_in_pairs(pairs: Sequence[Pair]) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]] | None:
    """Who is in each pair, where folders that the pictures lie in are people.

    They are taken for people if no label contradicts: pairs of one person lie in folders of one name, and pairs of two
    people do not. Folders are the innermost ones, or else those of a level above, as in CFP.

    Returns:
        The number of the person in the first and in the second picture of each pair, both of shape (pairs,), and the
        people's names, sorted, to which the numbers point. None where a label contradicts, or a picture lies in no
        folder or in that of people unknown.
    """
    paths = [path for pair in pairs for path in (pair.a, pair.b)]
    for folders in (people_by_parent(paths), find_person_folders(paths).people):
        known = [folder for folder in folders if folder is not None]
        names = tuple(sorted(set(known)))
        number_of = {name: number for number, name in enumerate(names)}
        if len(known) < len(folders):
            continue
        people = np.array([number_of[folder] for folder in known], np.int64).reshape(-1, 2)
        together = people[:, 0] == people[:, 1]
        if not any(pair.same is not None and pair.same != one for pair, one in zip(pairs, together, strict=True)):
            return people[:, 0], people[:, 1], names
    return None
