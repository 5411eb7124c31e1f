"""`faceclr verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, facts, percent, table
from faceclr_cli.core.configs.verify import VerifyConfig

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.pairs import PairsResult

EXAMPLE = "faceclr verify a.jpg b.jpg"


def run(config: VerifyConfig, console: Console) -> int:
    """Runs the command and shows its result. The exit code is 1 if two photographs show different people."""
    from faceclr_cli.core.evaluation.verify import VerifyResult, run

    result = run(config, console.reporter)
    if not isinstance(result, VerifyResult):
        _show_pairs(result, console)
        return 0
    rows = {
        "similarity": f"{result.similarity:.3f}",
        "threshold": f"{result.threshold:.3f} ({result.encoder})",
        "meaning": result.meaning,
        "verdict": "same person" if result.same else "different people",
    }
    console.show(result, facts(rows))
    return 0 if result.same else 1


def _show_pairs(result: PairsResult, console: Console) -> None:
    accuracy = f"{percent(result.accuracy)} ± {percent(result.standard_error)} over {result.folds} folds"
    rows = {
        "encoder": result.encoder,
        "pairs": f"{result.genuine} genuine, {result.impostor} impostor, {result.missing} not in the store",
        "accuracy": accuracy,
        "precision": percent(result.precision),
        "recall": percent(result.recall),
        "AUC": f"{result.auc:.4f}",
        "EER": percent(result.eer),
        "best threshold": f"{result.best_threshold:.3f}",
    }
    points = [
        (f"{point.far:g}", percent(point.tar), "" if point.threshold is None else f"{point.threshold:.3f}")
        for point in result.tar_at_far
    ]
    reasons = [point.reason for point in result.tar_at_far if point.reason]
    console.show(result, facts(rows), table(("FAR", "TAR", "threshold"), points), *reasons)
