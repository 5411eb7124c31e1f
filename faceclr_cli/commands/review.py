"""`faceclr review`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, format_facts
from faceclr_cli.core.configs.review import ReviewConfig

EXAMPLE = "faceclr review groups"


def run(config: ReviewConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.evaluation.clustering.review import review

    result = review(config, console.reporter)
    rows = {"questions": f"{result.questions:,}, {result.answered:,} answered", "page": str(result.page)}
    rows["next"] = f"open it in a browser, and put the review.csv that it saves into {config.groups}"
    console.show(result, format_facts(rows))
