"""Helpers for tests of `faceclr benchmark`: pairs, a benchmark, and the figures in its result."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.evaluation.benchmark.benchmark import benchmark
from faceclr_cli.core.evaluation.benchmark.benchmark_result import BenchmarkCell, BenchmarkResult
from faceclr_cli.core.events import Silent

PEOPLE, EACH = 9, 4


def write_pairs(path: Path, folder: Path) -> None:
    """All genuine pairs, and as many impostor pairs in mixed order."""
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.jpg"))
    every = list(combinations(names, 2))
    same = [(a, b, 1) for a, b in every if a.split("/")[0] == b.split("/")[0]]
    others = [(a, b, 0) for a, b in every if a.split("/")[0] != b.split("/")[0]]
    chosen = np.random.default_rng(0).permutation(len(others))[: len(same)]
    rows = [*same, *(others[number] for number in chosen)]
    order = np.random.default_rng(1).permutation(len(rows))
    path.write_text("a,b,same\n" + "".join("{},{},{}\n".format(*rows[number]) for number in order))


def measure(*sets: Path, model: tuple[str, ...] = ("pixels",), **options: object) -> BenchmarkResult:
    return benchmark(BenchmarkConfig(sets=sets, model=model, **options), Silent())  # type: ignore[arg-type]


def figures(cell: BenchmarkCell) -> tuple:
    tars = tuple((point.tar, point.threshold) for point in cell.tar_at_far)
    return cell.accuracy, cell.fold_accuracies, cell.fold_thresholds, cell.auc, cell.eer, tars, cell.missing


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["benchmark", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout
