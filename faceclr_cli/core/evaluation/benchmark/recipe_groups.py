"""Runs of one recipe with different seeds: their grouping, and means over them."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from faceclr_cli.core.encoders.description import DESCRIPTION, WEIGHTS, Description, read_description
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.evaluation.benchmark.benchmark_result import BenchmarkCell, BenchmarkMean, GroupCell, RecipeGroup

_IGNORED = ("seed", "out", "resume", "elastic")
"""Options that do not belong to a recipe."""

_HISTORY = "history.csv"
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_ALL_SETS = "mean"


def expand_models(models: Sequence[str]) -> list[tuple[str, str | None]]:
    """Replaces patterns such as `runs/resnet18-*` by the runs and encoders that they match.

    Returns:
        Each encoder with its pattern, or None. An encoder that is given twice is returned once.

    Raises:
        ModelError: A pattern matches nothing.
    """
    found = dict[str, str | None]()
    for model in models:
        if not glob.has_magic(model) or Path(model).exists():
            found.setdefault(model, None)
            continue
        every = sorted(glob.glob(model))  # noqa: PTH207 - Path.glob takes no absolute patterns
        matches = [path for path in every if _is_encoder(Path(path))]
        if not matches:
            raise ModelError(f"--model {model}: matches no run, encoder folder or .onnx file")
        for path in matches:
            found.setdefault(path, model)
    return list(found.items())


def _is_encoder(path: Path) -> bool:
    return path.suffix == ".onnx" or any((path / place / DESCRIPTION).is_file() for place in ("", "encoder"))


def describe_run(model: str) -> Description | None:
    """Returns the description of a run or encoder folder; None for other encoders.

    Raises:
        ModelError: The description is damaged.
    """
    return read_description(Path(model)) if Path(model).is_dir() else None


def count_parameters(description: Description) -> int | None:
    """Counts the weights of an encoder folder, without the statistics of batch norm; None if they cannot be read."""
    try:
        with safe_open(description.folder / WEIGHTS, "np") as file:
            names = [name for name in file.keys() if not name.endswith(_BUFFERS)]  # noqa: SIM118
            return sum(int(np.prod(file.get_slice(name).get_shape())) for name in names)
    except (OSError, SafetensorError):
        return None


def training_seconds(description: Description) -> float | None:
    """Returns the time of all epochs of a run without validation; None if it was not recorded."""
    try:
        with open(description.folder.parent / _HISTORY, newline="", encoding="utf-8") as file:
            return sum(float(row["seconds"]) for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_recipes(
    patterns: Mapping[str, str | None], descriptions: Mapping[str, Description | None], *, by_seed: bool
) -> dict[str, list[str]]:
    """Groups encoders by pattern, and if `by_seed` by their options without the seed.

    Args:
        patterns: The pattern of each encoder, or None.
        descriptions: The description of each encoder, or None.
        by_seed: Also group encoders without a pattern.

    Returns:
        The names of the encoders in each group, by name of the group: the pattern, the common beginning of the names
        if no other encoder has it, or all names.
    """
    groups, recipes = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for name, pattern in patterns.items():
        about = descriptions[name]
        if pattern is not None:
            groups[pattern].append(name)
        elif by_seed and about is not None:
            options = {key: value for key, value in about.card.config.items() if key not in _IGNORED}
            recipes[json.dumps([about.card.command, options], sort_keys=True, default=str)].append(name)
    several = [names for names in recipes.values() if len(names) > 1]
    for names in several:
        start = os.path.commonprefix(names)  # noqa: RUF071 - names, not paths
        is_clear = all(name in names for name in patterns if name.startswith(start))
        groups[f"{start}*" if is_clear else ", ".join(names)] += names
    return dict(groups)


def measure_group(
    name: str,
    encoders: Sequence[str],
    cells: Sequence[BenchmarkCell],
    means: Sequence[BenchmarkMean],
    fars: Sequence[float],
) -> RecipeGroup:
    """Computes means and standard deviations over the runs of a recipe.

    Args:
        name: Name of the group.
        encoders: Names of its encoders.
        cells: The cells of all encoders.
        means: The means of all encoders over all sets; empty for a single set.
        fars: The false accept rates.
    """
    found = list[GroupCell]()
    for each in dict.fromkeys(cell.set for cell in cells):
        own = [cell for cell in cells if cell.set == each and cell.encoder in encoders]
        tars = [[cell.tar(far) for cell in own] for far in fars]
        found.append(_summarize(each, [cell.accuracy for cell in own], [cell.auc for cell in own], tars))
    overall = [mean for mean in means if mean.encoder in encoders]
    if overall:
        tars = [[mean.tar_at_far[place] for mean in overall] for place in range(len(fars))]
        found.append(_summarize(_ALL_SETS, [mean.accuracy for mean in overall], [mean.auc for mean in overall], tars))
    return RecipeGroup(name=name, encoders=tuple(encoders), cells=tuple(found))


def _summarize(
    name: str, accuracies: Sequence[float | None], aucs: Sequence[float | None], tars: Sequence[Sequence[float | None]]
) -> GroupCell:
    (accuracy, accuracy_deviation), (auc, auc_deviation) = _mean_and_deviation(accuracies), _mean_and_deviation(aucs)
    return GroupCell(
        set=name,
        accuracy=accuracy,
        accuracy_deviation=accuracy_deviation,
        auc=auc,
        auc_deviation=auc_deviation,
        tar_at_far=tuple(_mean_and_deviation(each)[0] for each in tars),
    )


def _mean_and_deviation(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None
