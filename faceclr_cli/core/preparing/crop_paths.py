"""Where the crop of each photograph goes."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from pathlib import Path

from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.faces.face_folder import NOBODY
from faceclr_cli.core.preparing.photo_worker import CropJob
from faceclr_cli.core.sources.layouts import Photo, Photos

_LONGEST_STEM = 255 - len(".jpg")


def default_faces_folder(source: Path) -> Path:
    """`celeba/` -> `celeba-faces`, `lfw.tar.gz` -> `lfw-faces`, in the working directory."""
    if source == STANDARD_INPUT:
        return Path("faces")
    # By the name as it was typed: a link to a data set on another disk is called what its owner calls it.
    name = Path(os.path.abspath(source)).name if source.is_dir() else source.stem.removesuffix(".tar")
    return Path(f"{name}-faces" if name else "faces")


def plan_crops(found: Photos, suffix: str = ".jpg") -> list[CropJob]:
    """Gives every photograph the place of its crop: `<identity>/<name>.jpg`.

    Where several would have the same place (`a.jpg` and `a.png`), the first keeps it and the others
    get a few digits that depend on their own names alone. Of a source that is not complete all get them,
    since nobody knows what else there will be.
    """
    rivals: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for photo in found.photos:
        stem = os.path.splitext(photo.name.rsplit("/", 1)[-1])[0].lstrip(".")
        rivals[photo.identity or NOBODY, stem].append(photo)
    work = []
    archives: dict[Path, int] = {}
    for (folder, stem), group in rivals.items():
        for rank, photo in enumerate(sorted(group, key=lambda photo: photo.name)):
            name = _crop_name(stem, photo.name, suffix, is_first=rank == 0 and found.is_complete)
            work.append(_work(photo, f"{folder}/{name}", archives))
    return sorted(work, key=lambda item: item.path)


def _work(photo: Photo, output: str, archives: dict[Path, int]) -> CropJob:
    stamp = None
    if photo.member is not None:
        if photo.path not in archives:
            archives[photo.path] = photo.path.stat().st_mtime_ns
        stamp = (photo.size or 0, archives[photo.path])
    return CropJob(
        source=photo.path.absolute(),  # workers of a cluster have a working directory of their own
        path=photo.name,
        identity=photo.identity,
        part=photo.part,
        output=output,
        member=photo.member,
        position=photo.position,
        refused=photo.refused,
        stamp=stamp,
    )


def _crop_name(stem: str, name: str, suffix: str, *, is_first: bool) -> str:
    if is_first and stem and len(os.fsencode(stem)) <= _LONGEST_STEM:
        return f"{stem}{suffix}"
    digits = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    while len(os.fsencode(stem)) > _LONGEST_STEM - len(digits) - 1:
        stem = stem[:-1]
    return f"{stem}-{digits}{suffix}"
