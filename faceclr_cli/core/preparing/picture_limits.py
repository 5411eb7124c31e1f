"""Selection of the photos that are needed to respect limits on the number of photos per person."""

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
    """Limits on the number of photos with a face per person. Photos without an identity are not limited.

    Attributes:
        least: People with fewer photos are left out.
        most: Maximum number of photos per person, selected by a hash of their names; None for no limit.
    """

    least: int = 0
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class NeededPictures:
    """The photos to process next.

    Attributes:
        todo: Photos to process.
        left_out: Reasons of photos that are not needed, by path.
    """

    todo: list[CropJob] = field(default_factory=list)
    left_out: dict[str, Reason] = field(default_factory=dict)


def select_needed(
    work: Iterable[CropJob], limits: PictureLimits, good: Set[str], bad: Set[str], finished: Set[str]
) -> NeededPictures:
    """Selects the photos to process next, person by person.

    Whether a photo shows a face is only known after processing it. With limits, the engine therefore works in
    rounds and calls this function again after each round until `todo` is empty. The processed photos do not depend
    on interruptions: for each person they are the shortest prefix, in the order of a hash of the names, that
    contains enough faces.

    Args:
        work: All photos.
        limits: The limits per person.
        good: Paths known to yield a face.
        bad: Paths known to yield no face.
        finished: Paths whose crops exist.
    """
    albums: dict[str | None, list[CropJob]] = defaultdict(list)
    for item in work:
        albums[item.identity].append(item)
    result = NeededPictures()
    for identity, album in albums.items():
        if identity is None:
            result.todo.extend(item for item in album if item.path not in bad and item.path not in finished)
        else:
            _decide(album, limits, good, bad, finished, result)
    return result


def _decide(
    album: Sequence[CropJob],
    limits: PictureLimits,
    good: Set[str],
    bad: Set[str],
    finished: Set[str],
    result: NeededPictures,
) -> None:
    hopeful = [item for item in album if item.path not in bad]
    taken, surplus = hopeful, []
    if limits.most is not None:
        hopeful = sorted(hopeful, key=_draw)
        taken, surplus = hopeful[: limits.most], hopeful[limits.most :]
    unknown = [item for item in taken if item.path not in good]
    if len(album) < limits.least or (not unknown and len(taken) < limits.least):
        result.left_out.update((item.path, Reason.FEW) for item in hopeful)
        return
    result.left_out.update((item.path, Reason.SURPLUS) for item in surplus)
    result.todo.extend(unknown or [item for item in taken if item.path not in finished])


def _draw(work: CropJob) -> bytes:
    return hashlib.sha256(os.fsencode(work.path)).digest()
