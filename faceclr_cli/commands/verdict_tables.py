"""Output of `faceclr verify`: the verdict on two photographs, or the row of each pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, format_probability
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.verification.verify import VerifyResult


def show_verdict(result: VerifyResult, console: Console) -> None:
    """Shows the similarity, the threshold, the verdict and its probability."""
    rows = {
        "similarity": f"{result.similarity:.3f}",
        "threshold": f"{result.threshold:.3f} ({result.encoder}), {result.meaning}",
        "verdict": "same person" if result.same else "different people",
    }
    if result.probability is not None:
        rows["probability"] = (
            f"{format_probability(result.probability)} that it is the same person, given even prior odds"
        )
    else:
        rows["probability"] = f"not calibrated for {result.encoder}; run faceclr calibrate"
    if result.notes:
        rows["warnings"] = "; ".join(result.notes)
    console.show(result, format_facts(rows))


def show_verdicts(config: VerifyConfig, console: Console) -> None:
    """Prints a row for each pair as soon as it is compared.

    Raises:
        DataError: There are no pairs, or more of them than `max_bad` allows could not be compared.
    """
    from faceclr_cli.core.evaluation.verification.pair_verdicts import verdicts

    counts = {True: 0, False: 0, None: 0}
    with console.rows(("a", "b", "similarity", "same", "reason")) as (write, reporter):
        for verdict in verdicts(config, reporter):
            counts[verdict.same] += 1
            write(verdict)
    if not any(counts.values()):
        raise DataError(f"{config.pairs}: contains no pairs")
    done, failed = sum(counts.values()), counts[None]
    console.note(f"{count(done, 'pair')}: {counts[True]} same, {counts[False]} different, {failed} not compared")
    require_comparable(failed, done, config)


def require_comparable(failed: int, pairs: int, config: VerifyConfig) -> None:
    """Raises a DataError if the share of failed pairs exceeds `max_bad`."""
    if failed > config.max_bad * pairs:
        raise DataError(f"{failed} of {pairs} pairs could not be compared, more than --max-bad {config.max_bad:g}")
