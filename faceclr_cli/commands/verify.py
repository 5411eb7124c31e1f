"""`faceclr verify`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.identification_tables import show_faces
from faceclr_cli.commands.verdict_tables import require_comparable, show_verdict, show_verdicts
from faceclr_cli.commands.verification_tables import show_evaluation
from faceclr_cli.core.configs.verify import VerifyConfig

EXAMPLE = "faceclr verify a.jpg b.jpg"


def run(config: VerifyConfig, console: Console) -> int:
    """Runs the command and shows its result. The exit code is 1 if the photographs show different people."""
    if config.gallery is not None:
        return 0 if show_faces(config.as_identify(), console) else 1
    if config.pairs is not None and not config.is_evaluation:
        show_verdicts(config, console)
        return 0
    from faceclr_cli.core.evaluation.verification.verify import VerifyResult, verify

    result = verify(config, console.reporter)
    if isinstance(result, VerifyResult):
        show_verdict(result, console)
        return 0 if result.same else 1
    from faceclr_cli.core.evaluation.verification.all_pairs_protocol import AllPairsResult

    show_evaluation(result, config, console)
    if not isinstance(result, AllPairsResult):
        require_comparable(result.missing, result.genuine + result.impostor, config)
    return 0
