"""Writes the aligned faces of a set of pairs as insightface's `.bin` file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.embeddings.benchmark_sets import find_benchmark_sets
from faceclr_cli.core.embeddings.crop_source import Listing, open_source
from faceclr_cli.core.embeddings.loaded_pictures import FaceCrop, FailedPicture
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.sources.file_trees import read_file
from faceclr_cli.core.sources.insightface_bin import SUFFIX, write_bin
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

_SIZE = 112
_AHEAD = 128


@dataclass(frozen=True, kw_only=True)
class WrittenBin:
    """The result of `faceclr benchmark --write-bin`.

    Attributes:
        out: The file.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        pictures: Number of pictures, each counted once.
        left_out: Pairs that were not written since a picture is missing or has no face.
    """

    out: str
    genuine: int
    impostor: int
    pictures: int
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self)


def write_benchmark_bin(config: BenchmarkConfig, reporter: Reporter) -> WrittenBin:
    """Writes a set of pairs as a `.bin` file, readable by insightface.

    The files of prepared faces are copied as they are. Photographs are aligned, and their crops written as PNG, which
    loses nothing.

    Raises:
        ConfigError: No file was given, or the set is a store or a `.bin` file.
        DataError: The set cannot be read, no pair is left, or the file cannot be written.
        FingerprintError: The prepared faces are not 112 px crops with the ArcFace template.
    """
    sets = find_benchmark_sets(config.sets, config.pairs)
    if config.write_bin is None or len(sets) != 1:
        raise ConfigError(f"--write-bin requires a file and a single set, not {len(sets)}")
    (found,) = sets
    if found.listing is None or found.source.suffix.lower() == SUFFIX:
        kind = "a store contains no pictures" if found.listing is None else "is a .bin file already"
        raise ConfigError(f"--write-bin: {display_path(found.source)}: {kind}")
    with tempfile.TemporaryFile() as spool:
        places, failures = _spool_crops(found.listing, config, found.place, spool, reporter)
        pairs = [pair for pair in found.pairs if pair.a in places and pair.b in places]
        left_out = len(found.pairs) - len(pairs)
        reasons = [*found.absent.values(), *failures]
        if not pairs:
            raise DataError(f"{found.name}: no pair has two faces (first: {reasons[0]})")
        if left_out:
            text = f"left out {left_out} of {count(len(found.pairs), 'pair')} without two faces (first: {reasons[0]})"
            reporter.report(Notice(text=text, level="warning"))

        def contents() -> Iterator[tuple[bytes, bytes, bool]]:
            for pair in pairs:
                yield _unspool(spool, places[pair.a]), _unspool(spool, places[pair.b]), bool(pair.same)

        write_bin(config.write_bin, contents())
    genuine = sum(bool(pair.same) for pair in pairs)
    return WrittenBin(
        out=str(config.write_bin),
        genuine=genuine,
        impostor=len(pairs) - genuine,
        pictures=len({name for pair in pairs for name in (pair.a, pair.b)}),
        left_out=left_out,
    )


_Place = tuple[int, int]


def _spool_crops(
    listing: Listing, config: BenchmarkConfig, root: Path, spool: BinaryIO, reporter: Reporter
) -> tuple[dict[str, _Place], list[str]]:
    """Writes encoded crops to a temporary file; returns the place of each crop, and the reasons of failures."""
    wanted = default_fingerprint(_SIZE)
    if listing.crops is not None:
        listing.crops.require_same_crops(wanted, display_path(root), "insightface's .bin form")
    source = open_source(config.face_choice, listing, wanted)
    photo_of = {photo.name: photo for photo in listing.photos}
    places, failures = dict[str, _Place](), list[str]()
    items = track(source.load(_AHEAD), reporter, "aligning faces", total=len(listing.photos), unit="photos")
    for item in items:
        if isinstance(item, FailedPicture):
            failures.append(item.reason)
            continue
        data = _encode(item.faces[0], photo_of[item.name], is_prepared=listing.crops is not None)
        places[item.name] = spool.tell(), len(data)
        spool.write(data)
    return places, failures


def _encode(face: FaceCrop, photo: Photo, *, is_prepared: bool) -> bytes:
    if is_prepared:
        return read_file(photo.path)
    done, data = cv2.imencode(".png", cv2.cvtColor(face.crop, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"{display_path(photo.path)}: its crop cannot be written as PNG")
    return data.tobytes()


def _unspool(spool: BinaryIO, place: _Place) -> bytes:
    spool.seek(place[0])
    return spool.read(place[1])
