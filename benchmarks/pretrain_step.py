"""The pretraining step that `pretrain.py` measures alone and with both input pipelines.

It imports only packages of lightly's virtual environment: torch, timm, and modules of faceclr that need only these.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.heads import projection_head
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.losses.nt_xent import NTXent
from faceclr_cli.core.training.optimizer import build_optimizer

EMBEDDING, PROJECTION, LAYERS, TEMPERATURE = 512, 128, 1, 0.1
"""The defaults of `faceclr pretrain --method simclr`."""


class Step:
    """The network, head, NT-Xent loss and AdamW optimizer of `faceclr pretrain`.

    Args:
        options: Options of the benchmark.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        architecture = Architecture(backbone=options.backbone, embedding_dim=EMBEDDING, image_size=options.size)
        head = projection_head(EMBEDDING, PROJECTION, LAYERS)
        encoder = EncoderNetwork(architecture)
        encoder.embedding.requires_grad_(False)
        self.module = torch.nn.Sequential(encoder, head).to(options.device).train()
        self.module.to(memory_format=torch.channels_last)
        self.loss = NTXent(TEMPERATURE)
        self.optimizer = build_optimizer(self.module, "adamw", lr=1e-4, weight_decay=0.05)
        self._autocast = torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16")

    def gradients(self, views: Tensor) -> None:
        """Runs forward and backward. Views: all first views, then all second views, shape (2 B, 3, size, size)."""
        with self._autocast:
            loss, _ = self.loss(*self.module(views).chunk(2))
        loss.backward()

    def __call__(self, views: Tensor) -> None:
        """Runs one optimizer step."""
        self.gradients(views)
        self.optimizer.step()
        self.optimizer.zero_grad()


def rate(batches: Iterable[object], options: argparse.Namespace, *, skip: int, steps: int) -> float:
    """Returns the pictures per second of `steps` batches after the first `skip`; the iterator does the work."""
    began = 0.0
    for number, _ in enumerate(batches, start=1):
        if number in (skip, skip + steps):
            finished(options.device)
            now = time.perf_counter()
            if number > skip:
                return float(steps * options.batch / (now - began))
            began = now
    raise RuntimeError(f"{skip + steps} batches were expected")


def finished(device: str) -> None:
    """Waits for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def options_of_part() -> argparse.Namespace:
    """Parses the arguments that `pretrain.py` passes to this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part")
    parser.add_argument("options", type=json.loads)
    arguments = parser.parse_args()
    options = argparse.Namespace(part=arguments.part, **arguments.options)
    options.faces = Path(options.faces)
    return options
