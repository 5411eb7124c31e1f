"""Adaptation to the pictures of a security camera: sface alone compared with encoders adapted to gray, small faces.

    python benchmarks/adapted_domain.py LFW FACES... -o runs --epochs 13
    python benchmarks/adapted_domain.py LFW FACES... -o runs --side 16 --only sface-camera

LFW is a folder of prepared faces (`<Name>/<Name>_NNNN`) with pairsDevTrain.txt and pairsDevTest.txt in it or in
--pairs; FACES are folders of prepared faces, whose names are not used. The picture of a security camera is simulated
for each face: it is converted to gray, shrunk to --side pixels, enlarged and compressed. Each encoder is evaluated on
the original pairs of pairsDevTest and on the simulated ones: accuracy with the threshold of pairsDevTrain, AUC, and the
difference of its AUC to that of sface with a 95% interval (bootstrap over pairs, the same for both). Existing runs are
not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from recipe import faceclr, listed, nameless

from faceclr_cli.core.datasets.pairs.pair_files import read_pairs
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.metrics.roc import auc, best_threshold

LISTS = ("pairsDevTrain.txt", "pairsDevTest.txt")
RESAMPLES = 2000
QUALITY = 40
RECIPES = {
    "student": ["distill"],
    "student-camera": ["distill", "--degrade", "0.5"],
    "student-rounds": ["pretrain", "--rounds", "2", "--augment", "heads"],
    "sface-camera": ["distill", "--init", "sface", "--degrade", "0.5"],
}
"""The command of each encoder. Students start from sface with smaller pictures, and sface-camera with its own size.
student-rounds starts from student-camera and learns from the camera's pictures."""


def as_camera(picture: NDArray[np.uint8], side: int) -> bytes:
    """Converts a picture to gray, shrinks it to `side` pixels and enlarges it. Returns a JPEG of low quality."""
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, gray.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def camera_folder(faces: Path, out: Path, side: int) -> Path:
    """Writes the simulated picture of each face into a folder of prepared faces."""
    if not (out / DESCRIPTION).exists():
        for path in sorted(faces.glob("*/*.*g")):
            (out / path.parent.name).mkdir(parents=True, exist_ok=True)
            picture = np.asarray(cv2.imread(str(path)), np.uint8)
            (out / path.parent.name / f"{path.stem}.jpg").write_bytes(as_camera(picture, side))
        shutil.copy(faces / DESCRIPTION, out)
    return out


def judged_faces(lfw: Path, pairs: Path, out: Path) -> Path:
    """Links the faces that the lists of pairs name into a folder of their own."""
    if not (out / DESCRIPTION).exists():
        found = {path.relative_to(lfw).with_suffix("").as_posix(): path for path in lfw.glob("*/*.*g")}
        for name in LISTS:
            for pair in read_pairs(pairs / name):
                for key in (Path(side).with_suffix("").as_posix() for side in (pair.a, pair.b)):
                    if key in found and not (out / key).with_suffix(found[key].suffix).exists():
                        (out / key).parent.mkdir(parents=True, exist_ok=True)
                        os.link(found[key], (out / key).with_suffix(found[key].suffix))
        shutil.copy(lfw / DESCRIPTION, out)
    return out


def compare(
    scores: NDArray[np.float64], others: NDArray[np.float64], same: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Returns the difference of two AUCs on the same pairs, with a 95% bootstrap interval over pairs."""
    generator, found = np.random.default_rng(0), []
    kinds = np.flatnonzero(same), np.flatnonzero(~same)
    for _ in range(RESAMPLES):
        drawn = np.concatenate([generator.choice(kind, len(kind)) for kind in kinds])
        found.append(auc(scores[drawn], same[drawn]) - auc(others[drawn], same[drawn]))
    low, high = np.quantile(found, (0.025, 0.975))
    return auc(scores, same) - auc(others, same), float(low), float(high)


def main() -> None:
    """Trains missing encoders, and prints a table."""
    parser = argparse.ArgumentParser(description="Adaptation to the pictures of a security camera")
    parser.add_argument("lfw", type=Path, help="folder of prepared faces of LFW")
    parser.add_argument("faces", type=Path, nargs="+", help="folders of prepared training faces")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for pictures, runs and embeddings")
    parser.add_argument("--pairs", type=Path, help="folder of pairsDevTrain.txt and pairsDevTest.txt (default: LFW)")
    parser.add_argument("--side", type=int, default=24, help="side of the camera's faces in pixels (default: 24)")
    parser.add_argument("--epochs", type=int, default=13, help="epochs of the students (default: 13)")
    parser.add_argument("--precision", default="auto", help="precision of training (default: auto)")
    parser.add_argument("--only", nargs="*", default=list(RECIPES), choices=list(RECIPES), help="encoders to train")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    clean = [nameless(folder, out) for folder in options.faces]
    names = [name for name in RECIPES if name in options.only]
    camera = []
    if "student-rounds" in names:
        camera = [camera_folder(folder, out / f"{folder.name}-camera", options.side) for folder in clean]
    judged = judged_faces(options.lfw, options.pairs or options.lfw, out / "lfw")
    crops = {"clean": judged, "camera": camera_folder(judged, out / f"lfw-camera-{options.side}", options.side)}
    for name in names:
        common: list[str | Path] = ["-o", out / name, "--resume", "auto", "--precision", options.precision]
        epochs: list[str | Path]
        if name == "student-rounds":
            epochs = ["--epochs", str(max(3, options.epochs // 2)), "--init", out / "student-camera", "--lr", "3e-4"]
            faceclr(*RECIPES[name], *camera, *common, *epochs)
        else:
            count = max(1, options.epochs // 4) if name == "sface-camera" else options.epochs
            epochs = ["--epochs", str(count)]
            faceclr(*RECIPES[name], *clean, *common, *epochs)
    models = {"sface": "sface", **{name: str(out / name) for name in names}}
    scores = {
        name: {kind: judge(folder, model, out / f"{name}-{folder.name}.h5", options) for kind, folder in crops.items()}
        for name, model in models.items()
    }
    print(f"\n{'':16}" + "".join(f"{kind:>9}     AUC   minus sface (95% interval)   " for kind in crops))
    for name, found in scores.items():
        line, record = f"{name:16}", dict[str, object](model=name)
        for kind, (accuracy, test, same) in found.items():
            difference = compare(test, scores["sface"][kind][1], same)
            line += f"{accuracy:9.3f}{auc(test, same):8.4f}   {difference[0]:+.4f} "
            line += f"({difference[1]:+.4f} to {difference[2]:+.4f})   "
            record[kind] = [accuracy, auc(test, same), *difference]
        print(line.rstrip())
        print(json.dumps(record), flush=True)


def judge(
    crops: Path, model: str, store: Path, options: argparse.Namespace
) -> tuple[float, NDArray[np.float64], NDArray[np.bool_]]:
    """Returns the accuracy on pairsDevTest at the threshold of pairsDevTrain, and the similarities of its pairs."""
    if not store.exists():
        faceclr("embed", crops, "--model", model, "-o", store, "--quiet")
    embeddings, pairs = read_store(store), options.pairs or options.lfw
    train, train_same, _ = listed(embeddings, pairs / LISTS[0])
    test, same, missing = listed(embeddings, pairs / LISTS[1])
    right = int(((test >= best_threshold(train, train_same)) == same).sum())
    return right / (len(test) + missing), test, same


if __name__ == "__main__":
    main()
