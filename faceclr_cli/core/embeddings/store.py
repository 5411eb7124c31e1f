"""The HDF5 store of embeddings: format, writing, and safe reading."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast, get_args

import h5py
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path, shared, stamp
from faceclr_cli.core.configs.embed import Flip, QualityLevel
from faceclr_cli.core.embeddings import hdf5_columns as columns
from faceclr_cli.core.embeddings.checksums import CheckedFile, append_checksums, read_checksums
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.exported_rows import refuse_exported
from faceclr_cli.core.embeddings.quality_columns import stored_measures
from faceclr_cli.core.embeddings.store_probe import require_harmless
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.errors import DataError, FaceclrError, ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.text import display_path

_KIND, _SCHEMA = "embeddings", 1
_SUFFIXES, _SIGNATURE = (".h5", ".hdf5"), b"\x89HDF\r\n\x1a\n"
_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)
"""Exceptions that h5py and the decoding of strings raise for damaged or unsupported files."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoreOrigin:
    """Metadata of embeddings: how they were computed.

    Attributes:
        fingerprint: Preprocessing of the photographs up to the input of the network.
        encoder: Name of the encoder.
        encoder_digest: SHA-256 of its weights.
        precision: Precision of the computation: `float32` or `bf16`.
        flip: How each face was combined with its mirror image; see `embed_crops`.
        quality_level: Which quality measures the rows have; see `stored_measures`.
        calibration: Calibration of the encoder, or None.
        config: The resolved config of the run.
    """

    fingerprint: Fingerprint
    encoder: str
    encoder_digest: str
    precision: str = "float32"
    flip: Flip = "none"
    quality_level: QualityLevel = "none"
    calibration: Calibration | None
    config: Mapping[str, Any]

    def to_attributes(self) -> dict[str, Any]:
        """The fields as attributes of an HDF5 file, with objects as JSON strings."""
        about = stamp(_KIND, self.config) | {
            "schema": _SCHEMA,
            "encoder": self.encoder.encode("utf-8", "backslashreplace").decode(),
            "encoder_digest": self.encoder_digest,
            "precision": self.precision,
            "flip": self.flip != "none",
            "flip_method": self.flip,
            "quality": self.quality_level,
            "fingerprint": self.fingerprint.to_json(),
        }
        if self.calibration:
            about["calibration"] = self.calibration.to_json()
        return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in about.items()}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], path: Path) -> StoreOrigin:
        """Reads the result of `to_attributes`. `path` is for errors.

        Raises:
            DataError, KeyError, TypeError, ValueError: The attributes are missing, invalid, or of a later version.
        """
        if attributes.get("kind") != _KIND:
            raise DataError(f"{path}: an HDF5 file, but not a store written by faceclr embed")
        if (schema := int(attributes["schema"])) > _SCHEMA:
            raise DataError(f"{path}: written by a later version of faceclr (schema {schema}); upgrade to read it")
        calibration = attributes.get("calibration")
        return StoreOrigin(
            fingerprint=Fingerprint.from_json(json.loads(attributes["fingerprint"]), str(path)),
            encoder=str(attributes["encoder"]),
            encoder_digest=str(attributes["encoder_digest"]),
            precision=str(attributes.get("precision", "float32")),
            flip=_flip(attributes),
            quality_level=_quality_level(attributes),
            calibration=None if calibration is None else Calibration.from_json(json.loads(calibration)),
            config=json.loads(attributes["config"]),
        )


def _flip(attributes: Mapping[str, Any]) -> Flip:
    """Reads how faces were combined with their mirror images. Earlier releases knew only means."""
    method = str(attributes.get("flip_method", "mean" if bool(attributes["flip"]) else "none"))
    if method not in get_args(Flip):
        raise ValueError(f"its flip method {method!r} is unknown")
    return cast(Flip, method)


def _quality_level(attributes: Mapping[str, Any]) -> QualityLevel:
    """Reads which quality measures the rows have. Stores of earlier releases have none."""
    level = str(attributes.get("quality", "none"))
    if level not in get_args(QualityLevel):
        raise ValueError(f"its level of quality measures {level!r} is unknown")
    return cast(QualityLevel, level)


@dataclass(frozen=True, kw_only=True, eq=False)
class Store(StoreOrigin, Rows):
    """A store in memory: embeddings and their metadata."""


@dataclass(frozen=True)
class OpenStore:
    """A validated store that is open for reading.

    Attributes:
        file: The HDF5 file.
        origin: Metadata of the embeddings.
        shape: Shape of the datasets.
    """

    file: h5py.File
    origin: StoreOrigin
    shape: columns.Shape

    def rows(self, where: slice | NDArray[np.int_] = np.s_[:]) -> Rows:
        """Reads rows; indices must be in ascending order."""
        return columns.read_rows(self.file, where)


def is_store(path: Path) -> bool:
    """Returns True if a path has the suffix or the signature of an HDF5 file."""
    if path.suffix.lower() in _SUFFIXES:
        return not path.is_dir()
    try:
        if not path.is_file():  # Opening a pipe would block.
            return False
        with open(path, "rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def store_parts_folder(path: Path) -> Path:
    """Returns the folder of the parts of a store, which may be unfinished."""
    return path.with_name(f"{path.name}.parts")


@contextmanager
def open_store(path: Path) -> Iterator[OpenStore]:
    """Validates and opens an untrusted store.

    Raises:
        DataError: The file is missing, not a store, damaged, or of a later version, or a read in the block fails.
        LockedError: Another program has the file open for writing.
    """
    with _one_line_errors(path), shared(path) as descriptor, _open_safely(path, descriptor) as file:
        yield _validate_store(file, path)


@contextmanager
def _open_safely(path: Path, descriptor: int) -> Iterator[h5py.File]:
    """Opens a file in HDF5 safely: by verifying checksums, or after a child process has read it without crashing."""
    checksums = read_checksums(descriptor)
    if checksums is None:
        require_harmless(path)
    else:
        checked = CheckedFile(descriptor, checksums, path)
        with h5py.File(checked, "r") as file:
            parts = columns.require_local_datasets(file, _parts_folder(path))
            if not parts:
                yield file
                return
        # HDF5 opens the parts itself, so they are verified in advance.
        checked.check_all()
        for name in parts:
            _require_harmless_part(_parts_folder(path) / name)
    # `shared` holds the lock already, and HDF5's own locks fail on file systems without locks.
    with h5py.File(path, "r", locking=False) as file:
        yield file


def _require_harmless_part(path: Path) -> None:
    with shared(path) as descriptor:
        checksums = read_checksums(descriptor)
        if checksums is None:
            require_harmless(path)
        else:
            CheckedFile(descriptor, checksums, path).check_all()


def read_whole_store(path: Path) -> None:
    """Reads everything that HDF5 would decode for a reader of the store. A damaged file may crash this process.

    Raises:
        DataError: As for `open_store`.
    """
    with _one_line_errors(path), h5py.File(path, "r", locking=False) as file:
        _validate_store(file, path)
        columns.decode_all_columns(file)


def _validate_store(file: h5py.File, path: Path) -> OpenStore:
    origin = StoreOrigin.from_attributes(file.attrs, path)
    return OpenStore(file, origin, columns.require_valid_datasets(file, _parts_folder(path)))


def _parts_folder(path: Path) -> Path:
    # A part is itself in the folder of parts.
    return path.parent if path.parent.suffix == ".parts" else store_parts_folder(path)


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    refuse_exported(path)
    try:
        yield
    except FaceclrError:
        raise
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"{path}: cannot be read ({os.strerror(error.errno)})") from error
        reason = str(error).splitlines()[0].strip("'\"") if str(error) else type(error).__name__
        raise DataError(f"{path}: not a store of embeddings, or a damaged one ({reason})") from error


def read_store(path: Path) -> Store:
    """Validates a store and reads it into memory.

    Raises:
        DataError: The file is missing, not a store, damaged, or of a later version.
    """
    with open_store(path) as store:
        return Store(**_shallow_dict(store.origin), **_shallow_dict(store.rows()))


def read_store_of(path: Path, encoder: Encoder, model: str, *, flip: bool = False) -> Store:
    """Reads a store and checks that the given encoder made it.

    Args:
        path: The store.
        encoder: The encoder.
        model: The encoder's name in messages, as given by the user.
        flip: True if the store must hold means of faces and their mirror images.

    Raises:
        DataError: The store cannot be read, or was made with a different `--flip`.
        ModelError: The store was made by another encoder.
        FingerprintError: The faces were prepared differently from what the encoder needs.
    """
    store = read_store(path)
    if store.encoder_digest != encoder.digest:
        raise ModelError(
            f"{display_path(path)}: was made by {display_path(store.encoder)}, not by --model {model}; "
            "give the encoder that made it, or embed the faces again"
        )
    store.fingerprint.require_same_crops(encoder.fingerprint, display_path(path), f"the encoder {model}")
    if store.flip == "sum" or (store.flip == "mean" and not flip):
        text = f"contains {store.flip}s of faces and their mirror images, but "
        text += "the classifier was trained with means" if flip else "thresholds are those of single faces"
        again = "with --flip mean" if flip else "without --flip"
        raise DataError(f"{display_path(path)}: {text}; embed the faces again {again}")
    if flip and store.flip == "none":
        text = "the classifier was trained with --flip, the store was made without"
        raise DataError(f"{display_path(path)}: {text}; embed the faces with --flip")
    return store


def write_store(path: Path, store: Store) -> None:
    """Writes a store atomically.

    Raises:
        DataError: The file cannot be written.

    Examples:
        >>> from faceclr_cli.core.faces.crop import default_fingerprint
        >>> store = Store(
        ...     embeddings=np.eye(2, dtype=np.float32),
        ...     paths=("ann/01.jpg", "bob/01.jpg"),
        ...     identities=("ann", "bob"),
        ...     content_hashes=("", ""),
        ...     detection_scores=np.full(2, np.nan, np.float32),
        ...     boxes=np.full((2, 4), np.nan, np.float32),
        ...     fingerprint=default_fingerprint(),
        ...     encoder="mine",
        ...     encoder_digest="",
        ...     calibration=None,
        ...     config={},
        ... )
        >>> write_store(Path("mine.h5"), store)
        >>> read_store(Path("mine.h5")).people
        ('ann', 'bob')
    """
    with new_store(path, store) as file:
        columns.create_datasets(file, columns.Shape.of(store, quality=stored_measures(store.quality_level)))
        columns.write_rows(file, 0, store)


@contextmanager
def new_store(path: Path, origin: StoreOrigin) -> Iterator[h5py.File]:
    """Creates the file of a store without datasets. It is renamed into place when the block ends.

    Raises:
        DataError: The file cannot be written.
    """
    try:
        with atomic_path(path) as temporary:
            with h5py.File(temporary, "w", locking=False) as file:
                file.attrs.update(origin.to_attributes())
                yield file
            append_checksums(temporary)
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be written ({_reason(error)})") from error
    except RuntimeError as error:
        # If a write failed, closing the file fails too, and h5py raises only an unspecific RuntimeError.
        if not isinstance(error.__context__, OSError):
            raise
        raise DataError(f"{display_path(path)}: cannot be written ({_reason(error.__context__)})") from error


def _reason(error: OSError) -> str:
    """Returns the message of the operating system, since HDF5's own messages are long."""
    return os.strerror(error.errno) if error.errno else str(error).splitlines()[0]


def _shallow_dict(value: StoreOrigin | Rows) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def select_most_pictured(store: Store, people: int | None, min_images: int = 1) -> NDArray[np.int_]:
    """Returns the rows of the people with the most pictures, in the order of the store.

    Args:
        store: The store. Rows without a person are ignored.
        people: Number of people, or None for all. Ties are resolved by name.
        min_images: Ignore people with fewer pictures.

    Returns:
        Indices of rows, ascending. Shape: (rows,).
    """
    counts = Counter(name for name in store.identities if name is not None)
    ranked = sorted((name for name, count in counts.items() if count >= min_images), key=lambda n: (-counts[n], n))
    chosen = set(ranked[:people])
    return np.array([row for row, name in enumerate(store.identities) if name in chosen], dtype=int)


def store_required_error(command: str) -> str:
    """Returns the error message for a missing store argument, with stores in the working directory."""
    here = sorted(path.name for path in Path().glob("*.h5"))
    if not here:
        return f"no store given and none found here; first type: faceclr embed FACES, then faceclr {command} FACES.h5"
    return f"no store given; found here: {', '.join(here[:5])}; type: faceclr {command} {here[0]}"
