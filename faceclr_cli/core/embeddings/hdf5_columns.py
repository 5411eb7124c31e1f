"""HDF5 datasets of a store: creation, writing, reading and validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from faceclr_cli.core.embeddings.embedding_rows import QUALITY, Rows
from faceclr_cli.core.text import canonical

DATASETS = ("embedding", "path", "identity", "content_hash", "detection_score", "box")
TEXTS = ("path", "identity", "content_hash")
OPTIONAL = ("norm", *QUALITY)
"""Datasets that some stores lack: those of earlier releases, and without `--quality`."""

BLOCK = 4096
"""Rows in each read or write."""

_LONGEST_TEXT, _LONGEST_EMBEDDING = 65_536, 65_536
_MOST_COMPRESSED = 200
_READ_AT_A_TIME = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Shape of the datasets.

    Attributes:
        rows: Number of faces.
        dim: Length of an embedding.
        half: True if embeddings are float16.
        widths: Maximum length of paths, identities and content hashes in bytes.
        quality: Names of the quality measures.
    """

    rows: int
    dim: int
    half: bool
    widths: tuple[int, int, int]
    quality: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Rows, *, half: bool = False, quality: tuple[str, ...] = ()) -> Shape:
        """Returns the shape of rows in memory."""
        columns = (rows.paths, [name or "" for name in rows.identities], rows.content_hashes)
        longest = (max((len(_encode(text)) for text in column), default=1) for column in columns)
        path, identity, content_hash = (max(1, width) for width in longest)
        widths = (path, identity, content_hash)
        return cls(rows=len(rows), dim=rows.dim, half=half, widths=widths, quality=quality)


def create_datasets(file: h5py.File, shape: Shape) -> None:
    """Creates the datasets of a store.

    Strings have a fixed width and are compressed, since each string of variable length needs 32 additional bytes.
    Embeddings are contiguous, as they do not compress.
    """
    file.create_dataset("embedding", (shape.rows, shape.dim), np.float16 if shape.half else np.float32)
    for name, width in zip(TEXTS, shape.widths, strict=True):
        _create_compressed(file, name, (shape.rows,), h5py.string_dtype("utf-8", width))
    _create_compressed(file, "detection_score", (shape.rows,), np.float32)
    _create_compressed(file, "box", (shape.rows, 4), np.float32)
    for name in ("norm", *shape.quality):
        _create_compressed(file, name, (shape.rows,), np.float32)


def write_rows(file: h5py.File, start: int, rows: Rows) -> None:
    """Writes rows to existing datasets.

    Args:
        file: The store.
        start: Position of the first row.
        rows: The rows, whose strings fit the widths of the datasets.
    """
    where = slice(start, start + len(rows))
    file["embedding"][where] = rows.embeddings
    texts = (rows.paths, [name or "" for name in rows.identities], rows.content_hashes)
    for name, column in zip(TEXTS, texts, strict=True):
        file[name][where] = np.array([_encode(text) for text in column], dtype=file[name].dtype)
    file["detection_score"][where] = rows.detection_scores
    file["box"][where] = rows.boxes
    file["norm"][where] = rows.norms
    for place, name in enumerate(QUALITY):
        if name in file:
            file[name][where] = rows.quality[:, place]


def read_rows(file: h5py.File, where: slice | NDArray[np.int_] = np.s_[:]) -> Rows:
    """Reads rows of datasets that `require_valid_datasets` has checked.

    Args:
        file: The store.
        where: Rows to read; indices must be in ascending order.

    Raises:
        ValueError: The content is not valid.
    """
    paths, hashes = (read_texts(file[name], where) for name in ("path", "content_hash"))
    unknown = np.full(len(paths), np.nan, np.float32)
    norms, *quality = (file[name][where] if name in file else unknown for name in ("norm", *QUALITY))
    return Rows(
        embeddings=file["embedding"][where].astype(np.float32, copy=False),
        paths=tuple(paths),
        identities=tuple(name or None for name in read_people(file, where)),
        content_hashes=tuple(hashes),
        detection_scores=file["detection_score"][where].astype(np.float32, copy=False),
        boxes=file["box"][where].astype(np.float32, copy=False),
        norms=norms.astype(np.float32, copy=False),
        quality=np.stack(quality, axis=1).astype(np.float32, copy=False),
    )


def read_texts(dataset: h5py.Dataset, where: slice | NDArray[np.int_] = np.s_[:]) -> list[str]:
    """Reads a column of strings. File names that are not UTF-8 become surrogate escapes."""
    if not isinstance(where, slice):
        return [text.decode("utf-8", "surrogateescape") for text in dataset[where].tolist()]
    texts: list[str] = []
    start, stop, _ = where.indices(len(dataset))
    # In blocks, since the fixed-width strings of a large store may not fit into memory.
    for first in range(start, stop, BLOCK):
        block = dataset[first : min(first + BLOCK, stop)].tolist()
        texts += [text.decode("utf-8", "surrogateescape") for text in block]
    return texts


def decode_all_columns(file: h5py.File) -> None:
    """Reads and discards all columns that HDF5 has to decode. Contiguous columns need no decoding."""
    for name in present_datasets(file):
        dataset = file[name]
        if dataset.chunks is None and not dataset.is_virtual:
            continue
        row_bytes = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
        step = max(1, min(BLOCK, _READ_AT_A_TIME // row_bytes))
        for first in range(0, len(dataset), step):
            dataset[first : first + step]


def read_people(file: h5py.File, where: slice | NDArray[np.int_] = np.s_[:]) -> list[str]:
    """Reads the person of each row in canonical spelling (`text.canonical`); empty if unknown."""
    return [canonical(name) for name in read_texts(file["identity"], where)]


def link_parts(file: h5py.File, shape: Shape, parts: Sequence[tuple[str, int]]) -> None:
    """Creates virtual datasets that refer to the datasets of parts.

    Args:
        file: The store.
        shape: Shape of all parts together. The string widths of all parts are the same.
        parts: Path relative to the store and number of rows of each part.
    """
    kinds = dict(zip(TEXTS, (h5py.string_dtype("utf-8", width) for width in shape.widths), strict=True))
    kinds |= {"embedding": np.dtype(np.float16 if shape.half else np.float32)}
    for name in (*DATASETS, "norm", *shape.quality):
        tail = {"embedding": (shape.dim,), "box": (4,)}.get(name, ())
        kind = kinds.get(name, np.dtype(np.float32))
        layout = h5py.VirtualLayout((shape.rows, *tail), kind)
        start = 0
        for part, rows in parts:
            layout[start : start + rows] = h5py.VirtualSource(part, name, (rows, *tail), kind)
            start += rows
        file.create_virtual_dataset(name, layout)


def require_valid_datasets(file: h5py.File, parts: Path) -> Shape:
    """Validates the datasets of an untrusted store before they are read.

    Args:
        file: The store.
        parts: The folder of its parts.

    Raises:
        ValueError, KeyError, TypeError: The datasets are not those of a store, refer to other files, or would exhaust
            memory.
    """
    for name in require_local_datasets(file, parts):
        with h5py.File(parts / name, "r", locking=False) as part:
            if require_local_datasets(part, parts):
                raise ValueError(f"its part {name} refers to other parts")
    embedding = file["embedding"]
    if embedding.ndim != 2 or not 1 <= embedding.shape[1] <= _LONGEST_EMBEDDING:
        raise ValueError(f"embedding has the shape {embedding.shape}")
    rows = embedding.shape[0]
    optional = [name for name in OPTIONAL if name in file]
    shapes = {"detection_score": (rows,), "box": (rows, 4), **dict.fromkeys((*TEXTS, *optional), (rows,))}
    for name, shape in shapes.items():
        if file[name].shape != shape:
            raise ValueError(f"its columns differ in length ({name} has the shape {file[name].shape})")
    for name in ("embedding", "detection_score", "box", *optional):
        if file[name].dtype.kind != "f":
            raise ValueError(f"{name} does not contain floating-point numbers")
    for name in TEXTS:
        if h5py.check_string_dtype(file[name].dtype) is None or file[name].dtype.itemsize > _LONGEST_TEXT:
            raise ValueError(f"{name} does not contain strings")
    path, identity, content_hash = (file[name].dtype.itemsize for name in TEXTS)
    return Shape(
        rows=rows,
        dim=embedding.shape[1],
        half=embedding.dtype == np.float16,
        widths=(path, identity, content_hash),
        quality=tuple(name for name in QUALITY if name in optional),
    )


def present_datasets(file: h5py.File) -> list[str]:
    """Returns the names of the datasets of a store, without optional ones that it lacks."""
    return [*DATASETS, *(name for name in OPTIONAL if file.get(name, getlink=True) is not None)]


def require_local_datasets(file: h5py.File, parts: Path) -> set[str]:
    """Rejects datasets that refer to files other than parts in their folder, or claim an impossible size.

    Returns:
        The names of the parts.

    Raises:
        ValueError, KeyError, TypeError: A dataset is missing or rejected.
    """
    found = set()
    for name in present_datasets(file):
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is missing or a link")
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset):
            raise TypeError(f"{name} is not a dataset")
        if dataset.external:
            raise ValueError(f"{name} refers to another file")
        if dataset.is_virtual:
            found |= {_part_name(source.file_name, parts) for source in dataset.virtual_sources()}
        elif dataset.nbytes > _MOST_COMPRESSED * dataset.id.get_storage_size() + BLOCK * _LONGEST_TEXT:
            raise ValueError(f"{name} claims to be larger than it is")
    return found


def _part_name(path: str, parts: Path) -> str:
    """Returns the name of a part, given its path in a store."""
    name = path.removeprefix(f"{parts.name}/")
    if path == name or PurePosixPath(name).name != name or not (parts / name).is_file():
        raise ValueError(f"its part {path!r} is missing, or is not in {parts.name}")
    return name


def _create_compressed(file: h5py.File, name: str, shape: tuple[int, ...], kind: DTypeLike) -> None:
    chunks = (min(shape[0], BLOCK), *shape[1:]) if shape[0] else None
    file.create_dataset(name, shape, kind, chunks=chunks, compression="gzip" if chunks else None, shuffle=bool(chunks))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
