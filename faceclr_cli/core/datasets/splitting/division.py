"""Which crop goes to which part: by lot, or as the source says itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger
from faceclr_cli.core.text import display_path

PARTS = ("train", "val", "test")
"""The parts in their order: what is earlier here is learned from, what is later is measured on."""


def divide_people(faces: FaceFolder, shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Gives every person to one part.

    Args:
        faces: What to divide.
        shares: Above zero, by part; together one.
        seed: Draws other people.

    Returns:
        The paths of each part.

    Raises:
        DataError: There are fewer people than parts.
    """
    if len(faces.people) < len(shares):
        raise DataError(
            f"{display_path(faces.root)}: {len(faces.people)} people cannot be divided into {len(shares)} parts "
            "without one in two of them; type --by image, or set shares to 0"
        )
    people = sorted(faces.people, key=lambda name: _draw(seed, name))
    counts = _apportion(len(people), shares, least=1)
    owners = iter(people)
    part_of: dict[str | None, str] = {next(owners): part for part in shares for _ in range(counts[part])}
    part_of[None] = next(iter(shares))  # without a name it can be of use in training alone
    parts: dict[str, list[str]] = {part: [] for part in shares}
    for path, identity in zip(faces.paths, faces.identities, strict=True):
        parts[part_of[identity]].append(path)
    return parts


def divide_images(faces: FaceFolder, shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Divides the pictures of every person, and those of nobody knows whom.

    Who has too few pictures for all parts is in the first ones: a test on a person who was not trained
    on would say little here.

    Args:
        faces: What to divide.
        shares: Above zero, by part; together one.
        seed: Draws other pictures.

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
    """The part of each crop whose photograph's source names one, by the crop's path.

    Raises:
        ConfigError: The folder has no ledger, or its ledger names no parts.
        DataError: The ledger is damaged.
    """
    path = faces.root / LEDGER
    wanted = (
        "its photographs' source must name them, as CelebA's list_eval_partition.txt or folders train/ and test/ do"
    )
    if not path.is_file():
        raise ConfigError(f"{display_path(faces.root)}: no {LEDGER} here, so no official parts are known; {wanted}")
    try:
        with Ledger.open_to_read(path) as ledger:
            found = {output: row.part for row in ledger.rows() if row.part in PARTS for output in row.outputs}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{display_path(path)}: damaged or of another version ({error})") from error
    if not found:
        raise ConfigError(f"{display_path(path)}: names no official part of any photograph; {wanted}")
    return found


def divide_officially(faces: FaceFolder, official: Mapping[str, str]) -> dict[str, list[str]]:
    """Puts every crop into the part that its source names; those without one are in none.

    Args:
        faces: What to divide.
        official: The part of each crop, by path.

    Returns:
        The paths of each part, of parts that have any.

    Raises:
        DataError: No crop has a part.
    """
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for path in faces.paths:
        if path in official:
            parts[official[path]].append(path)
    if not any(parts.values()):
        raise DataError(f"{display_path(faces.root)}: none of the faces that are left has an official part")
    return {part: paths for part, paths in parts.items() if paths}


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(name))).digest()


def _apportion(total: int, shares: Mapping[str, float], *, least: int) -> dict[str, int]:
    """Whole numbers in the proportion of the shares: the largest remainders get what rounding down leaves."""
    # Rounded, so that 0.1 * 30 is 3 for every part.
    quotas = {part: round(total * share, 6) for part, share in shares.items()}
    counts = {part: max(least, int(quota)) for part, quota in quotas.items()}
    while sum(counts.values()) < total:
        part = max(quotas, key=lambda part: quotas[part] - counts[part])
        counts[part] += 1
    while sum(counts.values()) > total:
        part = max(counts, key=lambda part: counts[part] - quotas[part] if counts[part] > least else -1.0)
        counts[part] -= 1
    return counts
