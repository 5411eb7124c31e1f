"""Output of `faceclr benchmark`: tables for the terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, table, wrap_paragraph
from faceclr_cli.commands.group_tables import group_parts
from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.benchmark.benchmark_result import (
        BenchmarkCell,
        BenchmarkMean,
        BenchmarkResult,
        GroupCell,
        RecipeGroup,
    )
    from faceclr_cli.core.evaluation.benchmark.bin_export import WrittenBin

_MEAN = "mean"
_TEMPLATES = {
    "mean": "the mean of their embeddings",
    "quality": "the mean of their embeddings weighted by quality",
    "max": "their most similar pictures",
}
_LATEX = str.maketrans({character: f"\\{character}" for character in "&%$#_{}"} | {"\\": "/", "~": " ", "^": " "})


@dataclass(frozen=True)
class _Line:
    """A row of the table: the set, the encoder, and for each column a text and the value that is compared."""

    set: str
    encoder: str
    texts: tuple[str, ...]
    values: tuple[float | None, ...]


def show_benchmark(result: BenchmarkResult, config: BenchmarkConfig, console: Console) -> None:
    """Shows the comparison in the format that was chosen."""
    lines = _lines(result)
    columns = ["accuracy", "AUC", *(f"TAR@{far:g}" for far in result.fars), "no face"]
    if result.template is not None:  # There is no accuracy.
        columns = columns[1:]
        lines = [replace(line, texts=line.texts[1:], values=line.values[1:]) for line in lines]
    match config.format:
        case "csv":
            console.show(result, _csv_table(result))
        case "markdown":
            console.show(result, _markdown_table(columns, lines))
        case "latex":
            console.show(result, _latex_table(columns, lines))
        case _:
            parts = [_plain_table(columns, lines), wrap_paragraph(" ".join(_explain(result)))]
            parts += [*_comparison_parts(result), *_overlap_parts(result), *_encoder_parts(result)]
            console.show(result, *parts, *_group_parts(result))


def show_bin(result: WrittenBin, console: Console) -> None:
    """Shows what was written."""
    rows = {
        "pairs": f"{result.genuine:,} genuine, {result.impostor:,} impostor",
        "pictures": f"{result.pictures:,}",
        "written to": display_path(result.out),
    }
    if result.left_out:
        rows["left out"] = count(result.left_out, "pair")
    console.show(result, format_facts(rows))


def require_comparable_sets(result: BenchmarkResult, config: BenchmarkConfig) -> None:
    """Raises a DataError if the share of failed pairs of a set exceeds `max_bad`."""
    pairs = {each.name: each.pairs for each in result.sets}
    for cell in result.cells:
        if cell.missing > config.max_bad * pairs[cell.set]:
            raise DataError(
                f"{cell.set}: {cell.missing} of {pairs[cell.set]} pairs could not be compared, more than --max-bad "
                f"{config.max_bad:g}"
            )


def _lines(result: BenchmarkResult) -> list[_Line]:
    """Returns the rows set by set; runs of one recipe are one row."""
    grouped = {name for group in result.groups for name in group.encoders}
    lines = [_cell_line(result, cell) for cell in result.cells if cell.encoder not in grouped]
    lines += [_mean_line(mean) for mean in result.means if mean.encoder not in grouped]
    lines += [_group_line(group, cell) for group in result.groups for cell in group.cells]
    order = {display_path(each.name): place for place, each in enumerate(result.sets)}
    return sorted(lines, key=lambda line: order.get(line.set, len(order)))


def _group_line(group: RecipeGroup, cell: GroupCell) -> _Line:
    def with_deviation(text: str, deviation: float | None, form: str) -> str:
        return text if deviation is None else f"{text} ± {deviation:{form}}"

    deviation = None if cell.accuracy_deviation is None else 100 * cell.accuracy_deviation
    accuracy = with_deviation(_percent(cell.accuracy), deviation, ".2f")
    area = with_deviation(_area(cell.auc), cell.auc_deviation, ".4f")
    name = f"{display_path(group.name)} ({count(len(group.encoders), 'run')})"
    return _Line(
        display_path(cell.set),
        name,
        (accuracy, area, *map(_percent, cell.tar_at_far), ""),
        (cell.accuracy, cell.auc, *cell.tar_at_far, None),
    )


def _cell_line(result: BenchmarkResult, cell: BenchmarkCell) -> _Line:
    tars = [cell.tar(far) for far in result.fars]
    accuracy = _percent(cell.accuracy)
    if cell.spread is not None:
        accuracy += f" ± {100 * cell.spread:.2f}"
    return _Line(
        display_path(cell.set),
        display_path(cell.encoder),
        (accuracy, _area(cell.auc), *map(_percent, tars), "-" if cell.reason else f"{cell.not_enrolled}"),
        (cell.accuracy, cell.auc, *tars, None),
    )


def _mean_line(mean: BenchmarkMean) -> _Line:
    return _Line(
        _MEAN,
        display_path(mean.encoder),
        (_percent(mean.accuracy), _area(mean.auc), *map(_percent, mean.tar_at_far), f"{mean.not_enrolled}"),
        (mean.accuracy, mean.auc, *mean.tar_at_far, None),
    )


def _percent(share: float | None) -> str:
    # Two decimals, as in papers: encoders differ by hundredths of a percent.
    return "-" if share is None else f"{100 * share:.2f}"


def _area(auc: float | None) -> str:
    return "-" if auc is None else f"{auc:.4f}"


def _best(lines: Sequence[_Line]) -> set[tuple[int, int]]:
    """Returns the row and column of the best values of each set, if there are several encoders."""
    best = set()
    for name in {line.set for line in lines}:
        rows = [row for row, line in enumerate(lines) if line.set == name]
        for column in range(len(lines[0].values)):
            known = {row: value for row in rows if (value := lines[row].values[column]) is not None}
            if len(known) > 1:
                # Equal texts are equally good.
                texts = {lines[row].texts[column].split(" ")[0] for row in known if known[row] == max(known.values())}
                best |= {(row, column) for row in known if lines[row].texts[column].split(" ")[0] in texts}
    return best


def _plain_table(columns: Sequence[str], lines: Sequence[_Line]) -> str:
    shown = list(range(len(columns)))
    if sys.stdout.isatty():  # Terminals are narrow, so a column without a number is omitted.
        shown = [place for place in shown if any(line.texts[place] != "-" for line in lines)]
    rows = [
        [f"{line.set}  {line.encoder}" if line.set else line.encoder, *(line.texts[place] for place in shown)]
        for line in _aligned(lines)
    ]
    bold = {(row, shown.index(column) + 1) for row, column in _best(lines) if column in shown}
    return table(("set, encoder", *(columns[place] for place in shown)), rows, bold=bold)


def _aligned(lines: Sequence[_Line]) -> Iterator[_Line]:
    """Yields the lines with names of sets of equal width, each only in its first line."""
    width, before = max(len(line.set) for line in lines), None
    for line in lines:
        yield _Line(("" if line.set == before else line.set).ljust(width) or " ", line.encoder, line.texts, line.values)
        before = line.set


def _explain(result: BenchmarkResult) -> Iterator[str]:
    if result.template is not None:
        yield f"Pairs of templates; the pictures of each are combined by {_TEMPLATES[result.template]}."
    elif result.rule == "insightface":
        yield (
            f"Accuracy in percent ± standard deviation over {result.folds} folds, by insightface's rule: folds in file "
            "order, thresholds in steps of 0.01 of the squared distance."
        )
    else:
        over = {cell.spread_over for cell in result.cells} - {None}
        units = {"folds": "over folds", "people": "over people, since folds share people"}
        texts = " or ".join(units[str(unit)] for unit in sorted(map(str, over)))
        yield f"Accuracy in percent, mean of {result.folds} folds ± standard error {texts}."
    for flip in sorted({each.flip for each in result.encoders} - {"none"}):
        kind = "normalized" if flip == "mean" else "unnormalized"
        yield f"Embeddings: {flip} of the {kind} embeddings of a face and its mirror image."
    if result.groups:
        yield "Rows of several runs: mean ± standard deviation over runs."
    yield "TAR@F: true accept rate in percent at a false accept rate of F, if there are enough pairs."
    if result.template is not None:
        yield "No face: pictures without a face, which are missing from their templates."
    else:
        yield "No face: pictures without a face, whose pairs count as wrong."


def _encoder_parts(result: BenchmarkResult) -> Iterator[str]:
    """Yields a table of size and speed, if any is known."""
    if not any(each.parameters or each.faces_per_second for each in result.encoders):
        return
    rows = [
        (
            display_path(each.name),
            f"{each.dim}",
            "-" if each.parameters is None else f"{each.parameters / 1e6:.2f} M",
            "-" if each.training_seconds is None else f"{each.training_seconds / 60:,.1f} min",
            "cached" if each.faces_per_second is None else f"{each.faces_per_second:,.0f}",
        )
        for each in result.encoders
    ]
    yield table(("encoder", "dim", "parameters", "training", "faces/s"), rows)


def _comparison_parts(result: BenchmarkResult) -> Iterator[str]:
    """Yields a table of the best encoder of each set against each other one; --json has every two encoders."""
    if result.groups:
        return  # The deviation over runs says more than comparisons of single runs.
    rows = []
    for each in result.sets:
        cells = [cell for cell in result.cells if cell.set == each.name and cell.accuracy is not None]
        best = max(cells, key=lambda cell: cell.accuracy or 0.0).encoder if cells else ""
        for found in result.comparisons:
            if found.set != each.name or best not in (found.first, found.second):
                continue
            turn = 1 if found.first == best else -1
            ends = sorted((turn * found.low, turn * found.high))
            rows.append(
                (
                    f"{display_path(found.set)}  {display_path(best)}",
                    display_path(found.second if turn == 1 else found.first),
                    f"{100 * turn * found.difference:+.2f}",
                    f"{100 * ends[0]:+.2f} to {100 * ends[1]:+.2f}",
                    _probability(found.p_value),
                )
            )
    if not rows:
        return
    yield table(("set, best encoder", "compared with", "accuracy", "95% interval", "McNemar p"), rows)
    units = " or ".join(sorted({found.resampled for found in result.comparisons}))
    yield wrap_paragraph(
        f"Difference of accuracies in percentage points, with a bootstrap interval over {units}. If the interval "
        "contains 0, the difference may be chance."
    )


def _overlap_parts(result: BenchmarkResult) -> Iterator[str]:
    """Yields a table of the results without the people and pictures that encoders have seen in training."""
    pairs = {each.name: each.pairs for each in result.sets}
    rows = [
        (
            f"{display_path(cell.set)}  {display_path(cell.encoder)}",
            "-" if found.people is None else f"{len(found.people)}",
            "-" if found.pictures is None else f"{found.pictures}",
            f"{pairs[cell.set] - found.pairs}",
            _percent(found.accuracy) + ("" if found.spread is None else f" ± {100 * found.spread:.2f}"),
            _area(found.auc),
        )
        for cell in result.cells
        if (found := cell.overlap) is not None and found.pairs
    ]
    if not rows and any(cell.overlap is not None for cell in result.cells):
        yield "No people or pictures of the sets were found in the training data."
    if rows:
        yield table(("seen in training", "people", "pictures", "pairs left", "accuracy", "AUC"), rows)
        yield wrap_paragraph(
            "Accuracy and AUC on the pairs without people and pictures that the encoder was trained on."
        )


def _group_parts(result: BenchmarkResult) -> Iterator[str]:
    """Yields the error rates of groups, for each set and encoder."""
    for cell in result.cells:
        yield from group_parts(cell.group_reports, f"{display_path(cell.encoder)} on {display_path(cell.set)}")


def _probability(p_value: float) -> str:
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def _markdown_table(columns: Sequence[str], lines: Sequence[_Line]) -> str:
    best = _best(lines)
    rows = [("set", "encoder", *columns), ("---", "---", *["---:"] * len(columns))]
    for row, line in enumerate(lines):
        texts = [_bold(text, "**", "**") if (row, column) in best else text for column, text in enumerate(line.texts)]
        names = (name.replace("|", "\\|") for name in (line.set, line.encoder))
        rows.append((*names, *texts))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _latex_table(columns: Sequence[str], lines: Sequence[_Line]) -> str:
    best = _best(lines)
    rows = [f"\\begin{{tabular}}{{ll{'r' * len(columns)}}}", "\\hline"]
    rows.append(" & ".join(["set", "encoder", *(name.translate(_LATEX) for name in columns)]) + r" \\ \hline")
    for row, line in enumerate(lines):
        texts = [
            _bold(text, "\\textbf{", "}") if (row, column) in best else text for column, text in enumerate(line.texts)
        ]
        names = [name.translate(_LATEX) for name in (line.set, line.encoder)]
        rows.append(" & ".join([*names, *(text.replace("±", r"$\pm$") for text in texts)]) + r" \\")
    return "\n".join([*rows, "\\hline", "\\end{tabular}"])


def _bold(text: str, before: str, after: str) -> str:
    """Makes a value bold, but not its deviation."""
    value, space, error = text.partition(" ")
    return f"{before}{value}{after}{space}{error}"


def _csv_table(result: BenchmarkResult) -> str:
    """All cells in full precision, with a column for each number."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    tars = [f"tar_at_far_{far:g}" for far in result.fars]
    writer.writerow(["set", "encoder", "accuracy", "spread", "spread_over", "auc", *tars, "not_enrolled", "missing"])
    for cell in result.cells:
        known = [cell.accuracy, cell.spread, cell.spread_over, cell.auc, *map(cell.tar, result.fars)]
        counts = ["", ""] if cell.reason else [cell.not_enrolled, cell.missing]
        writer.writerow([cell.set, cell.encoder, *("" if value is None else value for value in known), *counts])
    for mean in result.means:
        known = [mean.accuracy, None, None, mean.auc, *mean.tar_at_far]
        writer.writerow(
            [_MEAN, mean.encoder, *("" if value is None else value for value in known), mean.not_enrolled, ""]
        )
    return file.getvalue().rstrip("\n")
