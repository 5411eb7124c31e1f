"""Names that are known before faces are grouped: from a gallery, a list, or regions that other programs wrote."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.optimize import linear_sum_assignment

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.datasets.face_sets import is_face_set
from faceclr_cli.core.embeddings.embedding_rows import Rows, select_named_rows
from faceclr_cli.core.embeddings.gallery_rows import read_gallery_rows
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.clustering.face_collection import FaceCollection, StoredEncoder
from faceclr_cli.core.evaluation.clustering.face_matching import box_overlap
from faceclr_cli.core.evaluation.clustering.group_folder import is_own_gallery
from faceclr_cli.core.evaluation.clustering.group_memory import GroupMemory, RememberedFace
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.sources.archive import is_archive
from faceclr_cli.core.sources.layouts import photo_reader
from faceclr_cli.core.sources.lists import is_folder_name
from faceclr_cli.core.sources.named_regions import NamedRegion, read_named_regions
from faceclr_cli.core.text import LINE_END, canonical, decode, display_path

_LEAST_OVERLAP = 0.2
"""Minimum intersection over union of a named region and a face. Programs draw regions of different sizes."""

_NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_MOST_BYTES = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownNames:
    """Names of faces.

    Attributes:
        folders: The folder of each face's person, or None. Same length as the faces.
        gallery: Further faces of known people, which are not grouped themselves; None without a gallery.
        gallery_folders: The folder of each face of the gallery.
    """

    folders: Sequence[str | None]
    gallery: Rows | None = None
    gallery_folders: Sequence[str] = field(default=())


def folder_of(name: str) -> str:
    """Returns the name of the folder for a person: the name, without characters that some systems do not allow.

    Names come from other programs and are not trusted.
    """
    text = _NOT_IN_NAMES.sub("_", canonical(name)).strip().strip(".")
    while len(text.encode("utf-8", "surrogateescape")) > _MOST_BYTES:
        text = text[:-1]
    text = text.rstrip(" .")
    return text if is_folder_name(text) and not text.startswith("_") else f"person {text}".strip()


def read_known_names(
    config: ClusterConfig,
    found: FaceCollection,
    faces: Sequence[RememberedFace],
    memory: GroupMemory,
    reporter: Reporter,
) -> KnownNames:
    """Reads the names of `--gallery`, and the named regions of photographs.

    A list takes precedence over regions, and a picture of the gallery over both.

    Raises:
        DataError: The gallery or the list cannot be read.
        ModelError, FingerprintError, ConfigError: As for `read_gallery_rows`.
    """
    folders: list[str | None] = [None] * len(faces)
    for row, name in _names_by_region(config, faces, reporter).items():
        folders[row] = folder_of(name)
    if config.gallery is None:
        return KnownNames(folders=folders)
    if config.gallery.suffix.lower() == ".csv" and not config.gallery.is_dir():
        for row, name in _names_by_list(config.gallery, faces, reporter).items():
            folders[row] = folder_of(name)
        return KnownNames(folders=folders)
    origin = display_path(config.gallery)
    if isinstance(found.encoder, StoredEncoder) and not is_store(config.gallery):
        raise ConfigError(f"--gallery {origin}: a store has no encoder to embed it; add --model, or give a store")
    rows = read_gallery_rows(config.gallery, None, found.model, found.encoder, reporter)
    rows = select_named_rows(rows, origin, reporter)
    if is_own_gallery(config):
        # Links do not count as people with names from other sources; all other pictures were added by the user.
        here = {face.sha256 for face in faces}
        links = {face.link for face in memory.faces if face.sha256 in here}
        rows = rows.take([row for row, path in enumerate(rows.paths) if path not in links])
    people = [folder_of(str(name)) for name in rows.identities]
    by_content: dict[str, list[int]] = {}
    for row, face in enumerate(faces):
        by_content.setdefault(face.sha256, []).append(row)
    for place, digest in enumerate(rows.content_hashes):
        # The same photograph may be in the gallery and among the photographs.
        if same := by_content.get(digest, []):
            likeness = found.rows.embeddings[same] @ rows.embeddings[place]
            folders[same[int(likeness.argmax())]] = people[place]
    return KnownNames(folders=folders, gallery=rows, gallery_folders=people)


def _names_by_list(path: Path, faces: Sequence[RememberedFace], reporter: Reporter) -> dict[int, str]:
    """Reads lines of `face,name`, where a face is the path of a picture, with `#2` for the second face in it."""
    try:
        text = decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{display_path(path)}: {error}") from error
    rows: dict[str, list[int]] = {}
    for row, face in enumerate(faces):
        rows.setdefault(face.path, []).append(row)
    lines = list(csv.reader(LINE_END.split(text)))
    start = 1 if [cell.strip().lower() for cell in lines[0]] == ["face", "name"] else 0
    names, unknown = dict[int, str](), list[str]()
    for number, cells in enumerate(lines[start:], start=start + 1):
        if not any(cells):
            continue
        if len(cells) != 2 or not all(cell.strip() for cell in cells):
            raise DataError(f"{display_path(path)}:{number}: expected 'face,name'")
        picture, name = (cell.strip() for cell in cells)
        place = _row_of(picture, rows, f"{display_path(path)}:{number}")
        if place is None:
            unknown.append(picture)
        elif names.setdefault(place, name) != name:
            raise DataError(f"{display_path(path)}:{number}: {display_path(picture)} is {names[place]!r} above")
    if unknown:
        text = f"{len(unknown)} of {len(names) + len(unknown)} faces are not in the collection (first: {unknown[0]})"
        reporter.report(Notice(text=f"{display_path(path)}: {text}", level="warning"))
    if not names:
        raise DataError(f"{display_path(path)}: names none of the faces")
    return names


def _row_of(face: str, rows: Mapping[str, Sequence[int]], origin: str) -> int | None:
    number = 1
    if face not in rows and (match := re.fullmatch(r"(.*)#(\d{1,6})", face)):
        face, number = match[1], int(match[2])
        return rows[face][number - 1] if face in rows and 0 < number <= len(rows[face]) else None
    if len(rows.get(face, ())) > 1:
        raise DataError(
            f"{origin}: {display_path(face)} shows {len(rows[face])} faces; write {display_path(face)}#2 for the second"
        )
    return rows[face][0] if face in rows else None


def _names_by_region(config: ClusterConfig, faces: Sequence[RememberedFace], reporter: Reporter) -> dict[int, str]:
    """Reads the named regions of the photographs, and finds the face in each."""
    source = config.source or Path()
    if is_store(source) or is_face_set(source):
        return {}
    rows: dict[str, list[int]] = {}
    for row, face in enumerate(faces):
        if face.box is not None:
            rows.setdefault(face.path, []).append(row)
    names: dict[int, str] = {}
    with photo_reader(source) as read:
        for path, those in track(list(rows.items()), reporter, "reading names", total=len(rows), unit="photographs"):
            sidecar = None if is_archive(source) else _sidecar(source, path)
            try:
                regions = read_named_regions(read(path), sidecar)
            except DataError:
                continue
            names |= _match_regions(regions, those, faces)
    if names:
        text = f"{len(names):,} faces have a name from another program"
        reporter.report(Notice(text=text))
    return names


def _sidecar(source: Path, path: str) -> bytes | None:
    root = source if source.is_dir() else Path()
    for name in (f"{path}.xmp", f"{path}.XMP", str(PurePosixPath(path).with_suffix(".xmp"))):
        with suppress(OSError):
            return (root / name).read_bytes()
    return None


def _match_regions(
    regions: Sequence[NamedRegion], rows: Sequence[int], faces: Sequence[RememberedFace]
) -> dict[int, str]:
    if not regions:
        return {}
    overlaps = np.array(
        [[box_overlap(region.box, faces[row].box or (0, 0, 0, 0)) for row in rows] for region in regions]
    )
    left, right = linear_sum_assignment(overlaps, maximize=True)
    return {rows[b]: regions[a].name for a, b in zip(left, right, strict=True) if overlaps[a, b] >= _LEAST_OVERLAP}
