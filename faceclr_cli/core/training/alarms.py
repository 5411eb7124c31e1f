"""Warnings about collapse and overfitting, derived from the metrics of a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.schedule import Schedule
from faceclr_cli.core.training.validation import COSINE, KNN, LOSS, RANK, TOP1

_MIN_RANK = 1.5
"""Effective rank below which all embeddings have nearly the same direction."""
_TOLERANCE = 0.001
"""Relative difference to the loss of a collapsed encoder below which the encoder counts as collapsed."""
_SAME_POINT, _TOLERANCE_AT_SAME_POINT = 0.99, 0.05
"""Mean cosine of pairs above which embeddings are nearly equal. The distances of triplets are then a few percent of the
margin, so the loss can differ by as much from the loss of a collapsed encoder."""
_PATIENCE = 3
_NOISE = 0.01


def find_alarms(rows: Sequence[Row], collapsed_loss: float, schedule: Schedule) -> list[str]:
    """Returns warnings that apply to the last epoch but not to the epoch before it.

    Args:
        rows: The metrics of all epochs so far.
        collapsed_loss: The loss of a collapsed encoder; see `TaskModule.collapsed_loss`.
        schedule: The schedule of the run.
    """
    found = []
    if is_collapsed(rows, collapsed_loss, schedule) and not is_collapsed(rows[:-1], collapsed_loss, schedule):
        row = rows[-1]
        signs = f"mean cosine {row[COSINE]:.3f}, " if COSINE in row else ""
        if RANK in row:
            signs = f"effective rank {row[RANK]:.1f}, {signs}"
        found.append(
            f"epoch {len(rows)}: the embeddings collapsed ({signs}loss {row['loss']:.2f}; an encoder that maps all "
            f"pictures to one embedding has {collapsed_loss:.2f}): stop this run and start a new one with a lower "
            "--lr, a longer --warmup or a larger --batch-size"
        )
    if is_overfitting(rows) and not is_overfitting(rows[:-1]):
        name, quality = _quality(rows)
        best, worse = abs(max(quality)), "higher" if name == LOSS else "lower"
        found.append(
            f"epoch {len(rows)}: overfitting: the training loss still falls, but {name} was {best:.3f} and has been "
            f"{worse} for {_PATIENCE} epochs; use more pictures or fewer --epochs"
        )
    return found


def is_collapsed(rows: Sequence[Row], collapsed_loss: float, schedule: Schedule) -> bool:
    """Returns True if the embeddings of the last epoch are nearly identical; always False during the warmup."""
    if not rows or not schedule.is_warm(int(rows[-1]["step"])):
        return False
    row = rows[-1]
    # The mean loss of active triplets can equal the loss of a collapsed encoder by chance, unless all are active.
    distance = abs(row["loss"] - collapsed_loss)
    collapsed = distance < _TOLERANCE * collapsed_loss and row.get("active", 1.0) > 1 - _TOLERANCE
    collapsed |= distance < _TOLERANCE_AT_SAME_POINT * collapsed_loss and row.get(COSINE, 0.0) > _SAME_POINT
    return collapsed or row.get(RANK, _MIN_RANK) < _MIN_RANK


def is_overfitting(rows: Sequence[Row]) -> bool:
    """Returns True if validation has been worse than before for some epochs while the training loss fell."""
    _, quality = _quality(rows)
    if len(quality) <= _PATIENCE or len(quality) < len(rows):
        return False
    # The loss of triplets is the mean over active triplets, which rises as only hard triplets remain active.
    losses = [row["loss"] * row.get("active", 1.0) for row in rows[-_PATIENCE - 1 :]]
    falls = all(later < former for former, later in pairwise(losses))
    best = max(quality[:-_PATIENCE])
    return falls and max(quality[-_PATIENCE:]) < best - max(_NOISE, _NOISE * abs(best))


def _quality(rows: Sequence[Row]) -> tuple[str, list[float]]:
    """Returns the name of the best available validation metric and its values; higher is better."""
    name = next((name for name in (LOSS, KNN, TOP1) if rows and name in rows[-1]), TOP1)
    return name, [-row[name] if name == LOSS else row[name] for row in rows if name in row]
