"""`faceclr clean`."""

from __future__ import annotations

from faceclr_cli.commands.clean_tables import show_cleaned, show_proposals
from faceclr_cli.commands.console import Console
from faceclr_cli.core.configs.clean import CleanConfig

EXAMPLE = "faceclr clean celeba-faces -o clean.csv --sheet cases.jpg"


def run(config: CleanConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.upkeep.clean import clean
    from faceclr_cli.core.upkeep.cleaned_folder import apply_proposals

    if config.apply is not None:
        show_cleaned(apply_proposals(config, console.reporter), console)
    else:
        show_proposals(config, clean(config, console.reporter), console)
