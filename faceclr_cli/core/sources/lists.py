"""Lists of photos in text files: identities, parts of a data set, or only paths."""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.face_folder import UNNAMED
from faceclr_cli.core.sources.file_trees import is_picture
from faceclr_cli.core.sources.picture_names import PictureNames, plain_path
from faceclr_cli.core.text import LINE_END, canonical, decode, encoding_of, is_file_name

_PARTS = {"0": "train", "1": "val", "2": "test"}
_LONGEST_NAME = 255


@dataclass(frozen=True, kw_only=True)
class ListedPictures:
    """The entries of a list that match existing pictures.

    Attributes:
        words: The identity or part of each picture, by the picture's name.
        absent: Number of listed pictures that do not exist.
        unclear: Number of listed names without a folder that match several pictures.
    """

    words: dict[str, str]
    absent: int
    unclear: int


def read_identities(data: bytes, origin: str) -> dict[str, str]:
    """Reads lines of 'file identity', separated by a tab, a comma or the last space.

    Args:
        data: Content of the list.
        origin: Name of the list in errors.

    Returns:
        The identity of each file; files are paths with forward slashes.

    Raises:
        DataError: A line is malformed, a file is listed with two identities, or the list is empty.
    """
    # The identity becomes the name of a folder.
    return _read(data, origin, "file identity", lambda word: canonical(word) if is_folder_name(word) else None)


def read_parts(data: bytes, origin: str) -> dict[str, str]:
    """Reads CelebA's list of lines 'file 0', where 0 is train, 1 is val and 2 is test; see `read_identities`.

    Kaggle's version has a header line.
    """
    header, _, rest = data.partition(b"\n")
    if header.strip().removeprefix(b"\xef\xbb\xbf").lower() == b"image_id,partition":
        data = b"\n" + rest  # so that lines keep their numbers
    return _read(data, origin, "file 0|1|2", _PARTS.get)


def read_paths(data: bytes, *, null: bool) -> list[str]:
    """Reads a list of paths, one per line or terminated by NUL. Empty and repeated paths are dropped.

    Raises:
        ConfigError: The paths end with NUL, and `null` is false.
        DataError: The list is malformed UTF-16.
    """
    if not null and b"\0" in data and not encoding_of(data)[1]:
        raise ConfigError("standard input: the paths are separated by NUL; add --null")
    try:
        paths = os.fsdecode(data).split("\0") if null else decode(data).replace("\r\n", "\n").split("\n")
    except ValueError as error:
        raise DataError(f"standard input: {error}") from error
    once: dict[str, str] = {}
    for path in filter(None, paths):
        once.setdefault(os.path.normpath(path), path)
    return list(once.values())


def find_listed(listed: Mapping[str, str], names: Sequence[str], folder: str) -> ListedPictures:
    """Matches the files of a list with the existing pictures.

    Args:
        listed: The identity or part of each listed file.
        names: Names of the existing pictures.
        folder: The folder that listed paths are relative to: empty, or with a trailing slash. A file listed without a
            folder that is not there may be in any folder, if only one picture has this name. Spellings are
            compared as in `PictureNames`.
    """
    here = PictureNames(names)
    by_base: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_base[plain_path(name.rsplit("/", 1)[-1])].append(name)
    places = {file: here.find(folder + file) for file in listed}
    exact = {place: listed[file] for file, place in places.items() if place is not None}
    others = {file: by_base.get(plain_path(file), []) for file, place in places.items() if place is None}
    near = {found[0]: listed[file] for file, found in others.items() if len(found) == 1}
    return ListedPictures(
        words=near | exact,
        absent=sum(not found for found in others.values()),
        unclear=sum(len(found) > 1 for found in others.values()),
    )


def is_folder_name(text: str) -> bool:
    """Returns True if a person of this name can have a folder: not `_` (no identity) and not a hidden name."""
    fits = bool(text) and len(os.fsencode(text)) <= _LONGEST_NAME
    return fits and text != UNNAMED and not text.startswith(".") and is_file_name(text)


def _read(data: bytes, origin: str, form: str, understand: Callable[[str], str | None]) -> dict[str, str]:
    words: dict[str, str] = {}
    try:
        text = decode(data)
    except ValueError as error:
        raise DataError(f"{origin}: {error}") from error
    for number, line in enumerate(LINE_END.split(text), start=1):
        if not line.strip():
            continue
        file, separate = _divide(line)
        word = understand(separate)
        if word is None or not is_picture(file):
            raise DataError(f"{origin}:{number}: expected '{form}'")
        if words.setdefault(file, word) != word:
            raise DataError(f"{origin}:{number}: the file is listed as {words[file]!r} above and as {word!r} here")
    if not words:
        raise DataError(f"{origin}: lists no pictures")
    return words


def _divide(line: str) -> tuple[str, str]:
    """Splits a line into file and word. A tab or comma is a separator only after the name of a picture."""
    for separator in ("\t", ","):
        file, _, word = line.rpartition(separator)
        if is_picture(file.strip()):
            break
    else:
        file, word = ["", *line.rsplit(maxsplit=1)][-2:]
    return posixpath.normpath(file.strip()), word.strip()
