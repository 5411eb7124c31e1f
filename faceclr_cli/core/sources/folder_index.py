"""Folders of many prepared faces, whose listing is kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.face_folder import (
    FaceFolder,
    crop_names,
    identity_of,
    open_faces,
    person_folders,
    read_fingerprint,
)
from faceclr_cli.core.sources.container_index import (
    FEWEST,
    ContainerListing,
    index_path,
    open_index,
    write_index,
)

_LAYOUT = 1  # Increment when the content of folder indexes changes.
_SETTLED = 3_000_000_000
"""Nanoseconds after which two changes of a folder certainly have different modification times."""


def open_folder(root: Path) -> FaceFolder:
    """Lists a folder of prepared faces, as `open_faces` does, with little memory for each face.

    The names of many faces stay in a file. It is in the cache under a key of the names and modification times of the
    people's folders, which change when a face is added, removed or renamed. The next start therefore reads none of
    these folders.

    Raises:
        DataError: See `open_faces`.
    """
    fingerprint = read_fingerprint(root)
    folders = person_folders(root)
    stamp = _stamp(root, folders)
    target = None if stamp is None else index_path(stamp)
    index = open_index(target)
    if index is None:
        names = _Names(folders)
        if len(names) < FEWEST:
            return open_faces(root)
        listing = ContainerListing(columns={}, identities=names.identities(), names=names, flaw=None)
        index = write_index(target, listing)
    return FaceFolder(root=root, fingerprint=fingerprint, paths=index.names, identities=index.identities)


def _stamp(root: Path, folders: Sequence[os.DirEntry[str]]) -> str | None:
    """Returns a digest of the people's folders; None if one changed so recently that another change would not show."""
    path = os.fspath(root.absolute())
    digest = hashlib.sha256(json.dumps(["folder", _LAYOUT, path]).encode(errors="surrogateescape"))
    newest = 0
    for folder in folders:
        try:
            changed = folder.stat().st_mtime_ns
        except OSError as error:
            raise DataError(f"{folder.path}: cannot be read ({error.strerror})") from error
        newest = max(newest, changed)
        digest.update(os.fsencode(f"{folder.name}\0{changed}\n"))
    return None if time.time_ns() - newest < _SETTLED else digest.hexdigest()[:32]


class _Names:
    """The paths of all crops in people's folders in a single string, since millions of strings would take gigabytes."""

    def __init__(self, folders: Sequence[os.DirEntry[str]]) -> None:
        self._owners = [folder.name for folder in folders]
        self._names = ["/".join(crop_names(folder)) for folder in folders]
        self._counts = [names.count("/") + 1 if names else 0 for names in self._names]

    def __len__(self) -> int:
        return sum(self._counts)

    def __iter__(self) -> Iterator[str]:
        for owner, names in zip(self._owners, self._names, strict=True):
            for name in names.split("/") if names else ():
                yield f"{owner}/{name}"

    def identities(self) -> list[str | None]:
        """Returns the person of each crop, or None."""
        pairs = zip(map(identity_of, self._owners), self._counts, strict=True)
        return list(chain.from_iterable(repeat(who, count) for who, count in pairs))
