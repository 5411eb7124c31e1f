"""Rows of earlier runs: those of the existing store, and of parts that an interrupted run left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.embeddings.embedding_rows import Rows, concatenate_rows
from faceclr_cli.core.embeddings.hdf5_columns import read_texts
from faceclr_cli.core.embeddings.store import OpenStore, StoreOrigin, open_store, store_parts_folder
from faceclr_cli.core.errors import DataError, FingerprintError
from faceclr_cli.core.text import display_path

Places = NDArray[np.int_]

_TOO_SCATTERED = 4


class PreviousRows:
    """Rows indexed by the content of their picture, regardless of its path.

    Args:
        stores: The stores. For pictures in several stores, the last one is used.
    """

    def __init__(self, stores: Sequence[Path]) -> None:
        self._stores = stores
        # By content hash: index of the store, first row, and number of rows.
        self._places: dict[str, tuple[int, int, int]] = {}
        for number, path in enumerate(stores):
            with open_store(path) as store:
                names, hashes = (read_texts(store.file[column]) for column in ("path", "content_hash"))
            first = 0
            for row in range(1, len(names) + 1):
                if row == len(names) or names[row] != names[first]:
                    self._places[hashes[first]] = (number, first, row - first)
                    first = row

    def holds(self, content_hash: str) -> bool:
        """Returns True if a picture with this content was embedded before."""
        return content_hash in self._places

    def fetch(self, content_hashes: Sequence[str]) -> tuple[Rows, Places]:
        """Returns the rows of embedded pictures in the given order, and the number of rows of each picture."""
        places = np.array([self._places[content_hash] for content_hash in content_hashes]).reshape(-1, 3)
        owners, _, counts = places.T
        rows = np.concatenate([np.arange(first, first + count) for _, first, count in places])
        owner_of_row = np.repeat(owners, counts)
        parts, order = list[Rows](), list[Places]()
        for owner in np.unique(owners):
            mine = np.flatnonzero(owner_of_row == owner)
            mine = mine[np.argsort(rows[mine], kind="stable")]
            with open_store(self._stores[owner]) as store:
                parts.append(_rows(store, rows[mine]))
            order.append(mine)
        return concatenate_rows(parts).take(np.argsort(np.concatenate(order))), counts


def _rows(store: OpenStore, rows: Places) -> Rows:
    """Reads sorted rows, possibly repeated. Dense rows are read as one range, since HDF5 is slow at point selection."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first < _TOO_SCATTERED * len(rows):
        return store.rows(slice(first, last + 1)).take(rows - first)
    each, places = np.unique(rows, return_inverse=True)  # HDF5 does not support repeated rows.
    return store.rows(each).take(places)


def require_compatible_store(out: Path, origin: StoreOrigin, *, half: bool) -> None:
    """Rejects an existing store that new rows cannot be added to.

    Args:
        out: The output path.
        origin: Metadata of the new rows.
        half: True if the new rows are float16.

    Raises:
        DataError: The file is not a valid store, or was created with another encoder or other options.
        FingerprintError: The fingerprint of its pictures differs.
    """
    if out.exists():
        with open_store(out) as store:
            _require_same_settings(store, origin, display_path(out), half=half)


def find_previous_rows(out: Path, origin: StoreOrigin, *, half: bool) -> PreviousRows:
    """Finds compatible rows in the existing store and in parts that an interrupted run left behind.

    Args:
        out: The output path, which `require_compatible_store` has checked.
        origin: Metadata of the new rows.
        half: True if the new rows are float16.
    """
    parts = list[Path]()
    # The parts of a virtual store are read twice, which does no harm.
    for path in sorted(store_parts_folder(out).glob("[0-9]*.h5")):
        try:
            with open_store(path) as part:
                _require_same_settings(part, origin, display_path(path), half=half)
        except DataError:
            continue  # From a run with other options; removed at the end of this run.
        parts.append(path)
    return PreviousRows([*([out] if out.exists() else []), *parts])


def _require_same_settings(store: OpenStore, origin: StoreOrigin, name: str, *, half: bool) -> None:
    there, advice = store.origin, "choose another -o, or remove it to embed again"
    if there.encoder_digest != origin.encoder_digest:
        raise DataError(f"{name}: holds embeddings of another encoder ({there.encoder}, or an earlier state); {advice}")
    try:
        there.fingerprint.require_same(origin.fingerprint, name, "these faces")
    except FingerprintError as error:
        raise FingerprintError(f"{error}, or {advice}") from None
    if there.precision != origin.precision:
        raise DataError(f"{name}: was made with --precision {there.precision}; do the same, or {advice}")
    if there.flip != origin.flip:
        method = "without --flip" if there.flip == "none" else f"with --flip {there.flip}"
        raise DataError(f"{name}: was made {method}; do the same, or {advice}")
    if there.quality_level != origin.quality_level:
        method = "without --quality" if there.quality_level == "none" else f"with --quality {there.quality_level}"
        raise DataError(f"{name}: was made {method}; do the same, or {advice}")
    if store.shape.half is not half:
        raise DataError(
            f"{name}: was made {'with' if store.shape.half else 'without'} --half; do the same, or {advice}"
        )
    if (face := there.config.get("face")) != origin.config["face"]:
        raise DataError(f"{name}: was made with --face {face}; do the same, or {advice}")
