"""The official pairs of the CFP data set.

Sengupta et al., "Frontal to Profile Face Verification in the Wild", WACV 2016.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from faceclr_cli.core.datasets.pairs.pair_files import Pair, text_lines
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path

_SPLITS = tuple(f"{number:02d}" for number in range(1, 11))


@dataclass(frozen=True, kw_only=True)
class _Pictures:
    """One of the two lists of pictures.

    Attributes:
        file: The list.
        paths: Path of each picture below the root, by its 1-based number in the list.
    """

    file: Path
    paths: dict[int, str]


@dataclass(frozen=True, kw_only=True)
class _Split:
    folder: Path
    same: list[Pair]
    different: list[Pair]


def read_cfp(root: Path, kind: Literal["FP", "FF"] = "FP") -> list[Pair]:
    """Reads the pairs of the CFP protocol; the official archive has 7,000.

    Args:
        root: The unpacked archive: the folder that contains `Protocol` and `Data`, or its parent.
        kind: `FP` for frontal against profile pictures, `FF` for frontal against frontal pictures.

    Returns:
        The pairs of the first split, genuine before impostor pairs, then those of the second split, and so on, so
        that ten consecutive folds are the official ones. Paths are relative to `root`; the frontal picture comes
        first.

    Raises:
        DataError: A file is missing, a line is malformed or refers to a missing picture or one outside `root` (the
            message gives its number), or the splits are empty or differ in size.
    """
    protocol = _find_protocol(root)
    frontal = _read_pictures(root, protocol / "Pair_list_F.txt")
    others = frontal if kind == "FF" else _read_pictures(root, protocol / "Pair_list_P.txt")
    splits = [_read_split(protocol / "Split" / kind / name, frontal, others) for name in _SPLITS]
    first = splits[0]
    for split in splits:
        if not split.same or not split.different:
            raise DataError(f"{display_path(split.folder)}: same.txt or diff.txt contains no pairs")
        if (len(split.same), len(split.different)) != (len(first.same), len(first.different)):
            raise DataError(
                f"{display_path(split.folder)}: {len(split.same)} same and {len(split.different)} different pairs, but "
                f"{len(first.same)} and {len(first.different)} in split {first.folder.name}; splits must be of equal "
                "size"
            )
    return list(chain.from_iterable(split.same + split.different for split in splits))


def _find_protocol(root: Path) -> Path:
    if (root / "Protocol").is_dir():
        return root / "Protocol"
    found = sorted(folder for folder in root.glob("*/Protocol") if folder.is_dir())
    if not found:
        raise DataError(
            f"{display_path(root)}: contains no folder Protocol, not even one level down; unpack the CFP archive there"
        )
    if len(found) > 1:
        raise DataError(
            f"{display_path(root)}: contains both {display_path(found[0])} and {display_path(found[1])}; pass one of "
            "their parent folders"
        )
    return found[0]


def _read_pictures(root: Path, file: Path) -> _Pictures:
    here = file.parent.relative_to(root).as_posix()
    paths: dict[int, str] = {}
    for where, line in _lines(file):
        number, name = [*line.split(maxsplit=1), ""][:2]
        if not number.isdecimal() or not name:
            raise DataError(f"{where}: expected 'number path'")
        path = posixpath.normpath(posixpath.join(here, name))
        if path.startswith("/") or path == ".." or path.startswith("../"):
            raise DataError(f"{where}: the path leads outside {display_path(root)}")
        if int(number) in paths:
            raise DataError(f"{where}: picture {int(number)} is listed twice")
        paths[int(number)] = path
    return _Pictures(file=file, paths=paths)


def _read_split(folder: Path, frontal: _Pictures, others: _Pictures) -> _Split:
    return _Split(
        folder=folder,
        same=list(_read_pairs(folder / "same.txt", frontal, others, True)),
        different=list(_read_pairs(folder / "diff.txt", frontal, others, False)),
    )


def _read_pairs(file: Path, frontal: _Pictures, others: _Pictures, same: bool) -> Iterator[Pair]:
    for where, line in _lines(file):
        one, _, other = line.partition(",")
        yield Pair(_picture(frontal, one.strip(), where), _picture(others, other.strip(), where), same)


def _picture(pictures: _Pictures, number: str, where: str) -> str:
    if not number.isdecimal():
        raise DataError(f"{where}: expected 'number,number'")
    try:
        return pictures.paths[int(number)]
    except KeyError:
        raise DataError(f"{where}: picture {number} is not in {display_path(pictures.file)}") from None


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yields the position and the stripped text of each non-empty line."""
    for number, line in enumerate(text_lines(file), start=1):
        if line.strip():
            yield f"{display_path(file)}:{number}", line.strip()
