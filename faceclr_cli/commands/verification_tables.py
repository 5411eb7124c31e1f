"""Output of `faceclr verify` for the evaluation of an encoder on pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, format_percent, table, wrap_sentence
from faceclr_cli.commands.group_tables import group_parts
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.verification.all_pairs_protocol import AllPairsResult
    from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
    from faceclr_cli.core.evaluation.verification.template_protocol import TemplatesResult


def show_evaluation(
    result: PairsResult | AllPairsResult | TemplatesResult, config: VerifyConfig, console: Console
) -> None:
    """Shows the accuracy on listed pairs, TAR at FAR, and the findings of the audit."""
    from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult

    if isinstance(result, PairsResult):
        _show_pairs(result, config, console)
    else:
        _show_all(result, console)


def _show_pairs(result: PairsResult, config: VerifyConfig, console: Console) -> None:
    judged = result.judged
    by = f"over {judged.folds} folds" if judged.threshold is None else f"at the threshold of {config.calibrate_on}"
    if judged.threshold is None and judged.standard_error_over == "people":
        by += " that share people"
    rows = {"encoder": result.encoder} if result.encoder else {}
    rows["pairs"] = f"{result.genuine} genuine, {result.impostor} impostor, {result.missing} not compared"
    rows["accuracy"] = f"{format_percent(judged.accuracy)} ± {format_percent(judged.standard_error)} {by}"
    if judged.backwards is not None:
        rows["reversed"] = (
            f"{format_percent(judged.backwards)} on the pairs of --calibrate-on at the best threshold of --pairs"
        )
    rows |= {"precision": format_percent(judged.precision), "recall": format_percent(judged.recall)}
    rows |= {"AUC": f"{result.auc:.4f}", "EER": format_percent(result.eer), "threshold": _threshold(result)}
    rows |= dict(_audit(result))
    for name, path in (("results", config.results), ("plot", config.plot), ("groups plot", config.groups_plot)):
        rows |= {name: str(path)} if path is not None else {}
    columns, points = _points(result)
    reasons = [wrap_sentence(f"FAR {point.far:g} {point.reason}") for point in result.tar_at_far if point.reason]
    console.show(result, format_facts(rows), table(columns, points), *reasons, *group_parts(result.group_reports))


def _points(result: PairsResult) -> tuple[list[str], list[list[str]]]:
    """Returns the columns and rows of the operating points. The column of folds is omitted if there are none."""
    columns = {"FAR": [f"{point.far:g}" for point in result.tar_at_far]}
    columns["TAR"] = [format_percent(point.tar) for point in result.tar_at_far]
    if any(point.fold_mean is not None for point in result.tar_at_far):
        columns["over folds"] = [
            "-"
            if point.fold_mean is None
            else f"{format_percent(point.fold_mean)} ± {format_percent(point.fold_deviation)}"
            for point in result.tar_at_far
        ]
    columns["threshold"] = ["" if point.threshold is None else f"{point.threshold:.3f}" for point in result.tar_at_far]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _threshold(result: PairsResult) -> str:
    own = result.judged.threshold
    best = f"{result.best_threshold:.3f} has the highest accuracy on these pairs"
    if result.best_distance is not None:
        best += f" (Euclidean distance {result.best_distance:.3f})"
    return best if own is None else f"{own:.3f}; {best}"


def _audit(result: PairsResult) -> Iterator[tuple[str, str]]:
    if result.fingerprint is not None:
        yield "faces", "{detector}, {template} template, {size} x {size}".format(**result.fingerprint)
    if result.shared is not None:
        names = ", ".join(result.shared[:3]) + (", ..." if len(result.shared) > 3 else "")
        yield "trained on", f"{len(result.shared)} of the {result.people} people" + (f": {names}" if names else "")
    if result.audit is not None:
        found = {"listed twice": result.audit.repeated, "listed as both": result.audit.contradictory}
        found |= {"of a picture with itself": result.audit.itself, "of two copies": result.audit.copies}
        counts = [f"{count(pairs, 'pair')} {what}" for what, pairs in found.items() if pairs]
        if counts:
            yield "warning", ", ".join(counts)


def _show_all(result: AllPairsResult | TemplatesResult, console: Console) -> None:
    from faceclr_cli.core.evaluation.verification.all_pairs_protocol import AllPairsResult

    rows = {
        "encoder": result.encoder,
        "pairs": f"{result.genuine:,} genuine, {result.impostor:,} impostor{_origin(result)}",
        "AUC": f"{result.auc:.4f}",
        "EER": format_percent(result.eer),
    }
    points = [(f"{point.far:g}", format_percent(point.tar), f"{point.threshold:.3f}") for point in result.tar_at_far]
    needed = [f"FAR {far:g} requires {round(1 / far):,} impostor pairs" for far in result.unmeasured]
    reasons = [wrap_sentence("; ".join(needed))] if needed else []
    parts = [format_facts(rows), table(("FAR", "TAR", "threshold"), points), *reasons]
    if isinstance(result, AllPairsResult):
        parts += group_parts(result.group_reports)
    console.show(result, *parts)


def _origin(result: AllPairsResult | TemplatesResult) -> str:
    """Says what the pairs are pairs of, and how many could not be compared."""
    from faceclr_cli.core.evaluation.verification.all_pairs_protocol import AllPairsResult

    if isinstance(result, AllPairsResult):
        return f": all pairs of {result.faces:,} faces"
    missing = f", {result.missing:,} not compared" if result.missing else ""
    which = ": all pairs" if result.pairs is None else missing + ": pairs"
    return f"{which} of {result.templates:,} templates of {result.pictures:,} pictures ({result.template})"
