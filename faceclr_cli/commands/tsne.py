"""`faceclr tsne`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts, percent
from faceclr_cli.core.configs.tsne import TsneConfig

EXAMPLE = "faceclr tsne test.h5 -o map.png"


def run(config: TsneConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.evaluation.project import run

    result = run(config, console.reporter)
    rows = {"map": f"{result.faces} faces of {result.people} people, {result.method} of {result.encoder}"}
    if result.purity is not None:
        rows["same person"] = (
            f"{percent(result.purity)} of each face's {result.neighbours} nearest on the map, "
            f"{percent(result.embedding_purity)} among the embeddings"
        )
    console.show(result, facts(rows | {"written to": result.out}))
