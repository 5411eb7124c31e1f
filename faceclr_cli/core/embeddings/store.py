"""The HDF5 file of embeddings: what is in it, how it is written, what is refused on reading."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path, stamp
from faceclr_cli.core.encoders.base import Calibration
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.fingerprint import Fingerprint

_KIND, _SCHEMA = "embeddings", 1
_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError)
"""What h5py raises over files that are damaged or not its own, and what decoding their text adds."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """Embeddings and what is known of each; row i of one field belongs to row i of the others.

    Attributes:
        embeddings: L2-normalised. Shape: (faces, dim).
        paths: Where each face was found below the folder that was embedded, with forward slashes. Bytes that
            are not UTF-8 are surrogate escapes, as in `os.fsdecode`. Nothing here ever opens them.
        identities: The person of each face, or None where nobody knows.
        content_hashes: SHA-256 of each file.
        detection_scores: How sure the detector was, 0 to 1; NaN where that is not known. Shape: (faces,).
        fingerprint: What was done to the photographs, up to the network's input.
        encoder: The encoder's name.
        encoder_digest: SHA-256 of its weights.
        calibration: Its threshold, or None.
        config: The resolved config of the run that made the store.
    """

    embeddings: NDArray[np.float32]
    paths: tuple[str, ...]
    identities: tuple[str | None, ...]
    content_hashes: tuple[str, ...]
    detection_scores: NDArray[np.float32]
    fingerprint: Fingerprint
    encoder: str
    encoder_digest: str
    calibration: Calibration | None
    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        columns = (self.paths, self.identities, self.content_hashes, self.detection_scores)
        if self.embeddings.ndim != 2 or any(len(column) != len(self) for column in columns):
            raise ValueError("its columns differ in length")
        if not np.isfinite(self.embeddings).all():
            raise ValueError("an embedding is not finite")

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.embeddings.shape[1])

    @property
    def people(self) -> tuple[str, ...]:
        """The names of the people, each once, sorted."""
        return tuple(sorted({name for name in self.identities if name is not None}))

    def take(self, rows: Sequence[int] | NDArray[np.int_]) -> Store:
        """The same store with these rows alone, in this order."""
        return replace(
            self,
            embeddings=self.embeddings[rows],
            paths=tuple(self.paths[row] for row in rows),
            identities=tuple(self.identities[row] for row in rows),
            content_hashes=tuple(self.content_hashes[row] for row in rows),
            detection_scores=self.detection_scores[rows],
        )


def write_store(path: Path, store: Store) -> None:
    """Writes a store, whole or not at all."""
    about = stamp(_KIND, store.config) | {
        "schema": _SCHEMA,
        "encoder": store.encoder.encode("utf-8", "backslashreplace").decode(),
        "encoder_digest": store.encoder_digest,
        "fingerprint": store.fingerprint.to_json(),
    }
    if store.calibration:
        about["calibration"] = store.calibration.to_json()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name, value in about.items():
            file.attrs[name] = json.dumps(value) if isinstance(value, dict) else value
        file["embedding"] = store.embeddings.astype(np.float32, copy=False)
        file["detection_score"] = store.detection_scores.astype(np.float32, copy=False)
        _write_texts(file, "path", store.paths)
        _write_texts(file, "identity", [name or "" for name in store.identities])
        _write_texts(file, "content_hash", store.content_hashes)


def read_store(path: Path) -> Store:
    """Reads a store and checks it.

    Raises:
        DataError: There is no such file, or it is not a store, damaged, or of a later version.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("kind") != _KIND:
                raise DataError(f"{path}: an HDF5 file, but not a store that `faceclr embed` wrote")
            if (schema := int(file.attrs["schema"])) > _SCHEMA:
                raise DataError(f"{path}: written by a later faceclr (schema {schema}); upgrade to read it")
            return _read(file, str(path))
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0].strip("'\"") if str(error) else type(error).__name__
        raise DataError(f"{path}: not a store of embeddings, or a damaged one ({reason})") from error


def _read(file: h5py.File, origin: str) -> Store:
    calibration = file.attrs.get("calibration")
    if file["embedding"].dtype.kind != "f" or file["detection_score"].dtype.kind != "f":
        raise ValueError("its numbers are of another type")
    return Store(
        embeddings=file["embedding"][:].astype(np.float32, copy=False),
        paths=tuple(_read_texts(file["path"])),
        identities=tuple(name or None for name in _read_texts(file["identity"])),
        content_hashes=tuple(_read_texts(file["content_hash"])),
        detection_scores=file["detection_score"][:].astype(np.float32, copy=False),
        fingerprint=Fingerprint.from_json(json.loads(file.attrs["fingerprint"]), origin),
        encoder=str(file.attrs["encoder"]),
        encoder_digest=str(file.attrs["encoder_digest"]),
        calibration=None if calibration is None else Calibration.from_json(json.loads(calibration)),
        config=json.loads(file.attrs["config"]),
    )


def _write_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    # Names of files need not be UTF-8; as bytes they all pass.
    packed = np.array([text.encode("utf-8", "surrogateescape") for text in texts], dtype=object)
    file.create_dataset(name, data=packed, dtype=h5py.string_dtype())


def _read_texts(dataset: h5py.Dataset) -> list[str]:
    return [text.decode("utf-8", "surrogateescape") for text in dataset[:]]


def rows_of_most_pictured(store: Store, people: int | None, min_images: int = 1) -> NDArray[np.int_]:
    """Rows of the people with the most pictures, in the order of the store.

    Args:
        store: Rows without a person never count.
        people: How many people, or None for all. Of equally many pictures, the first by name.
        min_images: People with fewer pictures are left out.
    """
    counts = Counter(name for name in store.identities if name is not None)
    ranked = sorted((name for name, count in counts.items() if count >= min_images), key=lambda n: (-counts[n], n))
    chosen = set(ranked[:people])
    return np.array([row for row, name in enumerate(store.identities) if name in chosen], dtype=int)


def ask_for_store(command: str) -> str:
    """What to tell a user who named no store: what is here that would do, and what to type."""
    here = sorted(path.name for path in Path().glob("*.h5"))
    if not here:
        return f"no store given and none found here; first type: faceclr embed FACES, then faceclr {command} FACES.h5"
    return f"no store given; found here: {', '.join(here[:5])}; type: faceclr {command} {here[0]}"
