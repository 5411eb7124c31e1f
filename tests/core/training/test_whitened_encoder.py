"""The encoder that pretrain writes has whitened embeddings, which do not affect its training."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.encoders.network import EncoderNetwork, normalize_pixels
from faceclr_cli.core.metrics.whitening import fit_whitening
from tests.core.training.toy import SIZE, pretrain

# With more epochs, the k-NN accuracy of the result would decide which of them is kept.
OPTIONS = {"epochs": 1, "augment": "simclr", "backbone": "test_resnet"}


def network_of(run: Path) -> EncoderNetwork:
    return load_network(run)[0].eval()


@torch.no_grad()
def embedded(run: Path, pictures: torch.Tensor) -> np.ndarray:
    return np.asarray(network_of(run)(pictures).double().numpy())


def losses(run: Path) -> list[str]:
    with open(run / "history.csv", newline="") as file:
        return [row["loss"] for row in csv.DictReader(file)]


def crops(count: int = 200) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return normalize_pixels(torch.randint(0, 256, (count, SIZE, SIZE, 3), generator=generator).byte(), SIZE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, split: Path) -> Path:
    return pretrain(split, tmp_path_factory.mktemp("plain") / "run", whiten=0.0, **OPTIONS).run


def test_it_is_the_trained_encoder_and_a_linear_map(plain: Path, split: Path, tmp_path: Path) -> None:
    run = pretrain(split, tmp_path / "run", whiten=0.5, **OPTIONS).run
    assert losses(run) == losses(plain)
    assert network_of(run).architecture.head == "linear" and network_of(plain).architecture.head == "default"
    found, whitened = embedded(plain, crops()), embedded(run, crops())
    found, ones = found - found.mean(axis=0), whitened - whitened.mean(axis=0)
    mapped = np.linalg.lstsq(found, ones, rcond=None)[0]
    np.testing.assert_allclose(found @ mapped, ones, atol=1e-3 * np.abs(ones).max())


def test_the_map_is_that_of_the_training_pictures(plain: Path, split: Path, tmp_path: Path) -> None:
    run = pretrain(split, tmp_path / "run", whiten=0.3, hold_out=0.0, **OPTIONS).run
    pictures = np.stack([cv2.imread(str(path))[:, :, ::-1] for path in sorted(split.glob("*/*.png"))])
    found, own = (embedded(each, normalize_pixels(torch.from_numpy(pictures.copy()), SIZE)) for each in (plain, run))
    matrix, mean = fit_whitening(found, 0.3)
    np.testing.assert_allclose(own, (found - mean) @ matrix, atol=2e-3 * np.abs(own).max())


def test_an_encoder_that_training_starts_from_keeps_its_embedding_layer(
    plain: Path, split: Path, tmp_path: Path
) -> None:
    run = pretrain(split, tmp_path / "run", whiten=0.5, init=str(plain), **OPTIONS).run
    assert torch.equal(network_of(run).embedding.weight, network_of(plain).embedding.weight)
