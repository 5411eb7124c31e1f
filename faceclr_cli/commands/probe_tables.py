"""How well people are told apart, on the screen and in a paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from faceclr_cli.commands.console import paragraph, percent, table
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
_SHARES = ("top1", "top3", "top5", "knn")
_WITH_INTERVAL = ("top1", "jaccard", "f1", "knn")
_MOST_PEOPLE, _MOST_CONFUSIONS, _MOST_COLUMNS = 20, 10, 15
_PROBES = {"linear": "a linear layer on", "knn": "the nearest of", "centroid": "the centroids of"}


def compared(result: LinearEvalResult) -> Iterator[str]:
    """The tables that hold a line for each store, and what they mean."""
    names = {**_MEASURES, "precision": "prec."}
    lines = [[display_path(row.store), *(_value(row, name) for name in names)] for row in result.rows]
    yield table(("embeddings", *names.values()), lines)
    lines = [[display_path(row.store), *(_interval(row, name) for name in _WITH_INTERVAL)] for row in result.rows]
    yield table(("95% intervals", *(names[name] for name in _WITH_INTERVAL)), lines)
    if result.shot_people is not None:
        columns = [count(point.shots, "picture") for point in result.rows[0].shots]
        lines = [[display_path(row.store), *(_spread(point) for point in row.shots)] for row in result.rows]
        yield table((f"top-1 of {result.shot_people:,} people by", *columns), lines)
    yield _explained(result)


def _explained(result: LinearEvalResult) -> str:
    trained = f"{result.people:,} people; {_PROBES[result.probe]} {result.train:,} pictures"
    chosen = {f"{name} = {value:g}" for row in result.rows for name, value in _choice(row)}
    if chosen:
        trained += f" ({', '.join(sorted(chosen))} by {result.val:,} more)"
    return paragraph(
        f"{trained}, measured on {result.test:,} others (chance {percent(result.chance)}). Jaccard, precision, recall "
        "and F1: means over people. Intervals: bootstrap over people. k-NN: nearest neighbor among all "
        f"{result.pictures:,} pictures."
    )


def _choice(row: ProbeRow) -> Iterator[tuple[str, float]]:
    if row.c is not None:
        yield "C", row.c
    if row.k is not None:
        yield "k", row.k


def of_people(row: ProbeRow) -> Iterator[str]:
    """Who was named worst, and the most frequent mistakes."""
    people = sorted(row.per_person, key=lambda person: (person.f1, person.name))
    pictures = sum(person.support for person in people)
    faulty = [person for person in people if person.f1 < 1]
    lines = [_line(display_path(person.name), person, person.support) for person in faulty[:_MOST_PEOPLE]]
    lines.append(_line("(mean)", row, pictures))
    lines.append(_line("(weighted)", row.weighted, pictures))
    yield table(("worst first", "precision", "recall", "F1", "Jaccard", "pictures"), lines)
    if len(faulty) > _MOST_PEOPLE:
        yield f"{len(faulty) - _MOST_PEOPLE:,} more, none of them worse, left out: --json has them all"
    if len(faulty) < len(people):
        yield f"{len(people) - len(faulty):,} of {count(len(people), 'person', 'people')} without a mistake"
    if len(people) <= _MOST_COLUMNS:
        yield _matrix(row)
    wrong = row.confusions
    if not wrong:
        yield "No person was taken for another."
        return
    mistakes = [
        [f"{display_path(mistake.true)} taken for {display_path(mistake.taken_for)}", f"{mistake.times:,}"]
        for mistake in wrong[:_MOST_CONFUSIONS]
    ]
    yield table(("most frequent mistakes", "times"), mistakes)
    if len(wrong) > _MOST_CONFUSIONS:
        yield f"{len(wrong) - _MOST_CONFUSIONS:,} rarer ones left out: --json and --plot have them all"


def _matrix(row: ProbeRow) -> str:
    """The confusion matrix of few people, whose columns have room for their numbers alone."""
    numbers = [str(number) for number in range(1, len(row.per_person) + 1)]
    lines = [
        [f"{number:>2} {display_path(person.name)}", *(str(times) if times else "." for times in line)]
        for number, person, line in zip(numbers, row.per_person, row.matrix.tolist(), strict=True)
    ]
    return table(("pictures of, taken for", *numbers), lines)


def _line(name: str, scores: PersonRow | ProbeRow | Means, pictures: int) -> list[str]:
    numbers = (scores.precision, scores.recall, scores.f1, scores.jaccard)
    return [name, *map(_fraction, numbers), f"{pictures:,}"]


def markdown(result: LinearEvalResult) -> str:
    """One table for a paper, with 95% intervals in brackets."""
    columns = ["embeddings", "encoder", "dim", *_MEASURES.values(), *(f"{n}-shot" for n in _shot_counts(result))]
    lines = [columns, ["---", "---", *["---:"] * (len(columns) - 2)]]
    for row in result.rows:
        cells = [_escaped(row.store), _escaped(row.encoder), str(row.dim)]
        cells += [f"{_value(row, name)} [{_interval(row, name)}]" if _known(row, name) else "-" for name in _MEASURES]
        cells += [_spread(point) for point in row.shots]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def comma_separated(result: LinearEvalResult) -> str:
    """One line for each store, as shares from 0 to 1; empty where nothing could be measured."""
    fields = [field for name in _MEASURES for field in (name, f"{name}_low", f"{name}_high")]
    fields += [f"weighted_{name}" for name in ("precision", "recall", "f1", "jaccard")]
    fields += [f"shots_{n}{what}" for n in _shot_counts(result) for what in ("", "_deviation")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["store", "encoder", "dim", *fields, "c", "k", "probe", "people", "train", "val", "test"])
    for row in result.rows:
        cells: list[object] = [display_path(row.store), display_path(row.encoder), row.dim]
        for name in _MEASURES:
            cells += [getattr(row, name), *row.intervals.get(name, (None, None))]
        cells += [row.weighted.precision, row.weighted.recall, row.weighted.f1, row.weighted.jaccard]
        cells += [number for point in row.shots for number in (point.top1, point.deviation)]
        writer.writerow([*cells, row.c, row.k, result.probe, result.people, result.train, result.val, result.test])
    return text.getvalue().removesuffix("\n")


def _shot_counts(result: LinearEvalResult) -> list[int]:
    return [point.shots for point in result.rows[0].shots]


def _known(row: ProbeRow, name: str) -> bool:
    return getattr(row, name) is not None


def _value(row: ProbeRow, name: str) -> str:
    return percent(getattr(row, name)) if name in _SHARES else _fraction(getattr(row, name))


def _interval(row: ProbeRow, name: str) -> str:
    """`94.1-97.8%`, `0.912-0.954`."""
    low, high = row.intervals[name]
    return f"{100 * low:.1f}-{100 * high:.1f}%" if name in _SHARES else f"{low:.3f}-{high:.3f}"


def _spread(point: Shots) -> str:
    """`98.5 ± 1.4%`."""
    return f"{100 * point.top1:.1f} ± {percent(point.deviation)}"


def _fraction(value: float) -> str:
    return f"{value:.3f}"


def _escaped(text: str) -> str:
    return display_path(text).replace("|", "\\|")
