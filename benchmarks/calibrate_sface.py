"""Where the calibration in `faceclr_cli/core/encoders/sface.py` comes from.

    python benchmarks/calibrate_sface.py LFW   # a folder with images/, pairsDevTrain.txt and pairsDevTest.txt

View 1 of Labeled Faces in the Wild (Huang et al. 2007) is the part to choose and calibrate on. Its training and
its test pictures show different people. The threshold comes from every genuine and every impostor pair among the
training pictures, since the 1,100 impostor pairs that it lists are too few for a false accept rate of 1e-3. What
it is worth is measured on the test pictures.

LFW means the face in the middle, faceclr takes the largest. Both are measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs import read_pairs
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.faces.align import align
from faceclr_cli.core.faces.decode import read_photo
from faceclr_cli.core.faces.detect import Face, YuNet, largest
from faceclr_cli.core.metrics.verification import best_threshold, cosine_scores, k_fold_accuracy, tar_at_far

FARS = (1e-2, 1e-3, 1e-4)
_SIZE = 112


@dataclass(frozen=True)
class Picture:
    """Embeddings of one picture by both rules, or None where no face was found."""

    largest: NDArray[np.float32] | None
    central: NDArray[np.float32] | None


class _Worker:
    """What a process keeps."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self.detector, self.encoder = YuNet(), SFaceEncoder()

    def __call__(self, path: Path) -> Picture:
        image = read_photo(path)
        faces = self.detector.detect(image)
        if not faces:
            return Picture(None, None)
        big, middle = largest(faces), _most_central(faces, image)
        first = self._embed(image, big)
        return Picture(first, first if middle is big else self._embed(image, middle))

    def _embed(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        return self.encoder.embed(align(image, face.landmarks, _SIZE)[None])[0]


def _most_central(faces: Sequence[Face], image: NDArray[np.uint8]) -> Face:
    centre = np.array(image.shape[1::-1]) / 2

    def distance(face: Face) -> float:
        left, top, width, height = face.box
        return float(np.hypot(*(np.array([left + width / 2, top + height / 2]) - centre)))

    return min(faces, key=distance)


def _embed_many(paths: list[Path]) -> list[Picture]:
    worker = _Worker()
    return [worker(path) for path in paths]


def _embed_all(root: Path, names: list[str], processes: int) -> dict[str, Picture]:
    parts = [names[start::processes] for start in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        done = pool.map(_embed_many, [[root / name for name in part] for part in parts])
        return {
            name: picture
            for part, result in zip(parts, done, strict=True)
            for name, picture in zip(part, result, strict=True)
        }


def _every_pair(vectors: dict[str, NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    names = sorted(vectors)
    people = np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]
    rows = np.stack([vectors[name] for name in names]).astype(np.float64)
    upper = np.triu_indices(len(rows), 1)
    return (rows @ rows.T)[upper], people[upper[0]] == people[upper[1]]


def _listed(file: Path, vectors: dict[str, NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Scores of the listed pairs, whether they are genuine, and how many could not be compared."""
    pairs = read_pairs(file)
    found = [pair for pair in pairs if pair.a in vectors and pair.b in vectors]
    scores = cosine_scores([vectors[pair.a] for pair in found], [vectors[pair.b] for pair in found])
    return scores, np.array([bool(pair.same) for pair in found]), len(pairs) - len(found)


def _report(rule: str, pictures: dict[str, Picture], lists: dict[str, Path]) -> None:
    vectors = {
        part: {name: vector for name in _names(file) if (vector := getattr(pictures[name], rule)) is not None}
        for part, file in lists.items()
    }
    print(f"\nthe {rule} face")
    scores = {part: _every_pair(vectors[part]) for part in lists}
    for part, (_, same) in scores.items():
        print(f"  {part}: {len(vectors[part])} pictures, {same.sum():,} genuine and {(~same).sum():,} impostor pairs")
    for far in FARS:
        point = tar_at_far(*scores["train"], far)
        values, same = scores["test"]
        print(
            f"  FAR {far:g}: threshold {point.threshold:.4f}, TAR {point.tar:.4f}; on the test people "
            f"FAR {np.mean(values[~same] >= point.threshold):.2e}, TAR {np.mean(values[same] >= point.threshold):.4f}"
        )
    train, train_same, _ = _listed(lists["train"], vectors["train"])
    test, test_same, missing = _listed(lists["test"], vectors["test"])
    threshold = best_threshold(train, train_same)
    right = int(((test >= threshold) == test_same).sum())
    folds = k_fold_accuracy(test, test_same, 10)
    print(
        f"  pairsDevTest by the best threshold of pairsDevTrain, {threshold:.4f}: {right / (len(test) + missing):.4f} "
        f"({missing} pairs without a face, counted as wrong)\n"
        f"  pairsDevTest in ten folds: {folds.mean:.4f} ± {folds.standard_error:.4f}"
    )


def _names(file: Path) -> list[str]:
    return sorted({name for pair in read_pairs(file) for name in (pair.a, pair.b)})


def main() -> None:
    """Embeds every picture of the two lists once, and prints what both rules give."""
    parser = argparse.ArgumentParser(description="Calibrate the built-in encoder on LFW's View 1")
    parser.add_argument("lfw", type=Path, help="folder with images/, pairsDevTrain.txt and pairsDevTest.txt")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    lists = {"train": arguments.lfw / "pairsDevTrain.txt", "test": arguments.lfw / "pairsDevTest.txt"}
    names = sorted({name for file in lists.values() for name in _names(file)})
    began = time.perf_counter()
    pictures = _embed_all(arguments.lfw / "images", names, arguments.processes)
    faceless = sum(picture.largest is None for picture in pictures.values())
    print(f"{len(names)} pictures in {time.perf_counter() - began:.0f} s, {faceless} without a face")
    for rule in ("largest", "central"):
        _report(rule, pictures, lists)


if __name__ == "__main__":
    main()
