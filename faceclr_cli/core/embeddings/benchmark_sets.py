"""The sets of pairs of a benchmark, and the locations of their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs.cfp import read_cfp
from faceclr_cli.core.datasets.pairs.pair_files import Pair, locate_pairs, read_labeled_pairs
from faceclr_cli.core.datasets.splitting.split import PAIRS
from faceclr_cli.core.embeddings.crop_source import Listing
from faceclr_cli.core.embeddings.named_pictures import NamedPictures
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.crop import fingerprint_for_foreign_crops
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.face_folder import SPLIT, is_face_folder
from faceclr_cli.core.preparing.template_check import require_arcface
from faceclr_cli.core.sources.containers import is_container, path_exists
from faceclr_cli.core.sources.file_trees import leads_out
from faceclr_cli.core.sources.insightface_bin import SUFFIX as BIN_SUFFIX
from faceclr_cli.core.sources.insightface_bin import InsightfaceBin, picture_name
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.sources.picture_names import FolderPictures
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

_BIN_SIZE = 112
_LIST_SUFFIXES = (".txt", ".csv", ".tsv")
_TRIED = 20
"""Number of pairs that are used to find the folder of the pictures."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchmarkSet:
    """A set of labeled pairs.

    Attributes:
        name: Name of the set, unique in a benchmark.
        source: The file or folder that the set was read from.
        place: The folder of the pictures, the `.bin` file, or the store.
        pairs: The pairs with the actual names of the pictures.
        listing: The pictures that exist; None for a store.
        absent: Why each missing picture is missing, by name.
    """

    name: str
    source: Path
    place: Path
    pairs: Sequence[Pair]
    listing: Listing | None
    absent: dict[str, str]


def find_benchmark_sets(paths: Sequence[Path], pairs: Path | None) -> list[BenchmarkSet]:
    """Reads sets of pairs, and finds their pictures. No picture is decoded, except for a sample of each `.bin` file.

    A set that is given twice is returned once.

    Args:
        paths: Files and folders; see `BenchmarkConfig.sets`.
        pairs: The pairs of the only set, or None if it has its own.

    Raises:
        DataError: A file is missing or damaged, or a folder contains no pairs.
        ConfigError: A store was given without pairs, or the pictures of a `.bin` file are not ArcFace crops.
    """
    every = [found for path in paths for found in _find_sets(path, pairs)]
    sets = list({found.source.resolve(): found for found in reversed(every)}.values())[::-1]
    counts = Counter(found.name for found in sets)
    return [found if counts[found.name] == 1 else replace(found, name=display_path(found.source)) for found in sets]


def _find_sets(path: Path, pairs: Path | None) -> Iterator[BenchmarkSet]:
    if not path_exists(path):
        raise DataError(f"{display_path(path)}: no such file or folder")
    if not path.is_dir() and path.suffix.lower() == BIN_SUFFIX:
        yield _open_bin(path)
    elif is_store(path):
        if pairs is None:
            raise ConfigError(f"{display_path(path)}: a store contains no pairs; give --pairs FILE")
        yield BenchmarkSet(
            name=path.stem, source=path, place=path, pairs=read_labeled_pairs(pairs), listing=None, absent={}
        )
    elif is_container(path):
        if pairs is None:
            raise ConfigError(f"{display_path(path)}: a container has no pairs; give --pairs FILE")
        yield _locate(path.name, path, path, read_labeled_pairs(pairs), display_path(pairs))
    elif pairs is not None:
        yield _open_pairs(path.name or str(path.resolve().name), path, path, pairs)
    elif not path.is_dir():
        yield _open_pairs(f"{path.resolve().parent.name}/{path.stem}", path, path.parent, path)
    else:
        yield from _find_in_folder(path)


def _find_in_folder(folder: Path) -> Iterator[BenchmarkSet]:
    name = folder.resolve().name
    visible = (file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    files = sorted(visible, key=lambda file: file.stem)
    bins = [file for file in files if file.suffix.lower() == BIN_SUFFIX]
    lists = [file for file in files if file.name.lower().startswith("pairs") and file.suffix in _LIST_SUFFIXES]
    beside = folder.parent / PAIRS
    if bins:
        yield from map(_open_bin, bins)
    elif (folder / SPLIT).is_file() and (folder / PAIRS).is_file():
        yield _open_pairs(f"{name}/test", folder, folder / "test", folder / PAIRS)
    elif is_face_folder(folder) and beside.is_file() and (folder.parent / SPLIT).is_file():
        yield _open_pairs(f"{folder.resolve().parent.name}/{name}", folder, folder, beside)
    elif (folder / "Protocol").is_dir() or any(child.is_dir() for child in folder.glob("*/Protocol")):
        yield _locate(name, folder, folder, read_cfp(folder), display_path(folder))
    elif lists:
        for file in lists:
            yield _open_pairs(name if len(lists) == 1 else f"{name}/{file.stem}", file, folder, file)
    else:
        raise DataError(
            f"{display_path(folder)}: contains neither .bin files nor pairs (looked for pairs*.txt, pairs*.csv, "
            "Protocol); add a list of pairs"
        )


def _open_pairs(name: str, source: Path, folder: Path, file: Path) -> BenchmarkSet:
    pairs = read_labeled_pairs(file)
    return _locate(name, source, _find_root(folder, pairs), pairs, display_path(file))


def _find_root(folder: Path, pairs: Sequence[Pair]) -> Path:
    """Returns the folder that pairs refer to: the given one, or a folder in it with any of the first pictures."""
    if not folder.is_dir():
        raise DataError(f"{display_path(folder)}: no such folder")
    inside = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    names = [name for pair in pairs[:_TRIED] for name in (pair.a, pair.b) if not leads_out(name)]
    for root in (folder, *inside):
        pictures = FolderPictures(root)
        if any(pictures.find(name) is not None for name in names):
            return root
    return folder


def _locate(name: str, source: Path, root: Path, pairs: Sequence[Pair], origin: str) -> BenchmarkSet:
    listed = [picture for pair in pairs for picture in (pair.a, pair.b)]
    outside = next((picture for picture in listed if leads_out(picture)), None)
    if outside is not None:
        raise DataError(f"{origin}: {display_path(outside)} leads out of {display_path(root)}")
    pictures = NamedPictures(root)
    located, missing = locate_pairs(pairs, pictures.names)
    if all(picture is not None for picture in missing):
        raise DataError(
            f"{origin}: {display_path(root)} contains none of the {count(len(pairs), 'pair')}; the first one names "
            f"{display_path(missing[0] or '')}"
        )
    found, absent = list[str](), dict[str, str]()
    for picture in dict.fromkeys(picture for pair in located for picture in (pair.a, pair.b)):
        if picture in pictures:
            found.append(picture)
        else:
            absent[picture] = f"{display_path(picture)}: not in {display_path(root)}"
    photos = sorted(map(pictures.photo, found), key=lambda photo: (photo.position, photo.name))
    return BenchmarkSet(
        name=name,
        source=source,
        place=root,
        pairs=located,
        listing=Listing(photos=photos, crops=pictures.crops),
        absent=absent,
    )


def _open_bin(path: Path) -> BenchmarkSet:
    with InsightfaceBin(path) as file:
        # A picture is in many pairs, each time with its content, so equal contents are one picture.
        first = dict[str, int]()
        number_of = [
            first.setdefault(digest or f"damaged {number}", number)
            for number, digest in enumerate(file.content_hashes())
        ]
        numbers = sorted(first.values())
        require_arcface(
            numbers,
            partial(_decode, file, path),
            display_path(path),
            "benchmark reads .bin files of aligned crops only",
        )
        names = [picture_name(number) for number in number_of]
        pairs = [Pair(a, b, bool(same)) for a, b, same in zip(names[::2], names[1::2], file.same, strict=True)]
    photos = [
        Photo(path=path, identity=None, name=name, member=name, position=position)
        for position, name in enumerate(map(picture_name, numbers))
    ]
    return BenchmarkSet(
        name=path.stem,
        source=path,
        place=path,
        pairs=pairs,
        listing=Listing(photos=photos, crops=fingerprint_for_foreign_crops("arcface", _BIN_SIZE)),
        absent={},
    )


def _decode(file: InsightfaceBin, path: Path, number: int) -> NDArray[np.uint8]:
    return decode_picture(file.picture(number), path)
