"""Blends of two faces, as additional faces for a distillation: pictures of people that do not exist.

    python benchmarks/blends.py FACES... -o blends --count 15000
    faceclr distill FACES... blends/means blends/joined -o student --epochs 2

FACES are folders of prepared faces with the ArcFace template at 112 pixels. A mean is the average of two faces; a
joined face is the upper part of one face above the lower part of another, whose colors are adjusted. In half of the
blends, the second face is mirrored. Existing blends are written again.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.face_folder import DESCRIPTION

WEIGHTS = (0.4, 0.6)
SEAMS = (60, 80)
TRANSITION = 12
"""Rows of the seam between the upper and the lower part, which is between the eyes and the mouth, and its height."""


def mean_of(face: NDArray[np.float64], other: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Returns the weighted mean of two faces. Shape of each: (112, 112, 3)."""
    weight = random.uniform(*WEIGHTS)
    return np.asarray(weight * face + (1 - weight) * other)


def joined(face: NDArray[np.float64], other: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Returns the upper part of one face above the lower part of another. Shape of each: (112, 112, 3)."""
    other = (other - other.mean(axis=(0, 1))) / (other.std(axis=(0, 1)) + 1) * face.std(axis=(0, 1))
    other += face.mean(axis=(0, 1))
    rows = np.arange(len(face))[:, None, None]
    lower = ((rows - random.uniform(*SEAMS)) / TRANSITION + 0.5).clip(0, 1)
    return np.asarray((1 - lower) * face + lower * other)


def main() -> None:
    """Writes both kinds of blends, each into a folder of prepared faces without names."""
    parser = argparse.ArgumentParser(description="Blends of two faces")
    parser.add_argument("faces", type=Path, nargs="+", help="folders of prepared faces")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the blends")
    parser.add_argument("--count", type=int, default=15000, help="number of blends of each kind (default: 15000)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    paths = [path for folder in options.faces for path in sorted(folder.glob("*/*.*g"))]
    for name, blend in (("means", mean_of), ("joined", joined)):
        folder = options.out / name
        (folder / "_").mkdir(parents=True, exist_ok=True)
        for number in range(options.count):
            places = random.choice(len(paths), 2, replace=False)
            face, other = (np.asarray(cv2.imread(str(paths[place])), np.float64) for place in places)
            if random.random() < 0.5:
                other = other[:, ::-1]
            picture = blend(face, other, random).round().clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "_" / f"{number:06d}.png"), picture)
        shutil.copy(options.faces[0] / DESCRIPTION, folder)
        print(f"{folder}: {options.count:,} blends")


if __name__ == "__main__":
    main()
