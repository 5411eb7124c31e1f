"""Look-up of pictures by the names that pair lists and identity lists give them."""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath

from faceclr_cli.core.sources.file_trees import is_picture
from faceclr_cli.core.text import canonical

_LISTINGS = 256


def plain_path(name: str) -> str:
    r"""Normalizes a path: Unicode form, slashes, `./` and surrounding spaces.

    Examples:
        >>> plain_path("people\\ann\\.\\1.jpg")
        'people/ann/1.jpg'
    """
    return posixpath.normpath(canonical(name).replace("\\", "/").strip())


class PictureNames:
    """Names of existing pictures, for look-ups by names that may be spelled differently.

    Args:
        names: Paths with forward slashes, or file names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find(self, name: str, *, any_suffix: bool = True) -> str | None:
        """Returns the actual name of a picture, or None.

        Without an exact match, a picture is found if it is the only one whose name differs in nothing but Unicode form,
        slashes, or (if `any_suffix`) suffix: LFW's lists give people and numbers, not file names.
        """
        if name in self._names:
            return name
        plain = plain_path(name)
        found = self._spelled.get(plain) or (self._stems.get(_stem(plain), []) if any_suffix else [])
        return found[0] if len(found) == 1 else None

    @cached_property
    def _spelled(self) -> dict[str, list[str]]:
        spelled = defaultdict[str, list[str]](list)
        for name in self._names:
            spelled[plain_path(name)].append(name)
        return dict(spelled)

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        stems = defaultdict[str, list[str]](list)
        for plain, names in self._spelled.items():
            if is_picture(plain):
                stems[_stem(plain)] += names
        return dict(stems)


class FolderPictures:
    """Pictures below a folder, for look-ups by names that may be spelled differently; see `PictureNames.find`.

    Args:
        root: The folder; None for the working directory and absolute paths.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root or Path()
        self._listings: dict[Path, tuple[int, PictureNames]] = {}

    def find(self, name: str) -> str | None:
        """Returns the actual name of a picture relative to the folder, or None."""
        if os.path.lexists(self._root / name):
            return name
        here = PurePosixPath()
        parts = PurePosixPath(plain_path(name)).parts
        for place, part in enumerate(parts, start=1):
            found: str | None = part
            if not os.path.lexists(self._root / here / part):
                found = self._listing(self._root / here).find(part, any_suffix=place == len(parts))
            if found is None:
                return None
            here /= found
        return str(here)

    def _listing(self, folder: Path) -> PictureNames:
        """Returns the current contents of a folder; it is listed again after a change."""
        try:
            changed = folder.stat().st_mtime_ns
            known = self._listings.get(folder)
            if known is None or known[0] != changed:
                if len(self._listings) >= _LISTINGS:
                    self._listings.clear()
                known = self._listings[folder] = changed, PictureNames(os.listdir(folder))
        except OSError:
            return PictureNames(())
        return known[1]


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0] if is_picture(path) else path
