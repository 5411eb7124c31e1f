"""`faceclr verify`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts
from faceclr_cli.commands.measured import show_measured
from faceclr_cli.core.configs.verify import VerifyConfig

EXAMPLE = "faceclr verify a.jpg b.jpg"


def run(config: VerifyConfig, console: Console) -> int:
    """Runs the command and shows its result. The exit code is 1 if two photographs show different people."""
    from faceclr_cli.core.evaluation.verify import VerifyResult, run

    result = run(config, console.reporter)
    if not isinstance(result, VerifyResult):
        show_measured(result, console)
        return 0
    rows = {
        "similarity": f"{result.similarity:.3f}",
        "threshold": f"{result.threshold:.3f} ({result.encoder})",
        "meaning": result.meaning,
        "verdict": "same person" if result.same else "different people",
    }
    console.show(result, facts(rows))
    return 0 if result.same else 1
