"""Choice of one row for each photograph from a store with several, as `embed --face all` writes them."""

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
    "largest": "the largest face of each is used",
    "best": "the face with the highest detection score is used",
    "only": "they are ignored",
}


def choose_faces(rows: R, choice: Choice, origin: str, reporter: Reporter, *, option: str = "--face") -> R:
    """Keeps one row of each photograph, as if only one face of each had been embedded.

    Args:
        rows: Rows of a store. The rows of one photograph have the same path.
        choice: Which of several rows to keep: `largest` by box, `best` by detection score. `only` drops photographs
            with several rows, `all` keeps all rows.
        origin: Path of the store, for messages.
        reporter: Receives a warning with the number of photographs that have several rows.
        option: Name of the option for the choice, for errors.

    Returns:
        The kept rows in their order; the same object if all photographs have one row.

    Raises:
        ConfigError: The choice is `center` and a photograph has several rows, as stores do not contain the size of
            photographs.
        DataError: Rows of a photograph have no box, or no detection score with `best`.
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
            f"{display_path(origin)}: {len(several)} photographs have several faces, and a store does not say which is "
            f"in the center; choose {option} largest or best, or embed with --face center"
        )
    areas = rows.boxes[:, 2] * rows.boxes[:, 3]
    order = (areas, rows.detection_scores) if choice == "largest" else (rows.detection_scores, areas)
    dropped = [row for found in several for row in _rows_to_drop(found, choice, order, rows, origin)]
    text = f"{len(several)} of {len(places)} photographs have several faces; {_COUNTS[choice]}"
    reporter.report(Notice(text=f"{display_path(origin)}: {text}", level="warning"))
    return rows.take(np.setdiff1d(np.arange(len(rows)), dropped))


def _rows_to_drop(
    found: list[int], choice: Choice, order: tuple[NDArray[np.float32], NDArray[np.float32]], rows: Rows, origin: str
) -> list[int]:
    """Returns the rows of one photograph that are not kept."""
    if choice == "only":
        return found
    first, second = order
    if np.isnan(first[found]).any():
        what = "boxes" if choice == "largest" else "detection scores"
        raise DataError(
            f"{display_path(origin)}: {display_path(rows.paths[found[0]])} has {len(found)} rows without {what} to "
            "choose by; embed the photographs again, with one face of each"
        )
    chosen = max(found, key=lambda row: (first[row], np.nan_to_num(second[row])))
    return [row for row in found if row != chosen]
