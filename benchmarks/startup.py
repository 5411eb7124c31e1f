"""How long a user waits for `--help` and for a verdict, beside the least that it could take.

The ceiling is a bare script that imports OpenCV, loads the same two networks, and detects, aligns and embeds the
same two photographs, one after the other, without faceclr. Both are run in turns, as whole processes.

    python benchmarks/startup.py a.jpg b.jpg
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

BARE = """
import sys
import cv2
detector = cv2.FaceDetectorYN.create(sys.argv[1], "", (320, 320), 0.6)
encoder = cv2.FaceRecognizerSF.create(sys.argv[2], "")
features = []
for name in sys.argv[3:]:
    photo = cv2.imread(name)
    zoom = 640 / max(photo.shape[:2])
    small = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    detector.setInputSize(small.shape[1::-1])
    faces = detector.detect(small)[1]
    features.append(encoder.feature(encoder.alignCrop(photo, faces[0] / zoom)))
print(encoder.match(*features, cv2.FaceRecognizerSF_FR_COSINE))
"""


def seconds(command: list[str]) -> float:
    """Wall time of a process that must not fail."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode > 1:
        raise SystemExit(done.stderr.decode())
    return time.perf_counter() - began


def main() -> None:
    """Prints medians over rounds, and the ratio to the bare script."""
    from faceclr_cli.core.faces.weights import SFACE, YUNET

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs=2, type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    photos = [str(photo) for photo in arguments.photos]
    faceclr = [sys.executable, "-m", "faceclr_cli"]
    commands = {
        "faceclr --help": [*faceclr, "--help"],
        "faceclr pretrain --help": [*faceclr, "pretrain", "--help"],
        "faceclr verify a b": [*faceclr, "verify", *photos],
        "bare OpenCV script": [sys.executable, "-c", BARE, str(YUNET.path()), str(SFACE.path()), *photos],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    bare = statistics.median(times["bare OpenCV script"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<24} median {median:.3f} s  least {min(values):.3f} s  {median / bare:.2f} of the bare script")


if __name__ == "__main__":
    main()
