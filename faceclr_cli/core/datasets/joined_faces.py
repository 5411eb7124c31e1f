"""Several packed folders joined into one sequence of crops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.joined_paths import JoinedPaths, digest_names
from faceclr_cli.core.datasets.packed_faces import PackedFaces, map_packed
from faceclr_cli.core.datasets.streamed_crops import DecodedCrops, DecodeRequest, StreamedCrops, decode_crops
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.faces.face_folder import IndexedContainer
from faceclr_cli.core.faces.fingerprint import LANDMARKS, UNKNOWN, Fingerprint
from faceclr_cli.core.sources.container_index import NameTable
from faceclr_cli.core.text import display_path

_GRAY = 128


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinedFaces:
    """A selection of crops from one or several packed folders; see `join`.

    When sent to another process, crops from `pack` are memory-mapped there and share the memory; others are copied.

    Attributes:
        packed: All crops of each folder, memory-mapped or decoded on demand. Shape of each: (n, size, size, 3).
        sources: Index into `packed` of each crop. Shape: (N,).
        rows: Row of each crop in its array. Shape: (N,).
        labels: Index into `people` of each crop's person, -1 if unknown. Shape: (N,).
        people: Names of the people, each with at least one crop.
        paths: Path of each crop.
        fingerprint: How the crops were made; a field that is unknown in any folder is unknown here.
    """

    packed: tuple[NDArray[np.uint8] | StreamedCrops, ...]
    sources: NDArray[np.int64]
    rows: NDArray[np.int32]
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    paths: Sequence[str]
    fingerprint: Fingerprint

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "packed": tuple(map(_file_of, self.packed))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        packed = tuple(map_packed(each) if isinstance(each, Path) else each for each in state["packed"])
        self.__dict__.update(state, packed=packed)

    @property
    def nbytes(self) -> int:
        """Memory that all decoded crops would take, in bytes."""
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
        decoded = [(places, decode_crops(request, opened)) for places, request, opened in self._requests(indices)]
        return self.assemble(indices, decoded)

    @property
    def streamed(self) -> tuple[StreamedCrops, ...]:
        """The folders whose crops are decoded on demand."""
        return tuple(packed for packed in self.packed if isinstance(packed, StreamedCrops))

    def requests(self, indices: NDArray[np.int64]) -> list[tuple[NDArray[np.intp], DecodeRequest]]:
        """Describes the crops that must be decoded for `assemble`.

        Args:
            indices: Indices of the crops. Shape: (B,).

        Returns:
            Requests for `decode_crops`, each with the corresponding places in `indices`.
        """
        return [(places, request) for places, request, _ in self._requests(indices)]

    def _requests(
        self, indices: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.intp], DecodeRequest, IndexedContainer | None]]:
        sources, rows = self.sources[indices], self.rows[indices]
        for source, packed in enumerate(self.packed):
            if isinstance(packed, StreamedCrops):
                places = np.flatnonzero(sources == source)
                if len(places):
                    yield places, packed.request(rows[places]), packed.folder.indexed

    def assemble(
        self, indices: NDArray[np.int64], decoded: Sequence[tuple[NDArray[np.intp], DecodedCrops]]
    ) -> NDArray[np.uint8]:
        """Copies crops into a new array, including those that were decoded for it.

        A damaged crop is replaced by the next readable one of the same person.

        Args:
            indices: Indices of the crops. Shape: (B,).
            decoded: The answers to `requests`.

        Returns:
            RGB, 0-255. Shape: (B, size, size, 3).

        Raises:
            DataError: Too many crops are damaged.
        """
        sources, rows = self.sources[indices], self.rows[indices]
        out = np.empty((len(rows), *self.packed[0].shape[1:]), dtype=np.uint8)
        for source, packed in enumerate(self.packed):
            if isinstance(packed, StreamedCrops):
                continue
            if len(self.packed) == 1:
                # All rows exist, so "clip" changes nothing; with the default mode, NumPy would buffer `out`.
                return np.take(packed, rows, axis=0, out=out, mode="clip")
            places = np.flatnonzero(sources == source)
            out[places] = np.take(packed, rows[places], axis=0)
        for places, answer in decoded:
            out[places] = answer.crops
            for place, reason in answer.failures:
                self._note(int(indices[places[place]]), reason)
                out[places[place]] = self._replacement(int(indices[places[place]]))
        return out

    def _note(self, index: int, reason: str) -> None:
        packed = self.packed[int(self.sources[index])]
        if isinstance(packed, StreamedCrops):
            packed.note(int(self.rows[index]), reason)

    def _replacement(self, damaged: int) -> NDArray[np.uint8] | int:
        """Decodes the next crop of the same person, or returns gray if no other crop of the person is readable."""
        own = np.flatnonzero(self.labels == self.labels[damaged])
        for index in np.roll(own, -int(np.searchsorted(own, damaged)))[1:].tolist():
            packed, row = self.packed[int(self.sources[index])], self.rows[[index]]
            if not isinstance(packed, StreamedCrops):
                return np.asarray(packed[int(row[0])])
            answer = decode_crops(packed.request(row), packed.folder.indexed)
            if not answer.failures:
                return np.asarray(answer.crops[0])
            self._note(index, answer.failures[0][1])
        return _GRAY

    def take(self, indices: NDArray[np.int64]) -> JoinedFaces:
        """Selects crops in the order of `indices`. People without crops in the selection are removed.

        Args:
            indices: Indices of the crops. Shape: (M,).

        Raises:
            IndexError: An index is out of range.
        """
        labels, rows = self.labels[indices], self.rows[indices]
        present = np.zeros(len(self.people) + 1, dtype=bool)
        present[labels] = True  # The last place belongs to unknown people, whose label is -1.
        left = np.flatnonzero(present[:-1])
        if len(left) < len(self.people):
            position = np.append(np.cumsum(present[:-1]) - 1, -1)
            labels = position[labels]
        sources = _no_sources(len(rows)) if len(self.packed) == 1 else self.sources[indices]
        return replace(
            self,
            sources=sources,
            rows=rows,
            labels=labels,
            people=tuple(self.people[label] for label in left.tolist()),
            paths=self.paths.take(sources, rows)
            if isinstance(self.paths, JoinedPaths)
            else tuple(self.paths[index] for index in indices.tolist()),
        )

    def digest(self) -> str:
        """Returns the SHA-256 of the paths, including their order, which determines the batches."""
        return self.paths.digest() if isinstance(self.paths, JoinedPaths) else digest_names(self.paths)


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
        labels.append(faces.labels if not people else np.where(faces.labels < 0, -1, faces.labels + len(people)))
        people.extend(name + person for person in faces.people)
    sizes = [len(faces) for _, faces in folders]
    sources = _no_sources(sizes[0]) if len(sizes) == 1 else np.repeat(np.arange(len(sizes)), sizes)
    rows = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    paths: Sequence[str] = JoinedPaths(
        prefixes=tuple(names), names=tuple(faces.paths for _, faces in folders), sources=sources, rows=rows
    )
    if not any(isinstance(faces.paths, NameTable) for _, faces in folders):
        paths = tuple(paths)
    joined = JoinedFaces(
        packed=tuple(faces.crops for _, faces in folders),
        sources=sources,
        rows=rows,
        labels=labels[0] if len(labels) == 1 else np.concatenate(labels),
        people=tuple(people),
        paths=paths,
        fingerprint=_common_fingerprint([faces.fingerprint for _, faces in folders]),
    )
    starts = np.cumsum([0, *sizes])
    damaged = [start + place for start, (_, faces) in zip(starts, folders, strict=False) for place, _ in faces.damaged]
    return joined.take(np.delete(np.arange(len(joined)), damaged)) if damaged else joined


def _no_sources(count: int) -> NDArray[np.int64]:
    """Returns the sources of the faces of a single folder, without allocating memory for each face."""
    return np.broadcast_to(np.int64(0), count)


def _file_of(packed: NDArray[np.uint8] | StreamedCrops) -> NDArray[np.uint8] | StreamedCrops | Path:
    """Returns the file that a whole array is mapped from, or the array itself."""
    if isinstance(packed, StreamedCrops):
        return packed
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
    """Returns the first fingerprint; fields that are unknown in any of the fingerprints become unknown."""
    unknown: dict[str, Any] = {
        field.name: UNKNOWN
        for field in fields(Fingerprint)
        if any(getattr(fingerprint, field.name) == UNKNOWN for fingerprint in fingerprints)
    }
    if LANDMARKS in (fingerprint.detector for fingerprint in fingerprints):
        unknown.setdefault("detector", LANDMARKS)
    return replace(fingerprints[0], **unknown)
