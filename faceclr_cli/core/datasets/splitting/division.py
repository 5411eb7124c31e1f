"""Assignment of crops to the parts of a split: at random, or as the source defines it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger
from faceclr_cli.core.text import display_path

PARTS = ("train", "val", "test")
"""The parts in order: an earlier part is used for training, a later one for measuring."""


def divide_people(faces: FaceFolder, shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Assigns every person to one part.

    Args:
        faces: The faces to split.
        shares: Share of each part, above zero; they add up to one.
        seed: Random seed.

    Returns:
        The paths of each part.

    Raises:
        DataError: There are fewer people than parts.
    """
    if len(faces.people) < len(shares):
        raise DataError(
            f"{display_path(faces.root)}: {len(faces.people)} people are not enough for {len(shares)} parts with "
            "different people; use --by image, or set shares to 0"
        )
    people = sorted(faces.people, key=lambda name: _draw(seed, name))
    counts = _apportion(len(people), shares, least=1)
    owners = iter(people)
    part_of: dict[str | None, str] = {next(owners): part for part in shares for _ in range(counts[part])}
    part_of[None] = next(iter(shares))  # faces without an identity are only useful for training
    parts: dict[str, list[str]] = {part: [] for part in shares}
    for path, identity in zip(faces.paths, faces.identities, strict=True):
        parts[part_of[identity]].append(path)
    return parts


def divide_images(faces: FaceFolder, shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Splits the pictures of every person, and those without an identity, among the parts.

    A person with fewer pictures than parts is only in the first parts: testing on a person without training pictures
    would be meaningless here.

    Args:
        faces: The faces to split.
        shares: Share of each part, above zero; they add up to one.
        seed: Random seed.

    Returns:
        The paths of each part.
    """
    albums: dict[str | None, list[str]] = {}
    for path, identity in zip(faces.paths, faces.identities, strict=True):
        albums.setdefault(identity, []).append(path)
    parts: dict[str, list[str]] = {part: [] for part in shares}
    for album in albums.values():
        drawn = iter(sorted(album, key=lambda path: _draw(seed, path)))
        for part, count in _apportion(len(album), shares, least=0).items():
            parts[part].extend(next(drawn) for _ in range(count))
    return {part: sorted(paths) for part, paths in parts.items()}


def official_parts(faces: FaceFolder) -> dict[str, str]:
    """Returns the official part of each crop by path, for crops whose source defines one.

    Raises:
        ConfigError: The folder has no ledger, or the ledger contains no parts.
        DataError: The ledger is damaged.
    """
    path = faces.root / LEDGER
    wanted = (
        "the source of the photographs must define them, as CelebA's list_eval_partition.txt or folders train/ and "
        "test/ do"
    )
    if not path.is_file():
        raise ConfigError(f"{display_path(faces.root)}: has no {LEDGER}, so the official parts are unknown; {wanted}")
    try:
        with Ledger.open_to_read(path) as ledger:
            found = {output: row.part for row in ledger.rows() if row.part in PARTS for output in row.crops}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{display_path(path)}: damaged or of another version ({error})") from error
    if not found:
        raise ConfigError(f"{display_path(path)}: contains no official parts; {wanted}")
    return found


def divide_officially(faces: FaceFolder, official: Mapping[str, str]) -> dict[str, list[str]]:
    """Assigns every crop to its official part; crops without an official part are left out.

    Args:
        faces: The faces to split.
        official: The official part of each crop, by path.

    Returns:
        The paths of each part, without empty parts.

    Raises:
        DataError: No crop has an official part.
    """
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for path in faces.paths:
        if path in official:
            parts[official[path]].append(path)
    if not any(parts.values()):
        raise DataError(f"{display_path(faces.root)}: none of the remaining faces has an official part")
    return {part: paths for part, paths in parts.items() if paths}


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(name))).digest()


def _apportion(total: int, shares: Mapping[str, float], *, least: int) -> dict[str, int]:
    """Splits `total` into integers proportional to the shares; the largest remainders are rounded up."""
    # Round, because 0.1 * 30 must give 3 for every part.
    quotas = {part: round(total * share, 6) for part, share in shares.items()}
    counts = {part: max(least, int(quota)) for part, quota in quotas.items()}
    while sum(counts.values()) < total:
        part = max(quotas, key=lambda part: quotas[part] - counts[part])
        counts[part] += 1
    while sum(counts.values()) > total:
        part = max(counts, key=lambda part: counts[part] - quotas[part] if counts[part] > least else -1.0)
        counts[part] -= 1
    return counts
