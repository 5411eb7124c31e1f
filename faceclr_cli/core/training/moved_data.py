"""Detection of data that was moved to another path since a run started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.datasets.face_sets import find_face_set
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.face_folder import FaceFolder


def may_have_moved(now: object, previous: object) -> bool:
    """Returns True if the paths of a resumed run may refer to the same data as before.

    If the previous path no longer exists, the data is assumed to have been moved; the checkpoint verifies the names of
    the faces later. If it still exists, the contents are compared: folders of faces by names and sizes of their files,
    other files by their digest.

    Args:
        now: The current value of the option; a path or a list of paths.
        previous: The value in the run to resume.
    """
    current, before = _paths(now), _paths(previous)
    return len(current) == len(before) > 0 and all(map(_may_be_same, current, before))


def _paths(value: object) -> list[Path]:
    values = value if isinstance(value, list) else [value]
    return [Path(each) for each in values if isinstance(each, str)]


def _may_be_same(now: Path, previous: Path) -> bool:
    if now == previous or not previous.exists():
        return True
    try:
        one, other = find_face_set(now), find_face_set(previous)
        if one is not None and other is not None:
            return one.fingerprint == other.fingerprint and _names_and_sizes(one) == _names_and_sizes(other)
        return now.is_file() and previous.is_file() and digest_file(now) == digest_file(previous)
    except (OSError, DataError):
        return False


def _names_and_sizes(faces: FaceFolder) -> Sequence[tuple[str, int]]:
    return [(path, faces.stamp(place)[0]) for place, path in enumerate(faces.paths)]
