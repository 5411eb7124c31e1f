"""Several packed folders joined into one sequence of crops."""

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
from faceclr_cli.core.faces.fingerprint import LANDMARKS, UNKNOWN, Fingerprint
from faceclr_cli.core.text import display_path


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinedFaces:
    """A selection of crops from one or several packed folders; see `join`.

    When sent to another process, crops from `pack` are memory-mapped there and share the memory; others are copied.

    Attributes:
        packed: All crops of each folder, memory-mapped. Shape of each: (n, size, size, 3).
        sources: Index into `packed` of each crop. Shape: (N,).
        rows: Row of each crop in its array. Shape: (N,).
        labels: Index into `people` of each crop's person, -1 if unknown. Shape: (N,).
        people: Names of the people, each with at least one crop.
        paths: Path of each crop.
        fingerprint: How the crops were made, with fields unknown that are unknown in any folder.
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
        """Memory that all crops would take, in bytes."""
        return len(self) * int(np.prod(self.packed[0].shape[1:]))

    def crops(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copies crops into a new array.

        Args:
            indices: Indices of the crops. Shape: (B,).

        Returns:
            RGB, 0-255. Shape: (B, size, size, 3).

        Raises:
            IndexError: An index is out of range.
        """
        sources, rows = self.sources[indices], self.rows[indices]
        out = np.empty((len(rows), *self.packed[0].shape[1:]), dtype=np.uint8)
        if len(self.packed) == 1:
            # All rows exist, so "clip" changes nothing; with the default mode, NumPy would buffer `out`.
            return np.take(self.packed[0], rows, axis=0, out=out, mode="clip")
        for source, packed in enumerate(self.packed):
            places = np.flatnonzero(sources == source)
            out[places] = np.take(packed, rows[places], axis=0)
        return out

    def take(self, indices: NDArray[np.int64]) -> JoinedFaces:
        """Selects crops in the order of `indices`. People without crops in the selection are removed.

        Args:
            indices: Indices of the crops. Shape: (M,).

        Raises:
            IndexError: An index is out of range.
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
        """Returns the SHA-256 of the paths, including their order, which determines the batches."""
        return hashlib.sha256("\n".join(self.paths).encode(errors="surrogateescape")).hexdigest()


def join(folders: Sequence[tuple[Path, PackedFaces]]) -> JoinedFaces:
    """Concatenates packed folders.

    With several folders, the names of people and the paths get the folder's name as a prefix (with its parent folders
    if needed to tell them apart), because person `1` of one folder is not person `1` of another.

    Args:
        folders: Path and contents of each folder; at least one.

    Raises:
        ConfigError: A folder is given twice.
        FingerprintError: Two folders were preprocessed differently; the message names both and the difference.
    """
    for (one, these), (other, those) in combinations(folders, 2):
        if one.resolve() == other.resolve():
            raise ConfigError(f"{display_path(other)}: given twice; to make a folder count more, give it a weight")
        these.fingerprint.require_same_crops(those.fingerprint, display_path(one), display_path(other))
    names = folder_prefixes([root for root, _ in folders])
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
        fingerprint=_common_fingerprint([faces.fingerprint for _, faces in folders]),
    )


def _file_of(packed: NDArray[np.uint8]) -> NDArray[np.uint8] | Path:
    """Returns the file that a whole array is mapped from, or the array itself."""
    mapped = packed.base
    if isinstance(mapped, np.memmap) and mapped.shape == packed.shape and mapped.filename is not None:
        return Path(mapped.filename)
    return packed


def folder_prefixes(roots: Sequence[Path]) -> list[str]:
    """Returns the prefix of the names and paths of each joined folder; an empty text for a single one."""
    if len(roots) == 1:
        return [""]
    parts = [root.resolve().parts for root in roots]
    depth = 1
    while len({own[-depth:] for own in parts}) < len(parts):
        depth += 1
    return ["/".join(own[-depth:]) + "/" for own in parts]


def _common_fingerprint(fingerprints: Sequence[Fingerprint]) -> Fingerprint:
    """Returns the first fingerprint, with fields unknown that are unknown in any of the fingerprints."""
    unknown: dict[str, Any] = {
        field.name: UNKNOWN
        for field in fields(Fingerprint)
        if any(getattr(fingerprint, field.name) == UNKNOWN for fingerprint in fingerprints)
    }
    if LANDMARKS in (fingerprint.detector for fingerprint in fingerprints):
        unknown.setdefault("detector", LANDMARKS)
    return replace(fingerprints[0], **unknown)
