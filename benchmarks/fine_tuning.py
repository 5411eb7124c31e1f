"""What fine-tuning the built-in encoder on few people gives, and what it costs on everyone else.

    python benchmarks/fine_tuning.py FACES STRANGERS -o runs --people 5 20 100 --pictures 5 20

FACES is a folder of labeled prepared faces, STRANGERS one of other people. Of FACES, 60 people are kept out of training
(--held-out). For each number of people and pictures and each recipe, the encoder is trained, and TAR at FAR 0.001 over
all pairs of the held-out people and of the strangers is compared with that of the encoder before: the paired
difference, with a 95% interval by bootstrap over people. Existing runs in the output folder are not repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recipe import faceclr

from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.faces.face_folder import DESCRIPTION

FAR = 1e-3
ROUNDS = 300
RECIPES = {
    "all": ("--tune", "all", "--lr", "1e-4"),
    "all-gentle": ("--tune", "all", "--lr", "1e-5"),
    "all-decay": ("--tune", "all", "--lr", "1e-4", "--layer-decay", "0.9"),
    "last": ("--tune", "last", "--lr", "1e-3"),
    "lora": ("--tune", "lora", "--lr", "1e-3"),
}
COMMON = ("--optimizer", "adamw", "--batch-size", "64", "--hold-out", "0", "--center-weight", "0", "--quiet")


def select(faces: Path, out: Path, people: Sequence[str], pictures: int | None) -> Path:
    """Links the first pictures of people into a folder of prepared faces of its own."""
    if not out.exists():
        for person in people:
            (out / person).mkdir(parents=True)
            for path in sorted((faces / person).iterdir())[:pictures]:
                os.link(path, out / person / path.name)
        shutil.copy(faces / DESCRIPTION, out / DESCRIPTION)
    return out


def embedded(faces: Path, model: str, out: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embeds faces once. Returns the embeddings and the number of each one's person."""
    if not out.exists():
        faceclr("embed", faces, "--model", model, "-o", out, "--quiet")
    store = read_store(out)
    return store.embeddings, np.unique([str(name) for name in store.identities], return_inverse=True)[1]


def tar(scores: NDArray[np.float32], genuine: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """The weighted share of genuine pairs that are accepted if the share FAR of impostor pairs is."""
    order = np.argsort(-scores, kind="stable")
    scores, genuine, weights = scores[order], genuine[order], weights[order]
    accepted = np.cumsum(np.where(genuine, 0.0, weights))
    last = int(np.searchsorted(accepted, FAR * accepted[-1], side="right"))
    return float(weights[:last][genuine[:last]].sum() / weights[genuine].sum())


def differences(
    before: NDArray[np.float32], after: NDArray[np.float32], people: NDArray[np.int64]
) -> tuple[float, float, float, float]:
    """TAR before, and the difference with its interval; a resample counts a pair as often as both people are drawn."""
    left, right = np.triu_indices(len(people), 1)
    genuine = people[left] == people[right]
    scores = [np.einsum("ij,ij->i", rows[left], rows[right]) for rows in (before, after)]
    # Impostor pairs far below any threshold do not matter, and are most of them.
    kept = genuine | (np.maximum(*scores) > min(np.quantile(each[~genuine], 0.97) for each in scores))
    lost = [int((~genuine & ~kept).sum())]
    rng = np.random.default_rng(0)
    found = []
    for number in range(ROUNDS + 1):
        count = people.max() + 1
        drawn = np.ones(count) if number == 0 else np.bincount(rng.integers(0, count, count), minlength=count)
        weights = np.where(genuine, drawn[people[left]], drawn[people[left]] * drawn[people[right]]).astype(float)
        rest = weights[~kept].sum()
        pairs = [
            tar(
                np.append(each[kept], np.float32(-2)),
                np.append(genuine[kept], False),
                np.append(weights[kept], rest if lost[0] else 0.0),
            )
            for each in scores
        ]
        found.append((pairs[0], pairs[1] - pairs[0]))
    (base, change), *resampled = found
    low, high = np.quantile([each[1] for each in resampled], [0.025, 0.975])
    return base, change, float(low), float(high)


def main() -> None:
    """Trains what is not there yet, compares all, and prints a table."""
    parser = argparse.ArgumentParser(description="What fine-tuning gives on other people")
    parser.add_argument("faces", type=Path, help="folder of labeled prepared faces")
    parser.add_argument("strangers", type=Path, help="folder of prepared faces of other people")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for runs and embeddings")
    parser.add_argument("--model", default="sface", help="encoder to fine-tune (default: sface)")
    parser.add_argument("--people", type=int, nargs="+", default=[5, 20, 100], help="numbers of people")
    parser.add_argument("--pictures", type=int, nargs="+", default=[5, 20], help="numbers of pictures of each")
    parser.add_argument("--held-out", type=int, default=60, help="people to keep out of training (default: 60)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each run (default: 10)")
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=RECIPES, help="recipes (default: all)")
    parser.add_argument("--precision", default="auto", help="precision of training (default: auto)")
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    everyone = sorted(
        (path.name for path in options.faces.iterdir() if path.is_dir()),
        key=lambda name: hashlib.sha256(name.encode()).digest(),
    )
    held = select(options.faces, out / "held-out", everyone[: options.held_out], 20)
    tests = {"held out": held, "strangers": options.strangers}
    names = {name: name.replace(" ", "-") for name in tests}
    before = {name: embedded(faces, options.model, out / f"before-{names[name]}.h5") for name, faces in tests.items()}
    print(
        f"{'people x pictures':18} {'recipe':12}"
        + "".join(f"{name + ' TAR':>14} {'change (95%)':>24}" for name in tests)
    )
    for people in options.people:
        for pictures in options.pictures:
            chosen = everyone[options.held_out : options.held_out + people]
            faces = select(options.faces, out / f"faces-{people}x{pictures}", chosen, pictures)
            for recipe in options.only:
                run = out / f"run-{people}x{pictures}-{recipe}"
                if not (run / "encoder" / "encoder.json").exists():
                    faceclr(
                        "train-center", faces, "--init", options.model, "-o", run, "--epochs", options.epochs,
                        "--precision", options.precision, *COMMON, *RECIPES[recipe],
                    )  # fmt: skip
                line = f"{f'{people} x {pictures}':18} {recipe:12}"
                for name, test in tests.items():
                    rows, labels = before[name]
                    after, _ = embedded(test, str(run), run / f"{names[name]}.h5")
                    base, change, low, high = differences(rows, after, labels)
                    line += f"{base:14.2%} {change:+9.2%} ({low:+.2%}, {high:+.2%})"
                print(line, flush=True)


if __name__ == "__main__":
    main()
