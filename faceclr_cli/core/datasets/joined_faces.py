"""Several packed folders as one sequence of crops."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.packed_faces import PackedFaces, map_packed
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint
from faceclr_cli.core.text import display_path


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinedFaces:
    """Some crops of one or several packed folders; see `join`.

    Sent to another process, crops in the cache are mapped there too, and share the memory; others are copied.

    Attributes:
        packed: All crops of each folder, mapped, not copied. Shape of each: (n, size, size, 3).
        sources: Which of these holds each crop. Shape: (N,).
        rows: And in which of its rows. Shape: (N,).
        labels: Index of each crop's person in `people`, -1 where nobody knows. Shape: (N,).
        people: Their names, each with one crop here at least.
        paths: Path of each crop.
        fingerprint: How the crops were made, as far as that is known of all of them.
    """

    packed: tuple[NDArray[np.uint8], ...]
    sources: NDArray[np.int64]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    paths: tuple[str, ...]
    fingerprint: Fingerprint

    def __len__(self) -> int:
        return len(self.paths)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "packed": tuple(map(_file_of, self.packed))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        packed = tuple(map_packed(each) if isinstance(each, Path) else each for each in state["packed"])
        self.__dict__.update(state, packed=packed)

    @property
    def nbytes(self) -> int:
        """Memory that all crops would take together, in bytes."""
        return len(self) * int(np.prod(self.packed[0].shape[1:]))

    def crops(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copies some crops out of their folders.

        Args:
            indices: Which. Shape: (B,).

        Returns:
            RGB, 0-255, a new array. Shape: (B, size, size, 3).

        Raises:
            IndexError: There is no such crop.
        """
        sources, rows = self.sources[indices], self.rows[indices]
        out = np.empty((len(rows), *self.packed[0].shape[1:]), dtype=np.uint8)
        if len(self.packed) == 1:
            # The rows exist, so "clip" changes none. With the default, NumPy would fill a copy of `out` first.
            return np.take(self.packed[0], rows, axis=0, out=out, mode="clip")
        for source, packed in enumerate(self.packed):
            places = np.flatnonzero(sources == source)
            out[places] = np.take(packed, rows[places], axis=0)
        return out

    def take(self, indices: NDArray[np.int64]) -> JoinedFaces:
        """Some of these, in the order of `indices`. People of whom none is left are no longer listed.

        Args:
            indices: Which. Shape: (M,).

        Raises:
            IndexError: There is no such crop.
        """
        labels = self.labels[indices]
        left = np.unique(labels[labels >= 0])
        return replace(
            self,
            sources=self.sources[indices],
            rows=self.rows[indices],
            labels=np.where(labels < 0, -1, np.searchsorted(left, labels)),
            people=tuple(self.people[label] for label in left.tolist()),
            paths=tuple(self.paths[index] for index in indices.tolist()),
        )

    def digest(self) -> str:
        """SHA-256 of which pictures these are, and of whom; their order decides which is in which batch."""
        return hashlib.sha256("\n".join(self.paths).encode(errors="surrogateescape")).hexdigest()


def join(folders: Sequence[tuple[Path, PackedFaces]]) -> JoinedFaces:
    """Puts folders one behind the other.

    Of several folders, people and paths begin with the folder's name (and those of the folders above, where
    that is what tells them apart): two folders may both have a person `1`, who is not the same.

    Args:
        folders: Where each lies and what it holds; one at least.

    Raises:
        ConfigError: A folder is there twice.
        FingerprintError: Two folders were preprocessed differently; the message names both and what differs.
    """
    for (one, these), (other, those) in combinations(folders, 2):
        if one.resolve() == other.resolve():
            raise ConfigError(f"{display_path(other)}: given twice; a folder's weight makes it count more")
        these.fingerprint.require_same_crops(those.fingerprint, display_path(one), display_path(other))
    names = _names([root for root, _ in folders])
    people: list[str] = []
    labels: list[NDArray[np.int64]] = []
    for name, (_, faces) in zip(names, folders, strict=True):
        labels.append(np.where(faces.labels < 0, -1, faces.labels + len(people)))
        people.extend(name + person for person in faces.people)
    return JoinedFaces(
        packed=tuple(faces.crops for _, faces in folders),
        sources=np.repeat(np.arange(len(folders)), [len(faces) for _, faces in folders]),
        rows=np.concatenate([np.arange(len(faces)) for _, faces in folders]),
        labels=np.concatenate(labels),
        people=tuple(people),
        paths=tuple(name + path for name, (_, faces) in zip(names, folders, strict=True) for path in faces.paths),
        fingerprint=_common([faces.fingerprint for _, faces in folders]),
    )


def _file_of(packed: NDArray[np.uint8]) -> NDArray[np.uint8] | Path:
    """The file that a whole array is mapped from, or the array itself."""
    mapped = packed.base
    if isinstance(mapped, np.memmap) and mapped.shape == packed.shape and mapped.filename is not None:
        return Path(mapped.filename)
    return packed


def _names(roots: Sequence[Path]) -> list[str]:
    """What to put before the people and paths of each folder."""
    if len(roots) == 1:
        return [""]
    parts = [root.resolve().parts for root in roots]
    depth = 1
    while len({own[-depth:] for own in parts}) < len(parts):
        depth += 1
    return ["/".join(own[-depth:]) + "/" for own in parts]


def _common(fingerprints: Sequence[Fingerprint]) -> Fingerprint:
    """The first, without what is unknown of any: crops of unknown making don't become known by company."""
    unknown: dict[str, Any] = {
        field.name: UNKNOWN
        for field in fields(Fingerprint)
        if any(getattr(fingerprint, field.name) == UNKNOWN for fingerprint in fingerprints)
    }
    return replace(fingerprints[0], **unknown)
