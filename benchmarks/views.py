"""Preservation of a person's identity in the random views of `pretrain`.

    python benchmarks/views.py FACES

FACES is a folder of prepared faces. For each change that a view makes, alone and at its full strength, and for whole
recipes: the cosine similarity of a face and its view by `sface`, and the share of views that `sface` accepts as the
    same person at its usual threshold. That encoder was trained with labels; here it is only the judge.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.events import Silent
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.training.contrastive_task import build_views
from faceclr_cli.core.training.training_sets import open_face_folders
from faceclr_cli.core.views.augmentation import Views
from faceclr_cli.core.views.head_views import HeadViews

RECIPES: tuple[Literal["faces", "heads", "simclr"], ...] = ("faces", "heads", "simclr")


def all_views(size: int) -> dict[str, Views]:
    """Returns each change alone, at its full strength, and the recipes."""
    off = HeadViews(size=size, operations=0, magnitude=0, flip=0, turn=0, relight=0, cast=0, occlude=0, degrade=0)
    return {
        "turn": replace(off, turn=30),
        "relight": replace(off, relight=0.6),
        "cast": replace(off, cast=0.2),
        "occlude": replace(off, occlude=1),
        "degrade": replace(off, degrade=1),
        **{
            f"--augment {recipe}": build_views(PretrainConfig(method="simclr", augment=recipe), size)
            for recipe in RECIPES
        },
    }


def embed(encoder: Encoder, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Embeds crops one by one. Shapes: (N, S, S, 3) -> (N, D)."""
    return normalize_rows(np.concatenate([encoder.embed(crops[place : place + 1]) for place in range(len(crops))]))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description="How much of a person's identity is left in random views")
    parser.add_argument("faces", type=Path, help="folder of prepared faces")
    parser.add_argument("--count", type=int, default=100, help="number of faces, chosen at random (default: 100)")
    options = parser.parse_args()
    faces, encoder = open_face_folders([options.faces], Silent()), load_encoder("sface")
    chosen = np.random.default_rng(0).permutation(len(faces))[: options.count]
    crops = faces.crops(chosen)
    before, generator = embed(encoder, crops), torch.Generator().manual_seed(0)
    calibration = encoder.calibration
    threshold = 0.0 if calibration is None else calibration.default_point.threshold
    print(f"{'':16}  mean cosine  lowest 5%  at least {threshold:.2f}")
    for name, views in all_views(crops.shape[1]).items():
        drawn = torch.rand(len(crops), 1, views.draws, generator=generator)
        made = views(torch.from_numpy(crops), drawn).add(1).mul(127.5).round().clamp(0, 255).byte()
        after = embed(encoder, np.ascontiguousarray(made.permute(0, 2, 3, 1).numpy()))
        cosines = (before * after).sum(axis=1)
        low, share = np.quantile(cosines, 0.05), (cosines >= threshold).mean()
        print(f"{name:16}  {cosines.mean():11.3f}  {low:9.3f}  {share:12.0%}", flush=True)


if __name__ == "__main__":
    main()
