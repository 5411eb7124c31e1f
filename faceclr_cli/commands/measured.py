"""What an encoder reached on pairs, on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, facts, percent, table

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.all_pairs import AllPairsResult
    from faceclr_cli.core.evaluation.pairs import PairsResult


def show_measured(result: PairsResult | AllPairsResult, console: Console) -> None:
    """Shows accuracy, where pairs were listed, and TAR at FAR."""
    from faceclr_cli.core.evaluation.pairs import PairsResult

    rows = {"encoder": result.encoder}
    if isinstance(result, PairsResult):
        rows["pairs"] = f"{result.genuine} genuine, {result.impostor} impostor, {result.missing} not in the store"
        rows["accuracy"] = f"{percent(result.accuracy)} ± {percent(result.standard_error)} over {result.folds} folds"
        rows |= {"precision": percent(result.precision), "recall": percent(result.recall)}
        reasons = [point.reason for point in result.tar_at_far if point.reason]
    else:
        rows["pairs"] = f"{result.genuine:,} genuine, {result.impostor:,} impostor: all of {result.faces:,} faces"
        needed = [f"FAR {far:g} needs {round(1 / far):,} impostor pairs" for far in result.unmeasured]
        reasons = ["; ".join(needed)] if needed else []
    rows |= {"AUC": f"{result.auc:.4f}", "EER": percent(result.eer)}
    if isinstance(result, PairsResult):
        rows["best threshold"] = f"{result.best_threshold:.3f}"
    points = [
        (f"{point.far:g}", percent(point.tar), "" if point.threshold is None else f"{point.threshold:.3f}")
        for point in result.tar_at_far
    ]
    console.show(result, facts(rows), table(("FAR", "TAR", "threshold"), points), *reasons)
