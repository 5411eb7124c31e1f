"""What the numbers of a run should make its owner worry about."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.schedule import Schedule
from faceclr_cli.core.training.validation import COSINE, KNN, LOSS, RANK, TOP1

_ALL_ALIKE = 1.5
"""Effective rank below which embeddings are one direction, whatever the picture."""
_NEAR_BLIND = 0.001
_SAME_POINT, _NEAR_BLIND_THERE = 0.99, 0.05
"""Mean cosine of pairs above which embeddings hardly differ. The distances of triplets are then a few percent of the
margin, so the loss may be that far from the one of an encoder to which all pictures look the same."""
_PATIENCE = 3
_NOISE = 0.01


def alarms(rows: Sequence[Row], blind_loss: float, plan: Schedule) -> list[str]:
    """Warnings that the last epoch gives cause for and the one before it did not.

    Args:
        rows: The numbers of all epochs so far.
        blind_loss: The loss of an encoder to which all pictures look the same.
        plan: Of the run.
    """
    found = []
    if is_collapsed(rows, blind_loss, plan) and not is_collapsed(rows[:-1], blind_loss, plan):
        row = rows[-1]
        signs = f"mean cosine {row[COSINE]:.3f}, " if COSINE in row else ""
        if RANK in row:
            signs = f"effective rank {row[RANK]:.1f}, {signs}"
        found.append(
            f"epoch {len(rows)}: the embeddings COLLAPSE ({signs}loss {row['loss']:.2f}; {blind_loss:.2f} is that of "
            "an encoder to which all pictures look the same): stop, and start anew with a lower --lr, a longer "
            "--warmup or a larger --batch-size"
        )
    if is_overfitting(rows) and not is_overfitting(rows[:-1]):
        name, quality = _quality(rows)
        best, worse = abs(max(quality)), "higher" if name == LOSS else "lower"
        found.append(
            f"epoch {len(rows)}: it overfits: the loss still falls, but {name} was {best:.3f} and has been {worse} for "
            f"{_PATIENCE} epochs; give it more pictures or fewer --epochs"
        )
    return found


def is_collapsed(rows: Sequence[Row], blind_loss: float, plan: Schedule) -> bool:
    """Whether all embeddings of the last epoch are alike, after the rate has risen to its peak."""
    if not rows or not plan.is_warm(int(rows[-1]["step"])):
        return False
    row = rows[-1]
    # Of triplets the mean loss of the active ones may be that of a blind encoder by chance, unless all are active.
    distance = abs(row["loss"] - blind_loss)
    blind = distance < _NEAR_BLIND * blind_loss and row.get("active", 1.0) > 1 - _NEAR_BLIND
    blind |= distance < _NEAR_BLIND_THERE * blind_loss and row.get(COSINE, 0.0) > _SAME_POINT
    return blind or row.get(RANK, _ALL_ALIKE) < _ALL_ALIKE


def is_overfitting(rows: Sequence[Row]) -> bool:
    """Whether what is watched was worse than before for some epochs while the loss fell."""
    _, quality = _quality(rows)
    if len(quality) <= _PATIENCE or len(quality) < len(rows):
        return False
    # Of triplets the active ones alone are averaged: as they become rare, those that are left are hard.
    losses = [row["loss"] * row.get("active", 1.0) for row in rows[-_PATIENCE - 1 :]]
    falls = all(later < former for former, later in pairwise(losses))
    best = max(quality[:-_PATIENCE])
    return falls and max(quality[-_PATIENCE:]) < best - max(_NOISE, _NOISE * abs(best))


def _quality(rows: Sequence[Row]) -> tuple[str, list[float]]:
    """The best measure of what is watched that there is, and its value in each epoch that has it; more is better."""
    name = next((name for name in (LOSS, KNN, TOP1) if rows and name in rows[-1]), TOP1)
    return name, [-row[name] if name == LOSS else row[name] for row in rows if name in row]
