"""The share of wrong names that `faceclr clean` finds, and the effect of clean names and of `--robust` in training.

    python benchmarks/clean.py FACES -o scratch --rates 0.05 0.2 0.4 --merged 10
    python benchmarks/clean.py FACES -o scratch --rates 0.2 0.4 --train LFW --pictures 80000 --image-size 64
    python benchmarks/clean.py FACES -o scratch --rates 0.2 --link cleaned 0

FACES is a folder of labeled prepared faces with right names. Each face gets the name of a random other person with the
given probability, and pairs of people are merged under one name. The table shows precision and recall of the proposed
intruders, the share of them that are moved to the right person, and how many merged people are found; for all people,
for the quarter of them that the encoder recognizes least (the lowest mean affinity of their faces to their own person),
and for strangers: wrong faces of people who are not in the set. Names that the proposals for the unchanged set join
count as one person, and "without earlier findings" leaves out all faces that it proposes to change, since their
original names may be wrong. With --train, `train-center` learns from the original, the changed and the cleaned names
and, with --robust, from the changed ones, and the accuracy on LFW's pairsDevTest is compared. All runs see about the
same number of pictures. The faces are embedded once, and existing runs are not repeated. --link creates a folder of
faces with such names, for training elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recipe import faceclr

from faceclr_cli.core.configs.clean import CleanConfig
from faceclr_cli.core.embeddings.store import Store, read_store
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.grouping.person_albums import PersonAlbums
from faceclr_cli.core.upkeep.cleaned_folder import apply_proposals
from faceclr_cli.core.upkeep.label_review import review_labels
from faceclr_cli.core.upkeep.proposals import Proposal, write_proposals

Names = NDArray[np.object_]


@dataclass(frozen=True)
class Changed:
    """The names of a set after the change, the mask of wrong names, and the merged people."""

    names: Names
    wrong: NDArray[np.bool_]
    merged: dict[str, str]


def change(names: Names, rate: float, merged: int, seed: int) -> Changed:
    """Merges random pairs of people, and gives faces the names of others."""
    rng = np.random.default_rng(seed)
    new, people = names.copy(), np.unique(names.astype(str)).astype(object)
    pairs = {str(one): str(other) for one, other in rng.permutation(people)[: 2 * merged].reshape(-1, 2)}
    for one, other in pairs.items():
        new[new == other] = one
    left = np.unique(new.astype(str)).astype(object)
    place = {name: number for number, name in enumerate(left)}
    wrong = rng.random(len(names)) < rate
    shift = rng.integers(1, len(left), len(names))
    for row in np.flatnonzero(wrong):
        new[row] = left[(place[new[row]] + shift[row]) % len(left)]
    # A face that got the name under which its person was merged is not wrong.
    right = [pairs.get(str(given)) == str(true) for given, true in zip(new, names, strict=True)]
    return Changed(new, wrong & ~np.array(right, bool), pairs)


def propose(store: Store, names: Names, min_odds: float) -> tuple[Proposal, ...]:
    """Returns the proposals for names."""
    return review_labels(store.embeddings, store.norms, store.paths, list(map(str, names)), min_odds).proposals


def row(
    title: str, found: Sequence[Proposal], paths: Sequence[str], truth: Names, changed: Changed, rows: NDArray[np.int64]
) -> str:
    """Returns precision, recall and the share moved to the right person, for the faces of some rows."""
    intruders = {each.face: each for each in found if each.what == "intruder"}
    proposed = np.array([path in intruders for path in paths])[rows]
    wrong = changed.wrong[rows]
    hits = rows[proposed & wrong]
    moved = [intruders[paths[each]].other for each in hits]
    # A merged person has the name of the other.
    right = [truth[each] in (name, changed.merged.get(name)) for name, each in zip(moved, hits, strict=True) if name]
    precision, recall = len(hits) / max(1, proposed.sum()), len(hits) / max(1, wrong.sum())
    text = f"{title:28} {len(rows):6} {wrong.sum():6} {precision:9.2%} {recall:9.2%}"
    return text + f" {len(right) / max(1, len(hits)):9.2%} {np.mean(right) if right else 0.0:9.2%}"


def measure(store: Store, truth: Names, natural: set[str], options: argparse.Namespace) -> None:
    """Prints the table."""
    print(f"{'names':28} {'faces':>6} {'wrong':>6} {'precision':>9} {'recall':>9} {'moved':>9} {'rightly':>9}")
    unknown, place = least_known(store, truth), {path: number for number, path in enumerate(store.paths)}
    for rate in options.rates:
        for merged in dict.fromkeys((0, options.merged)):
            for seed in range(options.seeds):
                changed = change(truth, rate, merged, seed)
                found = propose(store, changed.names, options.min_odds)
                title = f"{rate:.0%} wrong, {merged} merged"
                everyone = np.arange(len(truth))
                print(row(title, found, store.paths, truth, changed, everyone))
                fresh = np.flatnonzero([path not in natural for path in store.paths])
                print(row("  without earlier findings", found, store.paths, truth, changed, fresh))
                print(row("  people least known", found, store.paths, truth, changed, np.flatnonzero(unknown)))
                both = fresh[unknown[fresh]]
                print(row("  both", found, store.paths, truth, changed, both))
                if merged:
                    seconds = {str(changed.names[place[each.face]]) for each in found if each.what == "two-people"}
                    hit = len(seconds & set(changed.merged))
                    print(f"  merged people found: {hit} of {merged}; others: {len(seconds - set(changed.merged))}")
                sys.stdout.flush()
        strangers(store, truth, rate, options)


def strangers(store: Store, truth: Names, rate: float, options: argparse.Namespace) -> None:
    """Prints the recall of wrong faces whose people are not in the set."""
    rng = np.random.default_rng(0)
    people = rng.permutation(np.unique(truth.astype(str)))
    out = set(people[: len(people) // 5])
    is_stranger = np.array([name in out for name in truth])
    inside = people[len(people) // 5 :]
    names = truth.copy()
    kept = ~is_stranger
    chosen = rng.permutation(np.flatnonzero(is_stranger))[: round(rate * kept.sum())]
    names[chosen] = inside[rng.integers(0, len(inside), len(chosen))]
    rows = np.sort(np.concatenate([np.flatnonzero(kept), chosen]))
    small = store.take(rows)
    found = propose(small, names[rows], options.min_odds)
    changed = Changed(names[rows], is_stranger[rows], {})
    print(
        row(f"{len(chosen) / len(rows):.0%} strangers", found, small.paths, truth[rows], changed, np.arange(len(rows)))
    )


def least_known(store: Store, truth: Names) -> NDArray[np.bool_]:
    """Returns the faces of the quarter of people with the lowest mean affinity to their own faces."""
    _, labels = np.unique(truth.astype(str), return_inverse=True)
    albums = PersonAlbums(store.embeddings, labels)
    affinities = albums.affinities(np.arange(len(labels)), labels)
    means = np.bincount(labels, affinities) / albums.sizes
    return np.asarray((means <= np.quantile(means, 0.25))[labels])


def link(faces: Path, out: Path, store: Store, names: Names) -> Path:
    """Links the faces to folders of other names."""
    if not out.exists():
        for path, name in zip(store.paths, names, strict=True):
            target = out / str(name) / path.replace("/", "-")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(faces / path, target)
        shutil.copy(faces / DESCRIPTION, out / DESCRIPTION)
    return out


def make_set(kind: str, rate: float, seed: int, store: Store, truth: Names, options: argparse.Namespace) -> Path:
    """Links the faces with their original names, with changed names, or with names that `clean --apply` corrected."""
    faces: Path = options.faces
    out: Path = options.out
    if kind == "original":
        return link(faces, out / kind, store, truth)
    changed, title = change(truth, rate, 0, seed), f"{round(100 * rate)}-{seed}"
    dirty = link(faces, out / f"dirty-{title}", store, changed.names)
    cleaned, proposals = out / f"cleaned-{title}", out / f"clean-{title}.csv"
    if kind == "dirty" or cleaned.exists():
        return dirty if kind == "dirty" else cleaned
    paths = [f"{name}/{path.replace('/', '-')}" for path, name in zip(store.paths, changed.names, strict=True)]
    review = review_labels(store.embeddings, store.norms, paths, list(map(str, changed.names)), options.min_odds)
    write_proposals(proposals, review.proposals)
    apply_proposals(CleanConfig(faces=dirty, apply=proposals, out=cleaned), Silent())
    return cleaned


def train(store: Store, truth: Names, options: argparse.Namespace) -> None:
    """Trains on original, changed and cleaned names, and prints accuracies."""
    runs: list[tuple[str, float, tuple[str, ...]]] = [("original", 0.0, ())]
    for rate in options.rates:
        runs += [("dirty", rate, ()), ("cleaned", rate, ())]
        runs += [("dirty", rate, ("--robust", str(cosine))) for cosine in options.robust]
    for seed in range(options.seeds):
        for kind, rate, more in runs:
            title = " ".join([kind, *([f"{rate:.0%}"] if rate else []), *more, f"seed {seed}"])
            if options.only and not any(text in title for text in options.only):
                continue
            folder = make_set(kind, rate, seed, store, truth, options)
            # All runs see about the same number of pictures.
            epochs = max(1, round(options.pictures / sum(1 for _ in folder.glob("*/*.*"))))
            run = options.out / "runs" / f"{title.replace(' ', '-')}-{epochs}x{options.image_size}"
            if not (run / "encoder" / "encoder.json").exists():
                faceclr(
                    "train-center", folder, "-o", run, "--epochs", epochs, "--image-size", options.image_size,
                    "--backbone", options.backbone, "--precision", "32", "--hold-out", "0", "--seed", str(seed),
                    "--resume", "auto", "--quiet", *more,
                )  # fmt: skip
            print(f"{title:40} {accuracy(run, options.train)}", flush=True)


def accuracy(run: Path, lfw: Path) -> str:
    """Returns the accuracy on LFW's pairsDevTest, with its standard error."""
    command = [sys.executable, "-m", "faceclr_cli", "benchmark", str(lfw), "--pairs", str(lfw / "pairsDevTest.txt")]
    done = subprocess.run([*command, "-m", str(run), "--json"], capture_output=True, text=True, check=True)
    (cell,) = json.loads(done.stdout)["cells"]
    return f"{cell['accuracy']:.2%} ± {cell['spread']:.2%}, AUC {cell['auc']:.4f}"


def main() -> None:
    """Embeds the faces if needed, and measures."""
    parser = argparse.ArgumentParser(description="Wrong names that faceclr clean finds")
    parser.add_argument("faces", type=Path, help="folder of labeled prepared faces")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for embeddings, links and runs")
    parser.add_argument("--store", type=Path, help="their embeddings, which may be a part of the store")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.05, 0.2, 0.4], help="shares of wrong names")
    parser.add_argument("--merged", type=int, default=10, help="pairs of people to merge (default: 10)")
    parser.add_argument("--seeds", type=int, default=1, help="random changes for each share (default: 1)")
    parser.add_argument("--min-odds", type=float, default=10.0, help="as for faceclr clean (default: 10)")
    parser.add_argument("--train", type=Path, metavar="LFW", help="train too, and measure on this folder of LFW")
    parser.add_argument("--pictures", type=int, default=80_000, help="pictures of each run (default: 80,000)")
    parser.add_argument("--image-size", type=int, default=64, help="side of the crops in training (default: 64)")
    parser.add_argument("--backbone", default="resnet18", help="network to train (default: resnet18)")
    parser.add_argument("--robust", type=float, nargs="*", default=[0.4], help="cosines of --robust (default: 0.4)")
    parser.add_argument("--only", nargs="*", default=(), help="train only what has one of these texts in its title")
    text = "only link the faces with original, dirty or cleaned names, at the first of --rates, and print the folder"
    parser.add_argument("--link", nargs=2, metavar=("NAMES", "SEED"), help=text)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.store or options.out / "faces.h5"
    if not file.exists():
        faceclr("embed", options.faces, "-o", file, "--quiet")
    store = read_store(file)
    store = store.take([row for row, name in enumerate(store.identities) if name is not None])
    if options.store:
        store = store.take([row for row, path in enumerate(store.paths) if (options.faces / path).exists()])
    truth: Names = np.array(store.identities, object)
    found = propose(store, truth, options.min_odds)
    for each in found:
        if each.what == "same-person":
            truth[truth == each.face] = each.other
    joined = sum(each.what == "same-person" for each in found)
    if options.link:
        print(make_set(options.link[0], options.rates[0], int(options.link[1]), store, truth, options))
        return
    print(f"unchanged: {len(truth)} faces, {joined} names joined, {len(found) - joined} other proposals")
    if options.train is None:
        measure(store, truth, {each.face for each in found if not each.is_person}, options)
    else:
        train(store, truth, options)


if __name__ == "__main__":
    main()
