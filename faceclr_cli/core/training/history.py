"""The history of a run, epoch by epoch: `history.csv` and TensorBoard events."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from faceclr_cli.core.artifacts import atomic_path

Row = dict[str, float]
"""The metrics of one epoch by column name; `epoch` and `step` are integers. Epoch 0 is the encoder of `--init`."""

TABLE = "history.csv"


def without_position(row: Row) -> Row:
    """Returns the metrics of a row without its epoch and step."""
    return {name: value for name, value in row.items() if name not in ("epoch", "step")}


class History:
    """Writes the metrics of a run to its folder.

    The table is rewritten atomically after each epoch, so it is never incomplete, and a run that is resumed from an
    earlier checkpoint leaves no duplicate rows.

    Args:
        folder: The run folder.
        rows: The metrics of previous epochs if the run is resumed.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self._table = folder / TABLE
        # TensorBoard discards events of an interrupted run from this step on.
        step = int(rows[-1]["step"]) if rows else 0
        self._events = SummaryWriter(str(folder), purge_step=step + 1)
        if rows:
            self._write(rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Writes all rows to the table and the last one to TensorBoard."""
        self._write(rows)
        last = rows[-1]
        for name, value in last.items():
            if name != "step":
                self._events.add_scalar(name, value, int(last["step"]))
        self._events.flush()

    def close(self) -> None:
        """Closes the file of events."""
        self._events.close()

    def _write(self, rows: Sequence[Row]) -> None:
        with (
            atomic_path(self._table) as temporary,
            open(temporary, "w", newline="", encoding="ascii") as file,
        ):
            # Epochs can have different columns.
            columns = list(dict.fromkeys(name for row in rows for name in row))
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _short(value) for name, value in row.items()} for row in rows)


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
