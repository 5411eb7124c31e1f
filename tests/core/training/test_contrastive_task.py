"""Training without labels, on small faces."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.training.contrastive_task import MoCoTask, SimCLRTask
from faceclr_cli.core.training.task import random_uniform
from tests.core.training.toy import SIZE, make_faces, pretrain


def losses(run: Path) -> list[float]:
    with open(run / "history.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.5, "head": "2"},
        {"temperature": 0.07, "head": "3"},
        {"loss": "dcl", "pool": "mean"},
        {"head": "none", "accumulate": 2},
        {"augment": "faces"},
        {"margin": 0.1, "temperature": 0.2},
        {"optimizer": "sgd", "lr": 0.3},
        {"optimizer": "lars", "lr": 2.0},
        pytest.param(
            {"precision": "bf16"},
            marks=pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no bf16 here"),
        ),
        {"method": "moco", "queue": 32, "epochs": 10},
        {"method": "moco", "queue": 40, "loss": "dcl", "epochs": 10},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_every_recipe_learns(options: dict[str, Any], split: Path, tmp_path: Path) -> None:
    result = pretrain(split, tmp_path / "run", **{"augment": "simclr", "epochs": 8, "lr": 3e-3, **options})
    course = losses(result.run)
    # The first epochs of moco have few negatives, and therefore a small loss.
    begun = max(course[:4])
    assert course[-1] < begun - 0.2 * abs(begun)
    assert result.metrics["top1"] > 0.2  # By chance 1 of 31.


@pytest.mark.nightly
def test_a_compiled_backbone_learns_the_same(split: Path, tmp_path: Path) -> None:
    plain = pretrain(split, tmp_path / "plain", epochs=2)
    compiled = pretrain(split, tmp_path / "compiled", epochs=2, compile=True)
    assert losses(compiled.run) == pytest.approx(losses(plain.run), rel=1e-3)


def network() -> EncoderNetwork:
    torch.manual_seed(0)
    return EncoderNetwork(Architecture(backbone="test_resnet", embedding_dim=16, image_size=SIZE))


def batch(task: SimCLRTask | MoCoTask, count: int, first: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(first)
    crops = torch.randint(0, 256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    chance = random_uniform(count, 2, task.augment.draws, generator)
    return crops, torch.full((count,), -1), torch.arange(first, first + count), chance


def test_the_key_encoder_is_a_moving_average_without_gradients() -> None:
    task = MoCoTask(PretrainConfig(method="moco", queue=8, batch_size=4), network(), np.zeros(16, np.int64)).train()
    assert not task.key_encoder.training
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.1)
    name = "backbone.conv1.0.weight"
    key, query = dict(task.key_encoder[0].named_parameters())[name], dict(task.encoder.named_parameters())[name]
    expected = key.detach().clone()
    for step in range(4):
        momentum = (1 + step) / (10 + step)
        expected = momentum * expected + (1 - momentum) * query.detach()
        loss, _ = task(*batch(task, 4, first=4 * step))
        torch.testing.assert_close(key.detach(), expected)
        loss.backward()
        assert key.grad is None
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.equal(key, query)


def test_momentum_rises_to_the_configured_value() -> None:
    task = MoCoTask(
        PretrainConfig(method="moco", momentum=0.5, queue=8, batch_size=4), network(), np.zeros(8, np.int64)
    )
    task.steps.fill_(10**6)
    key, query = next(task.key_encoder.parameters()), next(task.encoder.parameters())
    with torch.no_grad():
        query.add_(1.0)
    before = key.detach().clone()
    task(*batch(task, 4))
    torch.testing.assert_close(key.detach(), before + 0.5)


@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_the_embedding_layer_stays_at_its_initialization(method: str, split: Path, tmp_path: Path) -> None:
    def layer(epochs: int) -> torch.Tensor:
        result = pretrain(split, tmp_path / str(epochs), method=method, queue=32, epochs=epochs)
        return load_network(result.encoder)[0].embedding.weight

    assert torch.equal(layer(0), layer(1))


def test_the_head_of_a_face_network_stays_too(split: Path, tmp_path: Path) -> None:
    def heads(epochs: int) -> dict[str, torch.Tensor]:
        result = pretrain(split, tmp_path / str(epochs), backbone="mobilefacenet", epochs=epochs)
        return load_network(result.encoder)[0].embedding.state_dict()

    before, after = heads(0), heads(1)
    assert {"1.weight", "1.running_mean"} < before.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


@pytest.mark.parametrize(("loss", "margin"), [("nt-xent", 0.0), ("nt-xent", 0.05), ("nt-xent", 0.4), ("dcl", 0.0)])
@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_the_collapsed_loss_is_the_loss_of_a_constant_encoder(loss: str, margin: float, method: str) -> None:
    config = PretrainConfig(
        method=method,
        loss=loss,
        margin=margin,
        head="none",
        queue=64,
        batch_size=8,  # type: ignore[arg-type]
    )
    task = (MoCoTask if method == "moco" else SimCLRTask)(config, network(), np.zeros(640, np.int64))
    for part in [task.encoder, *([task.key_encoder[0]] if isinstance(task, MoCoTask) else [])]:
        torch.nn.init.zeros_(part.embedding.weight)
    for number in range(20):  # Until the queue is full.
        value, _ = task(*batch(task, 8, first=8 * number))
    assert value.item() == pytest.approx(task.collapsed_loss(8), abs=0.02 if method == "moco" else 1e-5)
    if method == "simclr" and loss == "nt-xent" and not margin:
        assert task.collapsed_loss(8) == pytest.approx(math.log(15))


def test_a_margin_that_would_have_no_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="--margin has no effect with --loss dcl"):
        PretrainConfig(loss="dcl", margin=0.1)


def test_several_folders_are_mixed_by_their_shares(tmp_path: Path) -> None:
    small = make_faces(tmp_path / "small", 2, 8)
    large = make_faces(tmp_path / "large", 6, 8, first=10)
    config = PretrainConfig(
        data=(small, large), out=tmp_path / "run", weights="1,3", backbone="test_convnext", image_size=SIZE,
        embedding_dim=16, batch_size=16, epochs=2,
    )  # fmt: skip
    from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder
    from faceclr_cli.core.training.trainers import train as run
    from tests.core.training.toy import Heard

    result = run(config, Heard())
    card = load_encoder_folder(result.encoder).card
    assert (card.data, card.pictures) == ("small, large", 64)
    assert "small/person_000" in card.people and "large/person_010" in card.people


def test_a_folder_that_a_batch_would_hold_twice_is_refused(tmp_path: Path) -> None:
    small, large = make_faces(tmp_path / "small", 1, 4), make_faces(tmp_path / "large", 6, 8, first=10)
    config = PretrainConfig(
        data=(small, large), out=tmp_path / "run", method="simclr", weights="9,1", batch_size=16, image_size=SIZE
    )
    from faceclr_cli.core.training.trainers import train as run
    from tests.core.training.toy import Heard

    with pytest.raises(ConfigError, match="weight"):
        run(config, Heard())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("weights", ["1", "1,2,3", "1,x", "1,-1", "0,1", "1,inf"])
def test_invalid_shares_are_rejected(weights: str) -> None:
    with pytest.raises(ValueError, match="--weights"):
        PretrainConfig(data=(Path("a"), Path("b")), weights=weights)
