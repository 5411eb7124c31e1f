"""`faceclr verify`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts, likely
from faceclr_cli.commands.identify import name_faces
from faceclr_cli.commands.verification_tables import show_measured
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.wording import count

EXAMPLE = "faceclr verify a.jpg b.jpg"


def run(config: VerifyConfig, console: Console) -> int:
    """Runs the command and shows its result. The exit code is 1 if two photographs show different people."""
    from faceclr_cli.core.evaluation.verification.verify import VerifyResult, verify

    if config.gallery is not None:
        return _one_against_many(config, console)
    if config.pairs is not None and not config.measures:
        return _many(config, console)
    result = verify(config, console.reporter)
    if not isinstance(result, VerifyResult):
        from faceclr_cli.core.evaluation.verification.pairs_protocol import PairsResult

        show_measured(result, config, console)
        if isinstance(result, PairsResult):
            _require_enough(result.missing, result.genuine + result.impostor, config)
        return 0
    rows = {
        "similarity": f"{result.similarity:.3f}",
        "threshold": f"{result.threshold:.3f} ({result.encoder}), {result.meaning}",
        "verdict": "same person" if result.same else "different people",
    }
    if result.probability is not None:
        rows["probability"] = f"{likely(result.probability)} that it is the same person, at even odds beforehand"
    else:
        rows["probability"] = f"not measured for {result.encoder}; faceclr calibrate measures it"
    if result.notes:
        rows["doubts"] = "; ".join(result.notes)
    console.show(result, facts(rows))
    return 0 if result.same else 1


def _one_against_many(config: VerifyConfig, console: Console) -> int:
    """As `faceclr identify`; the exit code is 1 if nobody of the gallery is shown."""
    options = IdentifyConfig(
        photos=config.photos[0],
        gallery=config.gallery,
        model=config.model,
        threshold=config.threshold,
        far=config.far,
        calibration=config.calibration,
        face=config.one,
        max_bad=0.0,
    )
    return 0 if name_faces(options, console) else 1


def _many(config: VerifyConfig, console: Console) -> int:
    """A line for each pair, as soon as it is known."""
    from faceclr_cli.core.evaluation.verification.pair_verdicts import verdicts

    counts = {True: 0, False: 0, None: 0}
    with console.rows(("a", "b", "similarity", "same", "reason")) as (write, reporter):
        for verdict in verdicts(config, reporter):
            counts[verdict.same] += 1
            write(verdict)
    if not any(counts.values()):
        raise DataError(f"{config.pairs}: holds no pairs")
    done, failed = sum(counts.values()), counts[None]
    console.note(f"{count(done, 'pair')}: {counts[True]} same, {counts[False]} different, {failed} not compared")
    _require_enough(failed, done, config)
    return 0


def _require_enough(failed: int, pairs: int, config: VerifyConfig) -> None:
    if failed > config.max_bad * pairs:
        raise DataError(f"{failed} of {pairs} pairs could not be compared, more than --max-bad {config.max_bad:g}")
