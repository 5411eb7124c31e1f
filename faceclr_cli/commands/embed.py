"""`faceclr embed`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts
from faceclr_cli.core.configs.embed import STANDARD_OUTPUT, EmbedConfig
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.wording import faces_of

EXAMPLE = "faceclr embed celeba-splits/test --model runs/pretrain-1 -o test.h5"


def run(config: EmbedConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.embeddings.embed import embed

    piped = config.out == STANDARD_OUTPUT
    if piped and console.json:
        raise ConfigError("--json and -o - both want standard output; the rows of -o - are JSON lines already")
    result = embed(config, console.reporter)
    faces = f"{faces_of(result.faces, result.people)}, {result.dim} numbers each"
    if piped:
        console.note(f"{faces}, by {result.encoder}")
        return
    rows = {"embeddings": faces, "encoder": result.encoder}
    if result.embedded < result.faces:
        rows["new"] = f"{result.embedded}, the others were there already"
    if result.embedded:
        rows["speed"] = f"{result.faces_per_second:.0f} faces a second"
    if result.bad:
        rows["left out"] = f"{result.bad} files"
    if result.gone:
        rows["gone"] = f"{result.gone} faces whose picture was not given again" + (", dropped" if config.prune else "")
    rows["written to"] = str(result.out)
    console.show(result, facts(rows))
