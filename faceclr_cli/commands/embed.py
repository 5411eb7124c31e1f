"""`faceclr embed`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, format_facts
from faceclr_cli.core.configs.embed import STANDARD_OUTPUT, EmbedConfig
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.wording import faces_of

EXAMPLE = "faceclr embed celeba-splits/test --model runs/pretrain-1 -o test.h5"


def run(config: EmbedConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.embeddings.embed import embed

    piped = config.out == STANDARD_OUTPUT
    if piped and console.json:
        raise ConfigError("--json and -o - cannot be combined; -o - already writes JSON lines to standard output")
    result = embed(config, console.reporter)
    faces = f"{faces_of(result.faces, result.people)}, {result.dim} dimensions"
    if piped:
        console.note(f"{faces}, encoder {result.encoder}")
        return
    rows = {"embeddings": faces, "encoder": result.encoder}
    if result.embedded < result.faces:
        rows["new"] = f"{result.embedded}; the others were already in the store"
    if result.embedded:
        rows["speed"] = f"{result.faces_per_second:.0f} faces/s"
    if result.bad:
        rows["failed"] = f"{result.bad} files"
    if result.gone:
        rows["stale"] = f"{result.gone} faces whose picture is not in the input" + (", removed" if config.prune else "")
    rows["written to"] = str(result.out)
    console.show(result, format_facts(rows))
