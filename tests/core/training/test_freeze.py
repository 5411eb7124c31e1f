"""Training with a frozen backbone."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import TerminatedRunError
from faceclr_cli.core.events import Notice
from faceclr_cli.core.training.trainers import train as run
from tests.core.training.test_resume import Stopper
from tests.core.training.toy import Heard, make_faces, weights

# There is no validation, so the last encoder is kept.
OPTIONS: dict[str, Any] = {
    "freeze": "backbone", "backbone": "test_resnet", "image_size": 32, "embedding_dim": 32, "batch_size": 8,
    "hold_out": 0.0, "lr": 0.01, "weight_decay": 0.1, "precision": "32",
}  # fmt: skip


OTHERS = ["adam", "rmsprop", "adagrad", "lars"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("faces") / "faces", 4, 8)


def train(faces: Path, out: Path, reporter: Heard | None = None, **options: Any) -> EncoderNetwork:
    config = CenterConfig(data=(faces,), out=out, **{**OPTIONS, **options})
    return load_network(run(config, reporter or Heard()).encoder)[0]


def changed(before: torch.nn.Module, after: torch.nn.Module) -> list[bool]:
    """Returns True for each weight and running average that changed."""
    former, latter = before.state_dict(), after.state_dict()
    return [not torch.equal(value, latter[name]) for name, value in former.items()]


@pytest.mark.parametrize(
    "optimizer", ["adamw", "sgd", *(pytest.param(name, marks=pytest.mark.nightly) for name in OTHERS)]
)
@pytest.mark.parametrize("after", [1, None])
def test_a_frozen_backbone_stays_as_it_was(optimizer: str, after: int | None, faces: Path, tmp_path: Path) -> None:
    # Otherwise, the steps of these two are so small that some are lost by rounding.
    options = {"optimizer": optimizer, "unfreeze_after": after, "lr": 1.0 if optimizer in ("sgd", "lars") else 0.01}
    before = train(faces, tmp_path / "before", epochs=0, **options)
    frozen = train(faces, tmp_path / "run", epochs=1, **options)
    assert not any(changed(before.backbone, frozen.backbone))
    assert any(changed(before.embedding, frozen.embedding))
    free = train(faces, tmp_path / "run", epochs=2, resume="yes", **options)
    assert all(changed(before.backbone, free.backbone)) if after else not any(changed(before.backbone, free.backbone))


def test_unfreezing_is_reported(faces: Path, tmp_path: Path) -> None:
    heard = Heard()
    train(faces, tmp_path / "run", heard, epochs=3, unfreeze_after=2)
    assert [n.text for n in heard.of(Notice) if "backbone is" in n.text] == [
        "epoch 3: the backbone is no longer frozen"
    ]


@pytest.mark.parametrize("step", [1, 4, 5])
def test_stopped_and_continued_is_bit_identical(step: int, faces: Path, tmp_path: Path) -> None:
    """Three epochs of four steps, stopped while the backbone is frozen, when it is unfrozen, and afterward."""
    options = {"epochs": 3, "unfreeze_after": 1}
    train(faces, tmp_path / "whole", **options)
    with pytest.raises(TerminatedRunError):
        train(faces, tmp_path / "run", Stopper(signal.SIGTERM, step), **options)
    train(faces, tmp_path / "run", resume="yes", **options)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
