"""`faceclr forget`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, table
from faceclr_cli.core.configs.forget import ForgetConfig

EXAMPLE = "faceclr forget --identity ann_lee faces.h5 celeba-faces celeba-splits"


def run(config: ForgetConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.upkeep.forget import forget

    result = forget(config, console.reporter)
    removed = "would remove" if result.dry_run else "removed"
    rows = [[row.path, str(row.removed), str(row.left), str(row.others)] for row in result.rows]
    console.show(result, table([result.identity, removed, "remaining", "others"], rows))
