"""Defects in a list of pairs, and the people in its pictures."""

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
    """The number of pairs that are redundant, contradictory or trivial.

    Attributes:
        repeated: Pairs that an earlier line already lists, in either order and with any label.
        contradictory: Pairs listed both as genuine and as impostor, in either order; each counted once.
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
    """Counts the defective pairs of a list.

    Args:
        pairs: The list.
        content_hashes: Hash of each file's content, by path. Missing files are not counted as copies.
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
    """Derives the people in the pairs from the folders of the pictures.

    Folders count as people if no label contradicts: genuine pairs have the same folder name, and impostor pairs have
    different ones. Tries the innermost folders first, then a level above, as in CFP.

    Returns:
        The index of the person in the first and in the second picture of each pair, both of shape (pairs,), and the
        sorted names of the people. None if a label contradicts, or a picture is in no folder or in that of unknown
        people.
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
