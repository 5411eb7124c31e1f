"""Accuracy on LFW's View 1 of backbones that were trained for the same time on the same labeled faces.

    python benchmarks/backbones.py LFW FACES -o runs --budget 20m --seeds 0 1 2

LFW is a folder with images/, pairsDevTrain.txt and pairsDevTest.txt; FACES is a folder of prepared faces of other
people. The budget is wall time, so the machine must be idle otherwise. The accuracy is that of recipe.py. Parameters
and multiplications are those of the whole encoder for one picture. Existing runs in the output folder are not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import mean, stdev

import torch
from recipe import embedded, faceclr, measure
from torch.utils.flop_counter import FlopCounterMode

from faceclr_cli.core.encoders.encoder_folder import load_network

BACKBONES = ("iresnet18", "mobilefacenet", "mobilenetv3_large_100", "resnet18", "resnet10t")


def size_of(run: Path) -> tuple[float, float]:
    """Returns millions of parameters, and billions of multiplications for one picture."""
    network = load_network(run)[0].eval()
    side = network.architecture.image_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    return sum(each.numel() for each in network.parameters()) / 1e6, counter.get_total_flops() / 2e9


def pictures_of(run: Path) -> float:
    """Returns the number of pictures that a run was trained on, in thousands."""
    header, *lines = (run / "history.csv").read_text().splitlines()
    rows = [dict(zip(header.split(","), map(float, line.split(",")), strict=True)) for line in lines]
    return sum(row["seconds"] * row["pictures_per_second"] for row in rows) / 1e3


def main() -> None:
    """Trains missing encoders, measures all, and prints a table."""
    parser = argparse.ArgumentParser(description="Accuracy of each backbone after the same training time")
    parser.add_argument("lfw", type=Path, help="folder with images/, pairsDevTrain.txt and pairsDevTest.txt")
    parser.add_argument("faces", type=Path, help="folder of labeled prepared faces")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for runs and embeddings")
    parser.add_argument("--budget", default="20m", help="time for each run (default: 20m)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default: 0 1 2)")
    parser.add_argument("--only", nargs="+", default=list(BACKBONES), help="backbones to train (default: five)")
    parser.add_argument("--batch-size", type=int, default=128, help="pictures per batch (default: 128)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    crops = options.out / "lfw-faces"
    if not (crops / "faceclr.json").exists():
        faceclr("prepare", options.lfw / "images", "-o", crops, "--quiet")
    print(f"{'':24}   M weights  G mult.  k pictures  accuracy (sd)       AUC")
    for backbone in options.only:
        found, pictures = [], []
        for seed in options.seeds:
            name = f"{backbone}-{seed}"
            run = options.out / name
            if not (run / "encoder").exists():
                common = ["--time-budget", options.budget, "--seed", seed, "--batch-size", options.batch_size]
                faceclr("train-center", options.faces, "-o", run, "--backbone", backbone, *common)
            found.append(measure(embedded(crops, name, str(run), options.out), options.lfw))
            pictures.append(pictures_of(run))
        weights, products = size_of(options.out / f"{backbone}-{options.seeds[0]}")
        accuracies = [each["accuracy"] for each in found]
        spread = stdev(accuracies) if len(accuracies) > 1 else 0.0
        print(
            f"{backbone:24}{weights:12.1f}{products:9.2f}{mean(pictures):12.1f}{mean(accuracies):10.3f} ({spread:.3f})"
            f"{mean(each['auc'] for each in found):10.3f}",
            flush=True,
        )
        print(json.dumps({"backbone": backbone, "seeds": found, "thousands": pictures}), file=sys.stderr)


if __name__ == "__main__":
    main()
