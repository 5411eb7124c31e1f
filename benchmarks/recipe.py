"""Accuracy on LFW's View 1 of each training method with the same time budget.

    python benchmarks/recipe.py LFW FACES... -o runs --budget 20m
    python benchmarks/recipe.py LFW FACES... -o runs --budget 60m --only distilled --seeds 0 1 2
    python benchmarks/recipe.py LFW FACES... -o runs --budget 25m --only histograms distilled-histograms
    python benchmarks/recipe.py LFW FACES... -o runs --budget 10m --named FACES \
        --only simclr-faces center center-init triplet-init listed-init

LFW is a folder with images/, pairsDevTrain.txt and pairsDevTest.txt; FACES are folders of prepared faces. Training
without labels, and distillation, whose teacher `sface` was trained with labels of other faces, see no names: all crops
are first linked into one folder without names, so that names do not select the epoch either. With --named,
train-center and train-triplet train on a labeled folder; the recipes with -init start from the self-supervised
encoder. The accuracy is measured on the pairs of pairsDevTest at the best threshold on those of pairsDevTrain, which
show other people; a pair with a picture without a face counts as wrong. Existing runs in the output folder are not
repeated. The recipe histograms takes no steps, and no budget. With --epochs, the runs are compared after equal numbers
of pictures instead of equal times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs.pair_files import read_pairs
from faceclr_cli.core.embeddings.store import Store, read_store
from faceclr_cli.core.metrics.all_pairs import measure_all_pairs
from faceclr_cli.core.metrics.roc import auc, best_threshold, cosine_scores

RESAMPLES = 1000
_ROUNDS = ["--method", "simclr", "--augment", "heads", "--rounds", "3", "--whiten", "0.35"]
RECIPES = {
    "histograms": ["--method", "histograms"],
    "untrained": ["--method", "simclr", "--epochs", "0"],
    "simclr-faces": ["--method", "simclr", "--augment", "faces"],
    "simclr-simclr": ["--method", "simclr", "--augment", "simclr"],
    "simclr-heads": ["--method", "simclr", "--augment", "heads"],
    "moco-faces": ["--method", "moco"],
    "moco-simclr": ["--method", "moco", "--augment", "simclr"],
    "heads-112": ["--method", "simclr", "--augment", "heads", "--image-size", "112"],
    "whitened": ["--method", "simclr", "--whiten", "0.25"],
    "rounds": _ROUNDS,
    "rounds-pairs": [*_ROUNDS, "--positives", "clusters"],
}
"""Options of `faceclr pretrain` that differ from its defaults."""

DISTILLED: dict[str, list[str]] = {
    "distilled": [],
    "distilled-40": ["--image-size", "40"],
    "distilled-56": ["--image-size", "56"],
    "distilled-64": ["--image-size", "64"],
    "distilled-resnet": ["--backbone", "resnet10t", "--image-size", "64"],
    "distilled-views": ["--teacher-views"],
    # The teacher is the encoder of "histograms".
    "distilled-histograms": ["--backbone", "resnet10t", "--image-size", "64"],
}
"""Options of `faceclr distill` that differ from its defaults."""

NAMED = {
    "center": ["train-center"],
    "center-init": ["train-center"],
    "triplet-init": ["train-triplet"],
    "listed-init": ["train-triplet", "--mining", "random-then-hard"],
}
"""Commands that need labels."""


def faceclr(*arguments: str | Path | float) -> None:
    """Runs a command of faceclr with its progress on the terminal."""
    command = [sys.executable, "-m", "faceclr_cli", *map(str, arguments)]
    print("$ faceclr", *map(str, arguments), flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def nameless(faces: Path, out: Path) -> Path:
    """Creates a folder with the same crops without names."""
    folder = out / f"{faces.resolve().name}-nameless"
    if not folder.exists():
        (folder / "_").mkdir(parents=True)
        for number, path in enumerate(sorted(faces.glob("*/*.*g"))):
            os.link(path, folder / "_" / f"{number:07d}{path.suffix}")
        shutil.copy(faces / "faceclr.json", folder)
    return folder


def listed(store: Store, file: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Returns the similarities and labels of the listed pairs, and the number of pairs that could not be compared."""
    rows = {Path(path).with_suffix("").as_posix(): row for row, path in enumerate(store.paths)}

    def row_of(name: str) -> int | None:
        return rows.get(Path(name).with_suffix("").as_posix())

    pairs = read_pairs(file)
    found = [(row_of(pair.a), row_of(pair.b), bool(pair.same)) for pair in pairs]
    there = [(a, b, same) for a, b, same in found if a is not None and b is not None]
    left, right = (store.embeddings[[pair[side] for pair in there]] for side in (0, 1))
    same = np.array([same for _, _, same in there])
    return cosine_scores(left, right), same, len(pairs) - len(there)


def measure(store: Path, lfw: Path) -> dict[str, Any]:
    """Returns the accuracy, AUC and TAR of an encoder.

    Accuracy and AUC are those of pairsDevTest, with 95% bootstrap intervals over pairs. TAR is at a FAR of 0.001 over
    all pairs of pictures.
    """
    embeddings = read_store(store)
    train, train_same, _ = listed(embeddings, lfw / "pairsDevTrain.txt")
    test, same, missing = listed(embeddings, lfw / "pairsDevTest.txt")
    right = (test >= best_threshold(train, train_same)) == same
    generator, drawn = np.random.default_rng(0), []
    kinds = np.flatnonzero(same), np.flatnonzero(~same)
    for _ in range(RESAMPLES):
        rows = np.concatenate([generator.choice(kind, len(kind)) for kind in kinds])
        drawn.append((right[rows].sum() / (len(test) + missing), auc(test[rows], same[rows])))
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    people = np.unique([Path(path).parent.name for path in embeddings.paths], return_inverse=True)[1]
    (point,) = measure_all_pairs(embeddings.embeddings, people, (1e-3,)).points
    return {
        "accuracy": right.sum() / (len(test) + missing),
        "accuracy_interval": [low[0], high[0]],
        "auc": auc(test, same),
        "auc_interval": [low[1], high[1]],
        "tar": point.tar,
    }


def train(name: str, seed: int, run: Path, faces: list[Path], options: argparse.Namespace) -> None:
    """Trains by a recipe, or continues a run that was stopped."""
    length = ["--time-budget", options.budget] if options.epochs is None else ["--epochs", str(options.epochs)]
    length = [] if name in ("histograms", "untrained") else length  # They take no steps.
    common = ["-o", run, "--resume", "auto", "--seed", str(seed), *length, *options.train]
    if name in NAMED:
        init = ["--init", options.out / f"simclr-faces-{seed}"] if name.endswith("-init") else []
        faceclr(*NAMED[name], options.named, *common, *init)
    elif name in DISTILLED:
        teacher = ["--teacher", options.out / f"histograms-{seed}"] if name == "distilled-histograms" else []
        faceclr("distill", *faces, *common, *teacher, *DISTILLED[name])
    else:
        faceclr("pretrain", *faces, *common, *RECIPES[name])


def main() -> None:
    """Trains missing encoders, measures all, and prints a table."""
    parser = argparse.ArgumentParser(description="How far each recipe of training gets")
    parser.add_argument("lfw", type=Path, help="folder with images/, pairsDevTrain.txt and pairsDevTest.txt")
    parser.add_argument("faces", type=Path, nargs="+", help="folders of prepared training faces")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for runs and embeddings")
    parser.add_argument("--budget", default="20m", help="time for each run (default: 20m)")
    parser.add_argument(
        "--only",
        nargs="*",
        default=list(RECIPES),
        choices=[*RECIPES, *DISTILLED, *NAMED],
        help="recipes to run (default: all of pretrain)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of the runs (default: 0)")
    parser.add_argument("--epochs", type=int, help="length of each run in epochs instead of time")
    parser.add_argument("--train", nargs=argparse.REMAINDER, default=[], help="further options of all trainers, last")
    parser.add_argument("--named", type=Path, help="labeled prepared faces, for center and triplet")
    options = parser.parse_args()
    if options.named is None and set(options.only) & set(NAMED):
        parser.error(f"{', '.join(NAMED)} need --named FACES")
    options.out.mkdir(parents=True, exist_ok=True)
    crops, faces = options.out / "lfw-faces", [nameless(folder, options.out) for folder in options.faces]
    if not (crops / "faceclr.json").exists():
        faceclr("prepare", options.lfw / "images", "-o", crops, "--quiet")
    models = {"pixels": ["pixels"]}
    for name in options.only:
        runs = {seed: options.out / f"{name}-{seed}" for seed in options.seeds}
        for seed, run in runs.items():
            if not (run / "encoder").exists():
                train(name, seed, run, faces, options)
        models[name] = [str(run) for run in runs.values()]
    print(f"\n{'':16}  accuracy  AUC  TAR at FAR 0.001 (interval, or deviation of seeds)   with mirrored faces")
    for name, runs_of in models.items():
        line = ""
        for flip in ((), ("--flip",)):
            found = [measure(embedded(crops, Path(run).name, run, options.out, *flip), options.lfw) for run in runs_of]
            line += "".join(f"  {_mean(found, figure)}" for figure in ("accuracy", "auc", "tar")) + "  "
            record = {"model": name, "mirrored": bool(flip), "runs": found}
            print(json.dumps(record), file=sys.stderr)
        print(f"{name:16}{line.rstrip()}", flush=True)


def _mean(runs: list[dict[str, Any]], figure: str) -> str:
    """Formats the mean of a figure with the standard deviation over seeds, or the interval of the only seed."""
    figures = [run[figure] for run in runs]
    if len(runs) > 1:
        return f"{mean(figures):.3f} ({stdev(figures):.3f})"
    low, high = runs[0].get(f"{figure}_interval", (None, None))
    return f"{figures[0]:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


def embedded(crops: Path, name: str, model: str, out: Path, *options: str) -> Path:
    """Returns the store of an encoder's embeddings, and creates it if it does not exist."""
    store = out / f"{name}{'-mirrored' if options else ''}.h5"
    if not store.exists():
        faceclr("embed", crops, "--model", model, "-o", store, "--quiet", *options)
    return store


if __name__ == "__main__":
    main()
