"""Output paths of crops."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from pathlib import Path

from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.faces.face_folder import UNNAMED
from faceclr_cli.core.preparing.photo_worker import CropJob
from faceclr_cli.core.sources.layouts import Photo, Photos

_LONGEST_STEM = 255 - len(".jpg")


def default_faces_folder(source: Path) -> Path:
    """Returns the default output folder: `celeba/` -> `celeba-faces`, `lfw.tar.gz` -> `lfw-faces`."""
    if source == STANDARD_INPUT:
        return Path("faces")
    # Use the name as typed: a link to a data set on another disk keeps the name of the link.
    name = Path(os.path.abspath(source)).name if source.is_dir() else source.stem.removesuffix(".tar")
    return Path(f"{name}-faces" if name else "faces")


def plan_crops(found: Photos, suffix: str = ".jpg") -> list[CropJob]:
    """Assigns an output path `<identity>/<name>.jpg` to every photo.

    If several photos have the same path (`a.jpg` and `a.png`), the first keeps it, and the others get a suffix of
    eight digits that depends only on their own names. If the source is not complete, all photos get the suffix,
    because photos that appear later could claim the same path.
    """
    rivals: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for photo in found.photos:
        stem = os.path.splitext(photo.name.rsplit("/", 1)[-1])[0].lstrip(".")
        rivals[photo.identity or UNNAMED, stem].append(photo)
    work = []
    archives: dict[Path, int] = {}
    for (folder, stem), group in rivals.items():
        for rank, photo in enumerate(sorted(group, key=lambda photo: photo.name)):
            name = _crop_name(stem, photo.name, suffix, is_first=rank == 0 and found.is_complete)
            work.append(_crop_job(photo, f"{folder}/{name}", archives))
    return sorted(work, key=lambda item: item.path)


def _crop_job(photo: Photo, output: str, archives: dict[Path, int]) -> CropJob:
    stamp = None
    if photo.member is not None:
        if photo.path not in archives:
            archives[photo.path] = photo.path.stat().st_mtime_ns
        stamp = (photo.size or 0, archives[photo.path])
    return CropJob(
        source=photo.path.absolute(),  # the workers of a cluster have other working directories
        path=photo.name,
        identity=photo.identity,
        part=photo.part,
        output=output,
        member=photo.member,
        position=photo.position,
        refused=photo.refused,
        stamp=stamp,
        piece=photo.piece,
    )


def _crop_name(stem: str, name: str, suffix: str, *, is_first: bool) -> str:
    if is_first and stem and len(os.fsencode(stem)) <= _LONGEST_STEM:
        return f"{stem}{suffix}"
    digits = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    while len(os.fsencode(stem)) > _LONGEST_STEM - len(digits) - 1:
        stem = stem[:-1]
    return f"{stem}-{digits}{suffix}"
