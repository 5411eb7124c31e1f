"""`faceclr linear-eval`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, percent, table
from faceclr_cli.core.configs.linear_eval import LinearEvalConfig

EXAMPLE = "faceclr linear-eval sface.h5 simclr.h5"


def run(config: LinearEvalConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.evaluation.linear_eval import run

    result = run(config, console.reporter)
    columns = ("embeddings", "top-1", "top-3", "top-5", "Jaccard", "F1", "k-NN")
    rows = [
        (
            *(row.store, percent(row.top1), percent(row.top3), percent(row.top5)),
            *(f"{row.jaccard:.3f}", f"{row.f1:.3f}", percent(row.knn)),
        )
        for row in result.rows
    ]
    explanation = (
        f"{result.people} people; a linear layer on {result.train} pictures, measured on {result.test} others "
        f"(chance {percent(result.chance)}).\nk-NN: nearest neighbour among all {result.pictures} pictures."
    )
    console.show(result, table(columns, rows), explanation)
