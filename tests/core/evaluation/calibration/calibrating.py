"""Photographs of drawn people, an encoder for them, and helpers for tests of `faceclr calibrate`."""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path

import cv2
import numpy as np
import torch

from faceclr_cli.core.artifacts import stamp, write_json
from faceclr_cli.core.configs.calibrate import CalibrateConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings import embed
from faceclr_cli.core.embeddings.store import Store
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.encoders.encoder_folder import save_encoder
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.evaluation.calibration.calibrate import CalibrateResult
from faceclr_cli.core.evaluation.calibration.calibrate import calibrate as run
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.face_folder import DESCRIPTION

PEOPLE, EACH = 9, 4
"""Nine people are 36 pairs of people: enough for the interval of a FAR of 0.1, and for no lower one."""
GENUINE, IMPOSTOR = PEOPLE * 6, PEOPLE * (PEOPLE - 1) // 2 * EACH**2


def make_desk(desk: Path) -> Path:
    """Photographs of drawn people, their faces without loss, an encoder, and the faces embedded by it."""
    write_people(desk / "people", PEOPLE, EACH, 0, Silent())
    fingerprint = default_fingerprint(112)
    cropper = PhotoCropper(fingerprint)
    for path in (desk / "people").rglob("*.jpg"):
        target = (desk / "faces" / path.relative_to(desk / "people")).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cropper.crop_file(path).crop[..., ::-1])
    write_json(desk / "faces" / DESCRIPTION, {**stamp("faces", {}), "fingerprint": fingerprint.to_json()})
    torch.manual_seed(0)
    network = EncoderNetwork(Architecture(backbone="test_convnext", embedding_dim=8, image_size=32))
    card = Card(command="pretrain", config={"lr": 0.5}, data="train", pictures=3, people={"Zoë": 2, "Ann": 1})
    save_encoder(desk / "toy" / "encoder", network, fingerprint, card=card)
    embed.embed(EmbedConfig(faces=desk / "faces", model=str(desk / "toy"), out=desk / "faces.h5"), Silent())
    return desk


def calibrate(model: Path | str, **options: object) -> CalibrateResult:
    fields = {"model": str(model), "all_pairs": True, "rounds": 100}
    return run(CalibrateConfig(**{**fields, **options}), Silent())  # type: ignore[arg-type]


def listed(path: Path, names: tuple[str, ...], apart: int | None = None) -> tuple[Path, np.ndarray, np.ndarray]:
    """Writes pairs of pictures, named `folder/file`: all genuine pairs, and all or some impostor pairs.

    Returns:
        The file, the two places of each pair in the names, and whether it is genuine.
    """
    places = np.array(list(combinations(range(len(names)), 2)))
    people = np.array([name.split("/")[0] for name in names])
    same = people[places[:, 0]] == people[places[:, 1]]
    kept = np.concatenate([np.flatnonzero(same), np.flatnonzero(~same)[:apart]])
    lines = [f"{names[a]},{names[b]},{genuine:d}\n" for (a, b), genuine in zip(places[kept], same[kept], strict=True)]
    path.write_text("".join(lines))
    return path, places[kept], same[kept]


def photographs(store: Store) -> tuple[str, ...]:
    """The source photographs of the faces of the store."""
    return tuple(name.replace(".png", ".jpg") for name in store.paths)


def numbers(result: CalibrateResult) -> list[float]:
    """All measurements in one row."""
    assert result.calibration.probability is not None
    points = [
        [number for number in (p.far, p.threshold, p.tar, p.low, p.high) if number is not None]
        for p in result.calibration.points
    ]
    return [*chain.from_iterable(points), result.calibration.probability.slope, result.calibration.probability.offset]
