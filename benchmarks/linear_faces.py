"""A linear layer on frozen embeddings of the ten people with the most pictures, after FaceCLR's protocol.

    python benchmarks/linear_faces.py FACES -o runs --budget 20m
    python benchmarks/linear_faces.py lfw-faces -o lfw-runs --label-free runs/label-free --distilled runs/distilled

FACES is a folder of labeled prepared faces. The pictures of the ten people are split 60/20/20 with seed 42, and
`faceclr linear-eval` measures the raw pixels, an encoder computed from histograms, a network trained without labels, a
student of sface, sface itself, and a ResNet-18 trained on ImageNet if timm's weights are in the cache of the Hugging
Face hub. The first three encoders are given, or trained without names on all other people of FACES (--train: on other
folders). A run that was interrupted is continued, and existing results in the output folder are reused.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
import numpy as np
from fine_tuning import select
from recipe import faceclr

from faceclr_cli.core.faces.face_folder import DESCRIPTION

SEED = 42
IMAGENET = "timm/resnet18.a1_in1k"
LFW = """
LFW was not measured above. The same figures for all of LFW, with encoders that were trained on other people:
  faceclr prepare lfw -o lfw-faces --face center
  python benchmarks/linear_faces.py lfw-faces -o lfw-runs --histograms {histograms} \\
      --label-free {label_free} --distilled {distilled}"""


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds the options that all trainings share, parses, and checks that FACES is a folder of prepared faces."""
    parser.add_argument("--pictures", type=int, help="number of random pictures of other people (default: all)")
    parser.add_argument("--budget", default="20m", help="maximum time of each training (default: 20m)")
    parser.add_argument("--epochs", type=int, default=50, help="maximum epochs of each training (default: 50)")
    parser.add_argument("--backbone", help="network of the trained encoders (default: that of each command)")
    parser.add_argument("--image-size", help="input size of the trained encoders (default: that of each command)")
    parser.add_argument("--precision", default="auto", help="precision of training (default: auto)")
    options = parser.parse_args()
    for folder in (options.faces, *(getattr(options, "train", None) or [])):
        if not (folder / DESCRIPTION).is_file():
            parser.error(f"{folder}: not a folder of prepared faces; make one with faceclr prepare")
    return options


def most_pictured(faces: Path, count: int) -> list[str]:
    """Returns the people with the most pictures; ties are resolved by name, as in `linear-eval --identities`."""
    pictures = {folder.name: len(list(folder.iterdir())) for folder in faces.iterdir() if folder.is_dir()}
    pictures.pop("_", None)
    return sorted(pictures, key=lambda name: (-pictures[name], name))[:count]


def others(folders: Sequence[Path], known: Sequence[str], pictures: int | None, out: Path) -> Path:
    """Links the faces of all other people, or a random sample of them, into one folder without names."""
    if not (out / DESCRIPTION).exists():
        found = [path for faces in folders for path in sorted(faces.glob("*/*.*g")) if path.parent.name not in known]
        if not found:
            raise SystemExit(f"{folders[0]}: contains no other people to train on; give a trained encoder")
        drawn = np.random.default_rng(SEED).permutation(len(found))[:pictures]
        (out / "_").mkdir(parents=True, exist_ok=True)
        for number in sorted(drawn):
            link = out / "_" / f"{number:07d}{found[number].suffix}"
            link.unlink(missing_ok=True)
            os.link(found[number], link)
        shutil.copy(folders[0] / DESCRIPTION, out)
    return out


def imagenet(out: Path) -> Path | None:
    """Imports ResNet-18 with ImageNet weights; None if they are not in the cache."""
    files = [huggingface_hub.try_to_load_from_cache(IMAGENET, name) for name in ("config.json", "model.safetensors")]
    if not all(isinstance(file, str) for file in files):
        return None
    if not out.exists():
        faceclr("import", f"hf-hub:{IMAGENET}", "-o", out, "--template", "arcface", "--quiet")
    return out


def train(run: Path, command: Sequence[str | Path], options: argparse.Namespace) -> None:
    """Trains an encoder, or continues its training."""
    if "histograms" in command:  # It takes no steps.
        faceclr(*command, "-o", run, "--resume", "auto")
        return
    given = {"--backbone": options.backbone, "--image-size": options.image_size}
    network = [part for name, value in given.items() if value is not None for part in (name, value)]
    faceclr(
        *command, "-o", run, "--resume", "auto", *network,
        "--precision", options.precision, "--epochs", options.epochs, "--time-budget", options.budget,
    )  # fmt: skip


def main() -> None:
    """Trains missing encoders, embeds the faces with each encoder, and prints the table of linear-eval."""
    parser = argparse.ArgumentParser(description="A linear layer on the people with the most pictures")
    parser.add_argument("faces", type=Path, help="folder of labeled prepared faces")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for runs and embeddings")
    parser.add_argument("--histograms", help="encoder computed from histograms (default: compute one)")
    parser.add_argument("--label-free", help="encoder trained without labels (default: train one)")
    parser.add_argument("--distilled", help="encoder trained by distillation (default: train one)")
    parser.add_argument("--train", type=Path, nargs="+", help="folders to train on (default: other people of FACES)")
    parser.add_argument("--people", type=int, default=10, help="number of people (default: 10)")
    options = parse(parser)
    out: Path = options.out
    people = most_pictured(options.faces, options.people)
    faces = select(options.faces, out / "faces", people, None)
    commands = {
        "histograms": ["pretrain", "--method", "histograms"],
        "label-free": ["pretrain", "--method", "simclr"],
        "distilled": ["distill"],
    }
    models = {
        "pixels": "pixels",
        "histograms": options.histograms,
        "label-free": options.label_free,
        "distilled": options.distilled,
        "sface": "sface",
    }
    if (found := imagenet(out / "imagenet")) is not None:
        models["imagenet"] = str(found)
    else:
        print(f"imagenet: left out, since {IMAGENET} is not in the cache", file=sys.stderr)
    stores = {name: str(out / f"{name}.h5") for name in models}
    for name, model in models.items():
        if model is None and not Path(stores[name]).exists():
            strangers = others(options.train or [options.faces], people, options.pictures, out / "others")
            train(out / name, [*commands[name], strangers], options)
        if not Path(stores[name]).exists():
            faceclr("embed", faces, "--model", model or out / name, "-o", stores[name], "--quiet")
    print(f"{len(people)} people: {', '.join(people)}", flush=True)
    command = ["linear-eval", *stores.values(), "--seed", str(SEED)]
    subprocess.run([sys.executable, "-m", "faceclr_cli", *command], check=True)
    given = {name: models[name] or out / name for name in commands}
    print(LFW.format(histograms=given["histograms"], label_free=given["label-free"], distilled=given["distilled"]))


if __name__ == "__main__":
    main()
