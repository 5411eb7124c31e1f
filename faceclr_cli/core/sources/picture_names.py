"""Pictures found by the names that other files give them: lists of pairs, lists of who is who."""

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
    r"""What the spellings of a path have in common, whatever its Unicode form, slashes, `./` and spaces around it.

    Examples:
        >>> plain_path("people\\ann\\.\\1.jpg")
        'people/ann/1.jpg'
    """
    return posixpath.normpath(canonical(name).replace("\\", "/").strip())


class PictureNames:
    """Names of pictures that exist, for look-ups by names that may be spelled differently.

    Args:
        names: Paths with forward slashes, or names of files.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find(self, name: str, *, any_suffix: bool = True) -> str | None:
        """The name that a picture has here.

        Where there is none of exactly this name, the only one is meant whose name differs in nothing but its Unicode
        form, its slashes, or (`.jpg` for `.png`) its suffix: LFW's lists name people and numbers, not files.
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
    """Pictures below a folder, looked up by names that may be spelled differently; see `PictureNames.find`.

    Args:
        root: The folder; None for the working directory and absolute paths.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root or Path()
        self._listings: dict[Path, tuple[int, PictureNames]] = {}

    def find(self, name: str) -> str | None:
        """The name, relative to the folder, that a picture has there."""
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
        """What a folder holds now; listed again once that changes."""
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
    """Without the suffix of a picture."""
    return posixpath.splitext(path)[0] if is_picture(path) else path
