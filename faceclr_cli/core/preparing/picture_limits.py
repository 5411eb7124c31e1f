"""Which photographs are needed where each person is to have at least, or at most, so many."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.preparing.photo_worker import CropJob


@dataclass(frozen=True, kw_only=True)
class PictureLimits:
    """How many photographs with a face each person is to have. People without a name are not counted.

    Attributes:
        least: Who has fewer is left out.
        most: Who has more keeps these many, drawn by their names alone; None for all.
    """

    least: int = 0
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class NeededPictures:
    """What is to be done now.

    Attributes:
        todo: Photographs to look at.
        left_out: Those that are not needed, by path, and why.
    """

    todo: list[CropJob] = field(default_factory=list)
    left_out: dict[str, Reason] = field(default_factory=dict)


def select_needed(
    work: Iterable[CropJob], bounds: PictureLimits, good: Set[str], bad: Set[str], finished: Set[str]
) -> NeededPictures:
    """Decides person by person, from what is known so far.

    Where some are to be left out one has to look first: whether a photograph shows a face, nobody knows before.
    So this is asked again after each round of work until nothing is to do. What is looked at in the end does not
    depend on how often the work was interrupted: it is the shortest beginning of each person's photographs, in
    an order drawn by their names, that holds enough faces.

    Args:
        work: All photographs.
        bounds: How many of each person.
        good: Paths known to give a face.
        bad: Paths known to give none.
        finished: Paths whose crops are in their places.
    """
    albums: dict[str | None, list[CropJob]] = defaultdict(list)
    for item in work:
        albums[item.identity].append(item)
    result = NeededPictures()
    for identity, album in albums.items():
        if identity is None:
            result.todo.extend(item for item in album if item.path not in bad and item.path not in finished)
        else:
            _decide(album, bounds, good, bad, finished, result)
    return result


def _decide(
    album: Sequence[CropJob],
    bounds: PictureLimits,
    good: Set[str],
    bad: Set[str],
    finished: Set[str],
    result: NeededPictures,
) -> None:
    hopeful = [item for item in album if item.path not in bad]
    taken, surplus = hopeful, []
    if bounds.most is not None:
        hopeful = sorted(hopeful, key=_draw)
        taken, surplus = hopeful[: bounds.most], hopeful[bounds.most :]
    unknown = [item for item in taken if item.path not in good]
    if len(album) < bounds.least or (not unknown and len(taken) < bounds.least):
        result.left_out.update((item.path, Reason.FEW) for item in hopeful)
        return
    result.left_out.update((item.path, Reason.SURPLUS) for item in surplus)
    result.todo.extend(unknown or [item for item in taken if item.path not in finished])


def _draw(work: CropJob) -> bytes:
    return hashlib.sha256(os.fsencode(work.path)).digest()
