"""Output of `faceclr linear-eval`: tables for the terminal, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from faceclr_cli.commands.console import format_percent, table, wrap_paragraph
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.probing.few_shot import Shots
    from faceclr_cli.core.evaluation.probing.linear_eval import LinearEvalResult
    from faceclr_cli.core.evaluation.probing.probe_scores import Means, PersonRow, ProbeRow

_MEASURES = {
    "top1": "top-1",
    "top3": "top-3",
    "top5": "top-5",
    "jaccard": "Jaccard",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "knn": "k-NN",
}
_VERIFICATION = {"auc": "AUC", "eer": "EER", "tar_at_far_0.01": "TAR@0.01", "tar_at_far_0.001": "TAR@0.001"}
_PERCENTAGES = ("top1", "top3", "top5", "knn")
_WITH_INTERVAL = ("top1", "jaccard", "f1", "knn")
_MAX_PEOPLE, _MAX_CONFUSIONS, _MAX_COLUMNS = 20, 10, 15
_PROBES = {"linear": "linear layer trained on", "knn": "nearest neighbors among", "centroid": "centroids of"}


def comparison_tables(result: LinearEvalResult) -> Iterator[str]:
    """Yields the tables with a line for each store, and their explanation."""
    names = {**_MEASURES, "precision": "prec."}
    lines = [[display_path(row.store), *(_value(row, name) for name in names)] for row in result.rows]
    yield table(("embeddings", *names.values()), lines)
    lines = [[display_path(row.store), *(_interval(row, name) for name in _WITH_INTERVAL)] for row in result.rows]
    yield table(("95% intervals", *(names[name] for name in _WITH_INTERVAL)), lines)
    columns = list(_VERIFICATION.values())
    lines = [[display_path(row.store), *(_verified(row, name) for name in _VERIFICATION)] for row in result.rows]
    yield table(("verification", *columns), lines)
    if result.shot_people is not None:
        columns = [count(point.shots, "picture") for point in result.rows[0].shots]
        lines = [[display_path(row.store), *(_mean_and_deviation(point) for point in row.shots)] for row in result.rows]
        yield table((f"top-1 of {result.shot_people:,} people by", *columns), lines)
    yield _explanation(result)


def _explanation(result: LinearEvalResult) -> str:
    trained = f"{result.people:,} people; {_PROBES[result.probe]} {result.train:,} pictures"
    chosen = {f"{name} = {value:g}" for row in result.rows for name, value in _hyperparameters(row)}
    if chosen:
        trained += f" ({', '.join(sorted(chosen))} chosen on {result.val:,} others)"
    return wrap_paragraph(
        f"{trained}, tested on {result.test:,} others (chance {format_percent(result.chance)}). Jaccard, precision, "
        "recall and F1: means over people. Intervals: bootstrap over people. k-NN: nearest neighbor among all "
        f"{result.pictures:,} pictures. Verification: all pairs of test pictures."
    )


def _verification(row: ProbeRow) -> dict[str, float | None]:
    """Returns the verification metrics by the keys of `_VERIFICATION`."""
    found = row.verification
    values = [None] * len(_VERIFICATION) if found is None else [found.auc, found.eer, *found.tar_at_far]
    return dict(zip(_VERIFICATION, values, strict=True))


def _verified(row: ProbeRow, name: str) -> str:
    value = _verification(row)[name]
    return f"{value:.4f}" if name == "auc" and value is not None else format_percent(value)


def _hyperparameters(row: ProbeRow) -> Iterator[tuple[str, float]]:
    if row.c is not None:
        yield "C", row.c
    if row.k is not None:
        yield "k", row.k


def person_tables(row: ProbeRow) -> Iterator[str]:
    """Yields the people with the lowest scores, and the most frequent confusions."""
    people = sorted(row.per_person, key=lambda person: (person.f1, person.name))
    pictures = sum(person.support for person in people)
    imperfect = [person for person in people if person.f1 < 1]
    lines = [_line(display_path(person.name), person, person.support) for person in imperfect[:_MAX_PEOPLE]]
    lines.append(_line("(mean)", row, pictures))
    lines.append(_line("(weighted)", row.weighted, pictures))
    yield table(("worst first", "precision", "recall", "F1", "Jaccard", "pictures"), lines)
    if len(imperfect) > _MAX_PEOPLE:
        yield f"{len(imperfect) - _MAX_PEOPLE:,} more with higher scores; --json lists all"
    if len(imperfect) < len(people):
        yield f"{len(people) - len(imperfect):,} of {count(len(people), 'person', 'people')} without an error"
    if len(people) <= _MAX_COLUMNS:
        yield _matrix(row)
    confusions = row.confusions
    if not confusions:
        yield "No confusions."
        return
    lines = [
        [f"{display_path(mistake.true)} mistaken for {display_path(mistake.taken_for)}", f"{mistake.times:,}"]
        for mistake in confusions[:_MAX_CONFUSIONS]
    ]
    yield table(("most frequent confusions", "times"), lines)
    if len(confusions) > _MAX_CONFUSIONS:
        yield f"{len(confusions) - _MAX_CONFUSIONS:,} less frequent ones; --json and --plot show all"


def _matrix(row: ProbeRow) -> str:
    """Formats the confusion matrix of a few people. The columns are labeled by number to save space."""
    numbers = [str(number) for number in range(1, len(row.per_person) + 1)]
    lines = [
        [f"{number:>2} {display_path(person.name)}", *(str(times) if times else "." for times in line)]
        for number, person, line in zip(numbers, row.per_person, row.matrix.tolist(), strict=True)
    ]
    return table(("true person / predicted", *numbers), lines)


def _line(name: str, scores: PersonRow | ProbeRow | Means, pictures: int) -> list[str]:
    numbers = (scores.precision, scores.recall, scores.f1, scores.jaccard)
    return [name, *map(_fraction, numbers), f"{pictures:,}"]


def markdown_table(result: LinearEvalResult) -> str:
    """Formats a Markdown table with 95% intervals in brackets."""
    columns = ["embeddings", "encoder", "dim", *_MEASURES.values(), *_VERIFICATION.values()]
    columns += [f"{n}-shot" for n in _shot_counts(result)]
    lines = [columns, ["---", "---", *["---:"] * (len(columns) - 2)]]
    for row in result.rows:
        cells = [_escaped(row.store), _escaped(row.encoder), str(row.dim)]
        cells += [f"{_value(row, name)} [{_interval(row, name)}]" if _known(row, name) else "-" for name in _MEASURES]
        cells += [_verified(row, name) for name in _VERIFICATION]
        cells += [_mean_and_deviation(point) for point in row.shots]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def csv_table(result: LinearEvalResult) -> str:
    """Formats a CSV line for each store. Shares are from 0 to 1; cells without a value are empty."""
    fields = [field for name in _MEASURES for field in (name, f"{name}_low", f"{name}_high")]
    fields += list(_VERIFICATION)
    fields += [f"weighted_{name}" for name in ("precision", "recall", "f1", "jaccard")]
    fields += [f"shots_{n}{what}" for n in _shot_counts(result) for what in ("", "_deviation")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["store", "encoder", "dim", *fields, "c", "k", "probe", "people", "train", "val", "test"])
    for row in result.rows:
        cells: list[object] = [display_path(row.store), display_path(row.encoder), row.dim]
        for name in _MEASURES:
            cells += [getattr(row, name), *row.intervals.get(name, (None, None))]
        cells += list(_verification(row).values())
        cells += [row.weighted.precision, row.weighted.recall, row.weighted.f1, row.weighted.jaccard]
        cells += [number for point in row.shots for number in (point.top1, point.deviation)]
        writer.writerow([*cells, row.c, row.k, result.probe, result.people, result.train, result.val, result.test])
    return text.getvalue().removesuffix("\n")


def _shot_counts(result: LinearEvalResult) -> list[int]:
    return [point.shots for point in result.rows[0].shots]


def _known(row: ProbeRow, name: str) -> bool:
    return getattr(row, name) is not None


def _value(row: ProbeRow, name: str) -> str:
    return format_percent(getattr(row, name)) if name in _PERCENTAGES else _fraction(getattr(row, name))


def _interval(row: ProbeRow, name: str) -> str:
    """`94.1-97.8%`, `0.912-0.954`."""
    low, high = row.intervals[name]
    return f"{100 * low:.1f}-{100 * high:.1f}%" if name in _PERCENTAGES else f"{low:.3f}-{high:.3f}"


def _mean_and_deviation(point: Shots) -> str:
    """`98.5 ± 1.4%`."""
    return f"{100 * point.top1:.1f} ± {format_percent(point.deviation)}"


def _fraction(value: float) -> str:
    return f"{value:.3f}"


def _escaped(text: str) -> str:
    return display_path(text).replace("|", "\\|")
