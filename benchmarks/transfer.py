"""Contrastive learning without labels compared with transfer learning, on a few people with many pictures.

    python benchmarks/transfer.py FACES -o runs

FACES is a folder of labeled prepared faces. The pictures of the people with the most pictures are split 80/10/10
(near-duplicates of a later part are left out of an earlier one). Encoders are computed and trained without labels on
other people (histograms, label-free) and on the first part (histograms-same, label-free-same), and trained with labels
on the first part, from scratch (center) and from the encoder label-free (center-init). A linear layer on the embeddings
of the first part then names the pictures of the last one. A run that was interrupted is continued, and existing results
in the output folder are reused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from fine_tuning import select
from linear_faces import most_pictured, others, parse, train
from recipe import faceclr

PARTS = ("train", "val", "test")


def probe(parts: Path, model: str, out: Path) -> dict[str, Any]:
    """Returns the row of linear-eval for an encoder, which is measured once."""
    if not out.exists():
        command = [sys.executable, "-m", "faceclr_cli", "linear-eval", "--model", model, "--json", "--quiet"]
        for part in PARTS:
            command += [f"--{part}", str(parts / part)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        out.write_text(found, encoding="utf-8")
    row: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))["rows"][0]
    return row


def share(value: float | None) -> str:
    """Formats a share; a dash if there are fewer people than ranks."""
    return "-" if value is None else f"{value:.1%}"


def main() -> None:
    """Trains missing encoders, measures all, and prints a table."""
    parser = argparse.ArgumentParser(description="Label-free and transfer learning on a few people")
    parser.add_argument("faces", type=Path, help="folder of labeled prepared faces")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for runs and results")
    parser.add_argument("--people", type=int, default=6, help="number of people (default: 6)")
    parser.add_argument("--label-free", help="encoder trained without labels on other people (default: train one)")
    options = parse(parser)
    out: Path = options.out
    people = most_pictured(options.faces, options.people)
    faces, parts = select(options.faces, out / "faces", people, None), out / "parts"
    shares = ("--train", "0.8", "--val", "0.1", "--test", "0.1")
    faceclr("split", faces, "-o", parts, "--by", "image", *shares, "--drop-duplicates", "--quiet")
    label_free = options.label_free or str(out / "label-free")
    strangers = others([options.faces], people, options.pictures, out / "others")
    commands: dict[str, list[str | Path]] = {
        "histograms": ["pretrain", "--method", "histograms", strangers],
        "histograms-same": ["pretrain", "--method", "histograms", parts / "train"],
        "label-free-same": ["pretrain", "--method", "simclr", parts / "train"],
        "center": ["train-center", parts / "train"],
        "center-init": ["train-center", parts / "train", "--init", label_free],
    }
    if options.label_free is None:
        commands = {"label-free": ["pretrain", "--method", "simclr", strangers], **commands}
    models = {"pixels": "pixels", "label-free": label_free, **{name: str(out / name) for name in commands}}
    models["sface"] = "sface"
    print(f"{len(people)} people: {', '.join(people)}")
    print(f"{'':18}{'top-1 (95% interval)':>24}{'top-3':>8}{'top-5':>8}", flush=True)
    for name, model in models.items():
        result = out / f"{name}.json"
        if name in commands and not result.exists():
            train(out / name, commands[name], options)
        row = probe(parts, model, result)
        low, high = row["intervals"]["top1"]
        interval = f"{share(row['top1'])} ({share(low)} to {share(high)})"
        print(f"{name:18}{interval:>24}{share(row['top3']):>8}{share(row['top5']):>8}", flush=True)


if __name__ == "__main__":
    main()
