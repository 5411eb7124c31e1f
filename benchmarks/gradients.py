"""Whitened histograms of gradients on LFW's View 1: the accuracy of face comparison without any training.

    python benchmarks/gradients.py LFW FACES... --pairs lfw-view1

LFW and FACES are folders of prepared faces; --pairs is the folder of pairsDevTrain.txt and pairsDevTest.txt. Each
face is described by histograms of oriented gradients (OpenCV's HOG, cells of 8 pixels). These are projected to their
principal directions, fitted to a sample of FACES, whose names are not used. Each direction is divided by its variance
to a power, as `faceclr pretrain --whiten` does with embeddings. The accuracy is that of pairsDevTest at the best
threshold of pairsDevTrain.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd

from faceclr_cli.core.datasets.pairs.pair_files import read_pairs
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.metrics.roc import auc, best_threshold

Rows = NDArray[np.float32]
FACE = (slice(12, 108), slice(8, 104))
"""The part of a crop of 112 pixels that is compared."""


def describe(paths: list[Path], mirrored: bool) -> Rows:
    """Computes the square roots of the histograms of each face. Shape: (faces, 4356)."""
    descriptor = cv2.HOGDescriptor((96, 96), (16, 16), (8, 8), (8, 8), 9)
    rows = []
    for path in paths:
        face = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)[FACE]
        rows.append(np.ravel(descriptor.compute(np.ascontiguousarray(face[:, ::-1] if mirrored else face))))
    return np.sqrt(np.stack(rows)).astype(np.float32)


class Judge:
    """The pairs of View 1 as rows of the faces that they name.

    Args:
        lfw: Folder of prepared faces.
        pairs: Folder of the lists of pairs.
    """

    def __init__(self, lfw: Path, pairs: Path) -> None:
        found = {path.relative_to(lfw).with_suffix("").as_posix(): path for path in sorted(lfw.glob("*/*.*g"))}
        listed = [read_pairs(pairs / f"pairsDev{part}.txt") for part in ("Train", "Test")]
        keys = [[tuple(Path(side).with_suffix("").as_posix() for side in (p.a, p.b)) for p in part] for part in listed]
        used = sorted({key for part in keys for pair in part for key in pair} & set(found))
        self.paths = [found[key] for key in used]
        rows = {key: row for row, key in enumerate(used)}
        self._lists = []
        for part, pairs_of in zip(keys, listed, strict=True):
            there = [
                (rows[a], rows[b], bool(p.same))
                for (a, b), p in zip(part, pairs_of, strict=True)
                if a in rows and b in rows
            ]
            self._lists.append((np.array(there), len(part)))

    def score(self, embeddings: Rows) -> tuple[float, float]:
        """Returns accuracy and AUC on pairsDevTest; pairs without a face count as errors."""
        unit = normalize_rows(embeddings)
        (train, _), (test, count) = self._lists
        cosines = [(unit[part[:, 0]] * unit[part[:, 1]]).sum(axis=1) for part in (train, test)]
        same = test[:, 2] == 1
        right = (cosines[1] >= best_threshold(cosines[0], train[:, 2] == 1)) == same
        return float(right.sum() / count), auc(cosines[1], same)


def main() -> None:
    """Prints accuracy and AUC of each whitening."""
    parser = argparse.ArgumentParser(description="Histograms of gradients, whitened")
    parser.add_argument("lfw", type=Path, help="folder of prepared faces of LFW")
    parser.add_argument("faces", type=Path, nargs="+", help="folders of prepared faces to fit the whitening to")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of pairsDevTrain.txt and pairsDevTest.txt")
    parser.add_argument("--fit", type=int, default=12000, help="number of faces to fit to (default: 12000)")
    options = parser.parse_args()
    judge = Judge(options.lfw, options.pairs)
    found = [path for folder in options.faces for path in sorted(folder.glob("*/*.*g"))]
    some = np.random.default_rng(0).permutation(len(found))[: options.fit]
    fitted = describe([found[place] for place in sorted(some)], mirrored=False)
    plain, mirrored = (describe(judge.paths, flip) for flip in (False, True))
    mean = fitted.mean(axis=0)
    _, strengths, directions = randomized_svd(fitted - mean, 600, n_iter=2, random_state=0)
    variances = strengths**2 / len(fitted)
    print(f"{'directions':>10} {'power':>6} {'accuracy':>9} {'AUC':>7}   mirrored", flush=True)
    both = normalize_rows(plain) + normalize_rows(mirrored)
    print(
        f"{plain.shape[1]:10} {'raw':>6} "
        + "{:9.3f} {:7.3f}   {:.3f} {:.3f}".format(*judge.score(plain), *judge.score(both))
    )
    for dim in (100, 200, 400, 600):
        for power in (0.0, 0.125, 0.25, 0.35, 0.5):
            matrix = directions[:dim].T / variances[:dim] ** power
            one, other = (plain - mean) @ matrix, (mirrored - mean) @ matrix
            both = normalize_rows(one) + normalize_rows(other)
            print(
                f"{dim:10} {power:6} " + "{:9.3f} {:7.3f}   {:.3f} {:.3f}".format(*judge.score(one), *judge.score(both))
            )


if __name__ == "__main__":
    main()
