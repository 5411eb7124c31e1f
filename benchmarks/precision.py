"""Verification with `--precision bf16`: whether its embeddings may be compared with those of float32.

Embeds the photographs of a folder per person in both precisions, compares all pairs, and prints the rates at the
thresholds that the encoder ships: within float32, within bf16, and across the two. Mixing is allowed only if, across
them, the TAR moves by less than 0.1 percentage points and the FAR by less than 10 percent.

    python benchmarks/precision.py lfw/images --pairs lfw/pairsDevTest.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.datasets.pairs.pair_files import read_pairs
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import NoFaceError
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.detect import Selection

FARS = (1e-3, 1e-4)
MOST_TAR, MOST_FAR = 0.001, 0.1

Floats = NDArray[np.float32]


def names_of(root: Path, pairs: Path | None) -> list[str]:
    """Returns the photographs in a list of pairs, or all of the folder."""
    if pairs is not None:
        return sorted({name for pair in read_pairs(pairs) for name in (pair.a, pair.b)})
    return sorted(str(path.relative_to(root)) for path in root.glob("*/*.jpg"))


def rates(rows: Floats, columns: Floats, people: NDArray[np.str_], threshold: float) -> tuple[float, float]:
    """Returns TAR and FAR over all pairs of different photographs, each in both directions."""
    scores = rows @ columns.T
    same = people[:, None] == people
    other = ~np.eye(len(people), dtype=bool)
    accepted = scores >= threshold
    return float(accepted[same & other].mean()), float(accepted[~same].mean())


def main() -> None:
    """Prints the rates and whether the precisions may be mixed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="photographs in a folder per person")
    parser.add_argument("--pairs", type=Path, help="use only the photographs in this list of pairs")
    parser.add_argument("--model", default="sface")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    exact = load_encoder(arguments.model, arguments.device)
    rounded = load_encoder(arguments.model, arguments.device, precision="bf16")
    cropper = PhotoCropper(exact.fingerprint, Selection(choice="center"))
    crops, people = [], []
    for name in names_of(arguments.root, arguments.pairs):
        try:
            crops.append(cropper.crop_file(arguments.root / name).crop)
        except NoFaceError:
            continue
        people.append(name.split("/")[0])
    batches = [np.stack(crops[start : start + 64]) for start in range(0, len(crops), 64)]
    single, half = (np.concatenate([encoder.embed(batch) for batch in batches]) for encoder in (exact, rounded))
    cosines = np.sum(single.astype(float) * half, axis=1)
    print(f"{len(crops)} faces of {len(set(people))} people, cosine of the two embeddings of a face: ", end="")
    print(f"minimum {cosines.min():.5f}, median {np.median(cosines):.5f}")
    if exact.calibration is None:
        raise SystemExit(f"{arguments.model} has no thresholds; run faceclr calibrate")
    named, is_close = np.array(people), True
    for far in FARS:
        threshold = exact.calibration.at(far).threshold
        measured = {
            "float32": rates(single, single, named, threshold),
            "bf16": rates(half, half, named, threshold),
            "across": rates(single, half, named, threshold),
        }
        for label, (tar, false) in measured.items():
            print(f"  threshold {threshold:.4f} (FAR {far:g}), {label:<8} TAR {tar:.5f}  FAR {false:.3e}")
        tar, false = measured["float32"]
        for label in ("bf16", "across"):
            own_tar, own_false = measured[label]
            is_close &= abs(own_tar - tar) < MOST_TAR and abs(own_false - false) <= MOST_FAR * false
    print(f"the two precisions {'may' if is_close else 'must not'} be mixed")


if __name__ == "__main__":
    main()
