"""`faceclr linear-eval`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, format_facts
from faceclr_cli.core.configs.linear_eval import LinearEvalConfig

EXAMPLE = "faceclr linear-eval sface.h5 simclr.h5"


def run(config: LinearEvalConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.commands.probe_tables import comparison_tables, csv_table, markdown_table, person_tables
    from faceclr_cli.core.evaluation.probing.linear_eval import linear_eval

    result = linear_eval(config, console.reporter)
    if config.format != "table":
        console.show(result, markdown_table(result) if config.format == "markdown" else csv_table(result))
        return
    parts = list(comparison_tables(result))
    if len(result.rows) == 1:
        parts += person_tables(result.rows[0])
    written = {"plot": config.plot, "classifier": config.save}
    if any(written.values()):
        parts.append("")
        parts.append(format_facts({name: str(path) for name, path in written.items() if path is not None}))
    console.show(result, *parts)
