"""Which row of a photograph counts, where a store has several: `embed --face all` writes one for each face."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.detect import Choice
from faceclr_cli.core.text import display_path

R = TypeVar("R", bound=Rows)

_COUNTS: dict[Choice, str] = {
    "largest": "the largest face of each counts",
    "best": "the surest face of each counts",
    "only": "they are left out",
}


def choose_faces(rows: R, choice: Choice, origin: str, reporter: Reporter, *, option: str = "--face") -> R:
    """Keeps one row of each photograph, as if one face of each had been embedded.

    Args:
        rows: Those of a store; the rows of one photograph share its path.
        choice: Which of several: `largest` by the box, `best` by the detection score, `only` leaves out photographs
            with several, `all` keeps every row.
        origin: The store, as the user knows it.
        reporter: Told how many photographs have several rows, and which of them counts.
        option: The one that makes the choice, to name in an error.

    Returns:
        The rows that count, in their order. The same object where every photograph has one row.

    Raises:
        ConfigError: The choice is `center` and a photograph has several rows: a store does not say how large the
            photograph was.
        DataError: Several rows of a photograph have no box, or with `best` no score, to choose by.
    """
    if choice == "all":
        return rows
    places = defaultdict[str, list[int]](list)
    for row, path in enumerate(rows.paths):
        places[path].append(row)
    several = [found for found in places.values() if len(found) > 1]
    if not several:
        return rows
    if choice == "center":
        raise ConfigError(
            f"{display_path(origin)}: {len(several)} photographs have several faces, and a store does not say "
            "which is in the "
            f"center; choose {option} largest or best, or embed with --face center"
        )
    areas = rows.boxes[:, 2] * rows.boxes[:, 3]
    order = (areas, rows.detection_scores) if choice == "largest" else (rows.detection_scores, areas)
    dropped = [row for found in several for row in _others(found, choice, order, rows, origin)]
    text = f"{len(several)} of {len(places)} photographs have several faces; {_COUNTS[choice]}"
    reporter.report(Notice(text=f"{display_path(origin)}: {text}", level="warning"))
    return rows.take(np.setdiff1d(np.arange(len(rows)), dropped))


def _others(
    found: list[int], choice: Choice, order: tuple[NDArray[np.float32], NDArray[np.float32]], rows: Rows, origin: str
) -> list[int]:
    """The rows of one photograph that do not count."""
    if choice == "only":
        return found
    first, second = order
    if np.isnan(first[found]).any():
        what = "boxes" if choice == "largest" else "detection scores"
        raise DataError(
            f"{display_path(origin)}: {display_path(rows.paths[found[0]])} has {len(found)} rows without "
            f"{what}, so that none can be "
            "chosen; embed the photographs again, with one face of each"
        )
    chosen = max(found, key=lambda row: (first[row], np.nan_to_num(second[row])))
    return [row for row in found if row != chosen]
