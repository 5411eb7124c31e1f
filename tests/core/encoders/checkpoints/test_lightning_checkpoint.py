"""Checkpoints of Lightning hold hyperparameters, callbacks, loops and optimizers beside the weights."""

from __future__ import annotations

import argparse
import datetime
import enum
import functools
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from faceclr_cli.core.encoders.checkpoints.foreign_network import load_checkpoint_network
from faceclr_cli.core.errors import ModelError
from tests.core.encoders.checkpoints import foreign_modules
from tests.core.encoders.face_networks import functional

MISSING = "pytorch_lightning is not installed"


class Margin(enum.Enum):
    COSINE = 1


class Loss:
    def __init__(self) -> None:
        self.scale = torch.tensor(64.0)
        self.reduce = functools.partial(torch.mean, dim=0)


def hyperparameters() -> dict[str, Any]:
    return {
        "args": argparse.Namespace(arch="test_resnet", out=Path("runs"), started=datetime.datetime(2024, 1, 1)),
        "margin": Margin.COSINE,
        "loss": Loss(),
        "optimizer": torch.optim.SGD,
        "counts": defaultdict(int, a=1),
        "sizes": {32, 64},
        "dtype": torch.float16,
        "device": torch.device("cpu"),
    }


class EarlyStopping:
    """The state of a Lightning callback."""


def build_model() -> torch.nn.Module:
    return foreign_modules.draw(timm.create_model("test_resnet", num_classes=0))


def train_with_lightning(folder: Path) -> tuple[Path, torch.nn.Module]:
    """A run of one step by Lightning itself."""
    lightning = pytest.importorskip("pytorch_lightning", reason=MISSING)

    class Module(lightning.LightningModule):
        def __init__(self, **options: Any) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = build_model()
            self.head = torch.nn.Linear(self.model.num_features, 3)

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            return self.head(self.model(batch[0])).square().mean()

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters())
            return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, functools.partial(max, 1))]

    module = Module(**hyperparameters())
    callbacks = [
        lightning.callbacks.ModelCheckpoint(folder, filename="last", every_n_train_steps=1),
        lightning.callbacks.Timer(),
    ]
    trainer = lightning.Trainer(
        max_steps=1, callbacks=callbacks, accelerator="cpu", logger=False, default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(4, 3, 64, 64)), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, data)
    return folder / "last.ckpt", module.model.eval()


def imitate_lightning(folder: Path) -> tuple[Path, torch.nn.Module]:
    """The structure of such a file, with classes of this test."""
    model = build_model()
    callback = EarlyStopping()
    content = {
        "epoch": 1,
        "global_step": 1,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {
            **{f"model.{name}": value for name, value in model.state_dict().items()},
            "head.weight": torch.zeros(3, model.num_features),
            "head.bias": torch.zeros(3),
        },
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 1}}}},
        "callbacks": {"EarlyStopping{'monitor': 'x'}": {"best": torch.tensor(0.5), "callback": callback}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [{"lr_lambdas": [None], "base_lrs": [0.1]}],
        "hparams_name": "kwargs",
        "hyper_parameters": hyperparameters(),
    }
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt", model


@pytest.mark.parametrize("write", [train_with_lightning, imitate_lightning])
def test_the_weights_of_a_run_are_found(write: Any, tmp_path: Path) -> None:
    path, model = write(tmp_path)
    # torch itself refuses the content.
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)
    foreign = load_checkpoint_network(path, "test_resnet", image_size=64)
    pictures = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        functional.assert_same(foreign.network(pictures), model(pictures))
    assert any("left out" in text and "head.weight" in text for text in foreign.notices)


def test_a_run_of_another_network_names_the_keys(tmp_path: Path) -> None:
    path, _ = imitate_lightning(tmp_path)
    with pytest.raises(ModelError, match="not the weights of test_convnext: "):
        load_checkpoint_network(path, "test_convnext")
