"""The people whom photographs may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceclr_cli.core.embeddings.rows import Rows
from faceclr_cli.core.embeddings.store import Store, read_store
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import DataError, ModelError
from faceclr_cli.core.evaluation.embedded import embedded_folder
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.reasons import shown
from faceclr_cli.core.metrics.search import PeopleIndex


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Faces of people with names, ready to be searched.

    Attributes:
        index: Finds people by their numbers.
        names: Of the people, by number.
        paths: Of the pictures, by row.
    """

    index: PeopleIndex
    names: Sequence[str]
    paths: Sequence[str]


def load_gallery(path: Path, encoder: Encoder, model: str, reporter: Reporter) -> Gallery:
    """Reads a store, or embeds a folder, of people with names.

    Args:
        path: The store, prepared faces, or a folder, archive or list of photographs, of whose faces the largest count.
        encoder: Who embedded them, or embeds them now.
        model: What the user calls it.
        reporter: Told of what is left out.

    Raises:
        DataError: There is no such file, or nobody in it has a name.
        ModelError: The store was made by another encoder.
        FingerprintError: The faces were prepared in another way than the encoder needs.
    """
    is_store = path.is_file() and path.suffix.lower() in (".h5", ".hdf5")
    rows: Rows = own_store(path, encoder, model) if is_store else embedded_folder(path, encoder, model, reporter)
    known = named_rows(rows, shown(path), reporter)
    names, numbers = np.unique([str(name) for name in known.identities], return_inverse=True)
    return Gallery(index=PeopleIndex(known.embeddings, numbers), names=[str(name) for name in names], paths=known.paths)


def own_store(path: Path, encoder: Encoder, model: str) -> Store:
    """A store of embeddings that can be compared with those that an encoder makes now.

    Raises:
        DataError: It cannot be read, or holds means of faces and their mirror images.
        ModelError: It was made by another encoder.
        FingerprintError: Its faces were prepared in another way than the encoder needs.
    """
    store = read_store(path)
    if store.encoder_digest != encoder.digest:
        raise ModelError(f"{shown(path)}: was made by {shown(store.encoder)}, not by --model {model}")
    store.fingerprint.require_same_crops(encoder.fingerprint, shown(path), f"the encoder {model}")
    if store.flip:
        text = "holds means of faces and their mirror images, which compare with nothing else"
        raise DataError(f"{shown(path)}: {text}; embed them without --flip")
    return store


def named_rows(rows: Rows, origin: str, reporter: Reporter) -> Rows:
    """The rows of people with names.

    Raises:
        DataError: There are none.
    """
    named = np.array([name is not None for name in rows.identities], bool)
    if not named.any():
        raise DataError(f"{origin}: nobody there has a name: a folder for each person gives them")
    if not named.all():
        text = f"{origin}: {(~named).sum()} of {len(named)} faces have no name and are left out"
        reporter.report(Notice(text=text, level="warning"))
    return rows.take(np.flatnonzero(named))
