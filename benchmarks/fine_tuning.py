"""The gain from fine-tuning the built-in encoder, and its cost on all other people.

    python benchmarks/fine_tuning.py FACES STRANGERS -o runs --people 5 20 100 --pictures 5 20
    python benchmarks/fine_tuning.py FACES STRANGERS -o runs --people 0 --pictures 0 --others OTHERS --seeds 0 1 2

FACES is a folder of labeled prepared faces, STRANGERS one of other people. OTHERS are further people of the same
source as FACES; without them, 60 people of FACES are kept out of training (--held-out). For each number of people and
pictures (0: all) and each recipe, the encoder is trained, and TAR at FAR 0.001 over all pairs of the other people and
of the strangers is compared with that of the encoder before: the paired difference, with a 95% interval by bootstrap
over people. Nothing is held out in training, so the last epoch counts. Runs in the output folder are not repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.training.trainers import train_center
from faceclr_cli.core.training.training_sets import open_face_folders
from faceclr_cli.core.workers.process import claim_process

FAR = 1e-3
ROUNDS = 300
ADAMW: dict[str, Any] = {"optimizer": "adamw", "batch_size": 64, "center_weight": 0.0}
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "all": {**ADAMW, "lr": 1e-4},
    "all-gentle": {**ADAMW, "lr": 1e-5},
    "all-decay": {**ADAMW, "lr": 1e-4, "layer_decay": 0.9},
    "last": {**ADAMW, "tune": "last", "lr": 1e-3},
    "lora": {**ADAMW, "tune": "lora", "lr": 1e-3},
}
_BATCH = 256


class Faces(NamedTuple):
    """Crops, shape (N, S, S, 3), and the number of each one's person, shape (N,)."""

    crops: NDArray[np.uint8]
    people: NDArray[np.int64]


class Change(NamedTuple):
    """TAR before, the difference after, and its interval."""

    before: float
    difference: float
    low: float
    high: float


def select(faces: Path, out: Path, people: Sequence[str], pictures: int | None) -> Path:
    """Links the first pictures of people into a folder of prepared faces of its own."""
    if not out.exists():
        for person in people:
            (out / person).mkdir(parents=True)
            for path in sorted((faces / person).iterdir())[:pictures]:
                os.link(path, out / person / path.name)
        shutil.copy(faces / DESCRIPTION, out / DESCRIPTION)
    return out


def read_faces(folder: Path) -> Faces:
    """Reads all faces of a folder."""
    faces = open_face_folders([folder], Silent())
    return Faces(faces.crops(np.arange(len(faces))), faces.labels)


def embed(model: str, faces: Faces, device: str) -> NDArray[np.float32]:
    """Embeds faces. Shape: (N, D), of length 1."""
    encoder = load_encoder(model, device)
    blocks = range(0, len(faces.crops), _BATCH)
    return np.concatenate([encoder.embed(faces.crops[start : start + _BATCH]) for start in blocks])


def compare(before: NDArray[np.float32], after: NDArray[np.float32], people: NDArray[np.int64]) -> Change:
    """Compares the TAR at FAR of two encoders; a resample counts a pair as often as both people are drawn."""
    left, right = np.triu_indices(len(people), 1)
    genuine = people[left] == people[right]
    scores = [(rows @ rows.T)[left, right] for rows in (before, after)]
    # Impostor pairs far below any threshold do not matter, and are most of them.
    kept = genuine | (np.maximum(*scores) > min(np.quantile(each[~genuine], 0.97) for each in scores))
    count = int(people.max()) + 1
    left, right, genuine = people[left], people[right], genuine[kept]
    impostors = np.bincount(left[~kept] * count + right[~kept], minlength=count**2).reshape(count, count)
    left, right = left[kept], right[kept]
    orders = [np.argsort(-each[kept], kind="stable") for each in scores]
    rng = np.random.default_rng(0)
    found = []
    for number in range(ROUNDS + 1):
        drawn = np.ones(count) if number == 0 else np.bincount(rng.integers(0, count, count), minlength=count)
        weights = np.where(genuine, drawn[left], drawn[left] * drawn[right]).astype(float)
        rest = float(drawn @ impostors @ drawn)
        found.append([_tar(genuine[order], weights[order], rest) for order in orders])
    (base, changed), *resampled = found
    low, high = np.quantile([pair[1] - pair[0] for pair in resampled], [0.025, 0.975])
    return Change(base, changed - base, float(low), float(high))


def _tar(genuine: NDArray[np.bool_], weights: NDArray[np.float64], rest: float) -> float:
    """Returns the weighted share of genuine pairs that are accepted if the share FAR of impostor pairs is accepted.

    Args:
        genuine: True for genuine pairs, in order of decreasing score.
        weights: The weight of each pair.
        rest: The weight of impostor pairs with lower scores.
    """
    accepted = np.cumsum(np.where(genuine, 0.0, weights))
    last = int(np.searchsorted(accepted, FAR * (accepted[-1] + rest), side="right"))
    return float(weights[:last][genuine[:last]].sum() / weights[genuine].sum())


def fine_tune(faces: Path, run: Path, options: argparse.Namespace, recipe: str, seed: int) -> None:
    """Trains by a recipe, unless the run exists."""
    if (run / "encoder" / "encoder.json").exists():
        return
    common: dict[str, Any] = {"precision": options.precision, "device": options.device, "seed": seed}
    if options.epochs is not None:
        common["epochs"] = options.epochs
    config = CenterConfig(data=(faces,), out=run, init=options.model, hold_out=0.0, **common, **RECIPES[recipe])
    train_center(config, Silent())


def main() -> None:
    """Trains missing encoders, compares all, and prints a table."""
    claim_process()  # as the commands do, whose memory allocator is faster
    parser = argparse.ArgumentParser(description="The effect of fine-tuning on other people")
    parser.add_argument("faces", type=Path, help="folder of labeled prepared faces")
    parser.add_argument("strangers", type=Path, help="folder of prepared faces of other people")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for runs")
    parser.add_argument("--others", type=Path, help="prepared faces of further people of the same source")
    parser.add_argument("--model", default="sface", help="encoder to fine-tune (default: sface)")
    parser.add_argument("--people", type=int, nargs="+", default=[5, 20, 100], help="numbers of people; 0: all")
    parser.add_argument("--pictures", type=int, nargs="+", default=[5, 20], help="numbers of pictures of each; 0: all")
    parser.add_argument("--held-out", type=int, default=60, help="people to keep out of training (default: 60)")
    parser.add_argument("--epochs", type=int, help="epochs of each run (default: that of train-center)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds (default: 0)")
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=RECIPES, help="recipes (default: all)")
    parser.add_argument("--precision", default="auto", help="precision of training (default: auto)")
    parser.add_argument("--device", default="auto", help="device (default: auto)")
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    everyone = sorted(
        (path.name for path in options.faces.iterdir() if path.is_dir()),
        key=lambda name: hashlib.sha256(name.encode()).digest(),
    )
    others = options.others
    if others is None:
        others = select(options.faces, out / "held-out", everyone[: options.held_out], 20)
        everyone = everyone[options.held_out :]
    tests = {"others": read_faces(others), "strangers": read_faces(options.strangers)}
    before = {name: embed(options.model, faces, options.device) for name, faces in tests.items()}
    print(f"{'people x pictures':18} {'recipe':12}" + "".join(f"{name:>14}  {'change (95%)':26}" for name in tests))
    for people in options.people:
        for pictures in options.pictures:
            size = f"{people or len(everyone)} x {pictures or 'all'}"
            chosen = everyone[: people or None]
            faces = select(options.faces, out / f"faces-{size.replace(' ', '')}", chosen, pictures or None)
            for recipe in options.only:
                for seed in options.seeds:
                    run = out / f"run-{size.replace(' ', '')}-{recipe}-{seed}"
                    fine_tune(faces, run, options, recipe, seed)
                    changes = {
                        name: compare(before[name], embed(str(run), test, options.device), test.people)
                        for name, test in tests.items()
                    }
                    print(
                        f"{size:18} {recipe:12}"
                        + "".join(
                            f"{each.before:14.2%}  {each.difference:+.2%} ({each.low:+.2%}, {each.high:+.2%})   "
                            for each in changes.values()
                        ).rstrip(),
                        flush=True,
                    )
                    record = {name: each._asdict() for name, each in changes.items()}
                    print(json.dumps({"size": size, "recipe": recipe, "seed": seed, **record}), file=sys.stderr)


if __name__ == "__main__":
    main()
