"""`faceclr embed`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts
from faceclr_cli.core.configs.embed import EmbedConfig

EXAMPLE = "faceclr embed celeba-splits/test --model runs/pretrain-1 -o test.h5"


def run(config: EmbedConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.embeddings.embed import run

    result = run(config, console.reporter)
    rows = {
        "embeddings": f"{result.faces} faces of {result.people} people, {result.dim} numbers each",
        "encoder": result.encoder,
        "speed": f"{result.faces_per_second:.0f} faces a second",
        "written to": str(result.out),
    }
    if result.bad:
        rows["left out"] = f"{result.bad} files"
    console.show(result, facts(rows))
