"""Rows that were made before: of the store that is brought up to date, and of parts that a stopped run left."""

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
    """Rows by the content of the picture that they are of, wherever it lay and whatever it was called.

    Args:
        stores: Where there are some; of pictures in several, the last counts.
    """

    def __init__(self, stores: Sequence[Path]) -> None:
        self._stores = stores
        # By content hash: in which store the picture's rows are, from where, and how many.
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
        """Whether a picture of this content was embedded before."""
        return content_hash in self._places

    def fetch(self, content_hashes: Sequence[str]) -> tuple[Rows, Places]:
        """The rows of pictures that have some, one picture after the other, and how many each has."""
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
    """Rows in ascending order, also several times. Neighbors are read in one go: HDF5 is slow to pick."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first < _TOO_SCATTERED * len(rows):
        return store.rows(slice(first, last + 1)).take(rows - first)
    each, places = np.unique(rows, return_inverse=True)  # HDF5 gives no row twice.
    return store.rows(each).take(places)


def require_compatible_store(out: Path, origin: StoreOrigin, *, half: bool) -> None:
    """Refuses to bring a store up to date that is there and is none, or was made in another way.

    Args:
        out: The store that is written.
        origin: What makes the new rows.
        half: Whether they are float16.

    Raises:
        DataError: It is no sound store, or of another encoder, or was made with other options.
        FingerprintError: Its pictures were prepared in another way.
    """
    if out.exists():
        with open_store(out) as store:
            _require_like(store, origin, display_path(out), half=half)


def find_previous_rows(out: Path, origin: StoreOrigin, *, half: bool) -> PreviousRows:
    """Looks for rows that were made before and will do: in the store, and in parts that a stopped run left.

    Args:
        out: The store that is written; `require_compatible_store` has found it fit.
        origin: What makes the new rows.
        half: Whether they are float16.
    """
    parts = list[Path]()
    # Those of a store in parts are in it already; to read them twice does no harm.
    for path in sorted(store_parts_folder(out).glob("[0-9]*.h5")):
        try:
            with open_store(path) as part:
                _require_like(part, origin, display_path(path), half=half)
        except DataError:
            continue  # Of a run with other options; it goes when this one has ended.
        parts.append(path)
    return PreviousRows([*([out] if out.exists() else []), *parts])


def _require_like(store: OpenStore, origin: StoreOrigin, name: str, *, half: bool) -> None:
    """Refuses rows that those of `origin` cannot stand beside."""
    there, advice = store.origin, "choose another -o, or remove it to make it anew"
    if there.encoder_digest != origin.encoder_digest:
        raise DataError(f"{name}: holds embeddings of another encoder ({there.encoder}, or an earlier state); {advice}")
    try:
        there.fingerprint.require_same(origin.fingerprint, name, "these faces")
    except FingerprintError as error:
        raise FingerprintError(f"{error}, or {advice}") from None
    for option, theirs, ours in (("--flip", there.flip, origin.flip), ("--half", store.shape.half, half)):
        if theirs is not ours:
            raise DataError(f"{name}: was made {'with' if theirs else 'without'} {option}; do the same, or {advice}")
    if (face := there.config.get("face")) != origin.config["face"]:
        raise DataError(f"{name}: was made with --face {face}; do the same, or {advice}")
