"""The HDF5 file of embeddings: what is in it, how it is written, what is refused on reading."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path, shared, stamp
from faceclr_cli.core.embeddings import hdf5_columns as columns
from faceclr_cli.core.embeddings.checksums import CheckedFile, append_checksums, read_checksums
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.exported_rows import refuse_exported
from faceclr_cli.core.embeddings.store_probe import require_harmless
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.errors import DataError, FaceclrError
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.text import display_path

_KIND, _SCHEMA = "embeddings", 1
_SUFFIXES, _SIGNATURE = (".h5", ".hdf5"), b"\x89HDF\r\n\x1a\n"
_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)
"""What h5py raises over files that are damaged or not its own, and what decoding their text adds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoreOrigin:
    """What made embeddings.

    Attributes:
        fingerprint: What was done to the photographs, up to the network's input.
        encoder: The encoder's name.
        encoder_digest: SHA-256 of its weights.
        flip: Whether each is the mean of a face and its mirror image.
        calibration: The encoder's threshold, or None.
        config: The resolved config of the run that made them.
    """

    fingerprint: Fingerprint
    encoder: str
    encoder_digest: str
    flip: bool = False
    calibration: Calibration | None
    config: Mapping[str, Any]

    def to_attributes(self) -> dict[str, Any]:
        """As the attributes of a file; objects as JSON."""
        about = stamp(_KIND, self.config) | {
            "schema": _SCHEMA,
            "encoder": self.encoder.encode("utf-8", "backslashreplace").decode(),
            "encoder_digest": self.encoder_digest,
            "flip": self.flip,
            "fingerprint": self.fingerprint.to_json(),
        }
        if self.calibration:
            about["calibration"] = self.calibration.to_json()
        return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in about.items()}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], path: Path) -> StoreOrigin:
        """Reads what `to_attributes` gave; `path` names the file in errors.

        Raises:
            DataError, KeyError, TypeError, ValueError: They are no such attributes.
        """
        if attributes.get("kind") != _KIND:
            raise DataError(f"{path}: an HDF5 file, but not a store that `faceclr embed` wrote")
        if (schema := int(attributes["schema"])) > _SCHEMA:
            raise DataError(f"{path}: written by a later faceclr (schema {schema}); upgrade to read it")
        calibration = attributes.get("calibration")
        return StoreOrigin(
            fingerprint=Fingerprint.from_json(json.loads(attributes["fingerprint"]), str(path)),
            encoder=str(attributes["encoder"]),
            encoder_digest=str(attributes["encoder_digest"]),
            flip=bool(attributes["flip"]),
            calibration=None if calibration is None else Calibration.from_json(json.loads(calibration)),
            config=json.loads(attributes["config"]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Store(StoreOrigin, Rows):
    """Embeddings, what is known of each, and what made them."""


@dataclass(frozen=True)
class OpenStore:
    """A store that is open for reading and was found to be sound.

    Attributes:
        file: Its file.
        origin: What made it.
        shape: How large it is.
    """

    file: h5py.File
    origin: StoreOrigin
    shape: columns.Shape

    def rows(self, where: slice | NDArray[np.int_] = np.s_[:]) -> Rows:
        """Some rows; as numbers, in ascending order."""
        return columns.read_rows(self.file, where)


def is_store(path: Path) -> bool:
    """Whether a path is to be opened as a store: by its suffix, or by how the file begins, whatever it is called."""
    if path.suffix.lower() in _SUFFIXES:
        return not path.is_dir()
    try:
        if not path.is_file():  # To open a pipe would wait for its writer.
            return False
        with open(path, "rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def store_parts_folder(path: Path) -> Path:
    """The folder of the parts of a store: those it is made of, or those of one that is not finished."""
    return path.with_name(f"{path.name}.parts")


@contextmanager
def open_store(path: Path) -> Iterator[OpenStore]:
    """Opens a store that anybody may have made, after checking it.

    Raises:
        DataError: There is no such file, or it is not a store, damaged, or of a later version. Also where
            reading on fails within the block.
        LockedError: Another program has it open for writing.
    """
    with _one_line_errors(path), shared(path) as descriptor, _opened(path, descriptor) as file:
        yield _checked(file, path)


@contextmanager
def _opened(path: Path, descriptor: int) -> Iterator[h5py.File]:
    """Gives a file to HDF5 that will do no harm: each block is compared first, or another process has tried it."""
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
        # HDF5 opens the parts itself, so they are compared as a whole.
        checked.check_all()
        for name in parts:
            _require_harmless_part(_parts_folder(path) / name)
    # What a lock is for, `shared` has done, and file systems without locks make HDF5 refuse.
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
    """Has HDF5 do all that it will do for a reader of a store, whatever that does to this process.

    Raises:
        DataError: As `open_store`.
    """
    with _one_line_errors(path), h5py.File(path, "r", locking=False) as file:
        _checked(file, path)
        columns.decode_all_columns(file)


def _checked(file: h5py.File, path: Path) -> OpenStore:
    origin = StoreOrigin.from_attributes(file.attrs, path)
    return OpenStore(file, origin, columns.require_valid_datasets(file, _parts_folder(path)))


def _parts_folder(path: Path) -> Path:
    # A part lies in the folder of parts itself.
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
    """Reads a store into memory and checks it.

    Raises:
        DataError: There is no such file, or it is not a store, damaged, or of a later version.
    """
    with open_store(path) as store:
        return Store(**_shallow(store.origin), **_shallow(store.rows()))


def write_store(path: Path, store: Store) -> None:
    """Writes a store, whole or not at all.

    Raises:
        DataError: It cannot be written.

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
        columns.create_datasets(file, columns.Shape.of(store))
        columns.write_rows(file, 0, store)


@contextmanager
def new_store(path: Path, origin: StoreOrigin) -> Iterator[h5py.File]:
    """Gives the file of a store without datasets yet. It gets its name, or replaces another, when the block ends.

    Raises:
        DataError: It cannot be written.
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
        # What could not be written cannot be closed either, and h5py says no more than that.
        if not isinstance(error.__context__, OSError):
            raise
        raise DataError(f"{display_path(path)}: cannot be written ({_reason(error.__context__)})") from error


def _reason(error: OSError) -> str:
    """Why, in the system's words: HDF5's own are many."""
    return os.strerror(error.errno) if error.errno else str(error).splitlines()[0]


def _shallow(value: StoreOrigin | Rows) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


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


def store_required_error(command: str) -> str:
    """What to tell a user who named no store: what is here that would do, and what to type."""
    here = sorted(path.name for path in Path().glob("*.h5"))
    if not here:
        return f"no store given and none found here; first type: faceclr embed FACES, then faceclr {command} FACES.h5"
    return f"no store given; found here: {', '.join(here[:5])}; type: faceclr {command} {here[0]}"
