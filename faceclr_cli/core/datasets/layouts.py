"""Which photographs a source holds, and who is in them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.datasets.folder import NOBODY
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.reasons import shown

Layout = Literal["identities", "celeba", "flat"]

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif"}
)
"""Files in folders that count as photographs, in lower case. HEIC does so that nobody misses it silently."""

CELEBA_LIST = "identity_CelebA.txt"
_CELEBA_PICTURES = ("img_align_celeba", "img_celeba")


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photograph of a source.

    Attributes:
        path: The file.
        identity: The name of its person, or None where nobody knows.
        name: The file's path relative to the source, with forward slashes: unique, and the same on any machine.
    """

    path: Path
    identity: str | None
    name: str


@dataclass(frozen=True, kw_only=True)
class Photos:
    """The photographs of a source, ordered by name.

    Attributes:
        layout: How people are told apart; `flat` also for a single file.
        photos: All of them.
        notices: What the user should hear: one sentence each.
    """

    layout: Layout
    photos: tuple[Photo, ...]
    notices: tuple[str, ...] = ()


def find_photos(source: Path, layout: Layout | Literal["auto"] = "auto") -> Photos:
    """Lists the photographs of a folder, or a single file as it is.

    - `identities`: a folder for each person, the first one on the way to the picture; where no such
      folder holds pictures itself (VGGFace2's `train/` and `test/`), the last one.
    - `celeba`: `img_align_celeba/` or `img_celeba/` beside `identity_CelebA.txt`.
    - `flat`: pictures of nobody knows whom.

    Hidden files, other files than pictures, and folders that a symbolic link leads to a second time are
    left out.

    Args:
        source: A folder or a file.
        layout: `auto` looks which it is.

    Raises:
        DataError: There is no such source, it holds no pictures, or its list of identities is malformed.
        ConfigError: The source is not laid out as said.
    """
    if not source.exists():
        raise DataError(f"{shown(source)}: no such file or folder")
    if not source.is_dir():
        return Photos(layout="flat", photos=(Photo(path=source, identity=None, name=source.name),))
    if layout == "celeba" or (layout == "auto" and _celeba_pictures(source) is not None):
        return _celeba(source)
    names, notices = _walk(source)
    if not names:
        raise DataError(f"{shown(source)}: no pictures in this folder (looked for .jpg, .png, .webp and the like)")
    has_people = any("/" in name for name in names)
    if layout == "identities" and not has_people:
        raise ConfigError(f"{shown(source)}: holds no folders of people; try --layout flat")
    if layout == "auto":
        layout = "identities" if has_people else "flat"
    identities = _people(names) if layout == "identities" else [None] * len(names)
    photos = (
        Photo(path=source / name, identity=identity, name=name)
        for name, identity in zip(names, identities, strict=True)
    )
    return Photos(layout=layout, photos=tuple(photos), notices=tuple(notices))


def _people(names: list[str]) -> list[str | None]:
    folders = [name.split("/")[:-1] for name in names]
    depth = 0 if any(len(folder) == 1 for folder in folders) else -1
    people = [folder[depth] if folder else None for folder in folders]
    return [None if person == NOBODY else person for person in people]


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """The pictures below a folder by relative name, sorted, and what could not be listed."""
    names: list[str] = []
    notices: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting: deque[str] = deque([""])
    while waiting:
        folder = waiting.popleft()
        try:
            about = os.stat(root / folder)
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            notices.append(f"{shown(root / folder)}: left out, cannot be listed ({error.strerror})")
            continue
        real: list[str] = []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                real.append(name)
            elif entry.is_dir():
                waiting.append(name)  # behind all real folders, so that a folder goes by its own name
            elif _is_photo(entry):
                names.append(name)
        waiting.extendleft(reversed(real))
    return sorted(names), notices


def _is_photo(entry: os.DirEntry[str]) -> bool:
    # A broken link counts, to be recorded as missing. A pipe does not: it would be waited for.
    is_sound = entry.is_file() or not Path(entry.path).exists()
    return is_sound and os.path.splitext(entry.name)[1].lower() in SUFFIXES


def _celeba_pictures(source: Path) -> Path | None:
    for above in (source, source / "Img"):
        for name in _CELEBA_PICTURES:
            # Kaggle's archive has the folder twice.
            for pictures in (above / name / name, above / name):
                if pictures.is_dir():
                    return pictures
    return None


def _celeba(source: Path) -> Photos:
    pictures = _celeba_pictures(source)
    listing = next((path for path in (source / CELEBA_LIST, source / "Anno" / CELEBA_LIST) if path.is_file()), None)
    if pictures is None:
        raise ConfigError(f"{shown(source)}: not CelebA's layout, it has neither {' nor '.join(_CELEBA_PICTURES)}")
    if listing is None:
        raise ConfigError(f"{shown(source)}: CelebA's {CELEBA_LIST} is missing; put it there, or say --layout flat")
    names, notices = _walk(pictures)
    if not names:
        raise DataError(f"{shown(pictures)}: no pictures in this folder")
    identities = dict(_read_identities(listing))
    absent = identities.keys() - set(names)
    if absent:
        notices.append(f"{len(absent)} of the {len(identities)} pictures that {CELEBA_LIST} lists are not here")
    below = pictures.relative_to(source).as_posix()
    photos = (Photo(path=pictures / name, identity=identities.get(name), name=f"{below}/{name}") for name in names)
    return Photos(layout="celeba", photos=tuple(photos), notices=tuple(notices))


def _read_identities(listing: Path) -> Iterator[tuple[str, str]]:
    text = listing.read_text(encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        # The identity becomes the name of a folder.
        if len(words) != 2 or "/" in words[1] or words[1].startswith(".") or words[1] == NOBODY:
            raise DataError(f"{shown(listing)}:{number}: not of the form 'file identity'")
        yield words[0], words[1]
