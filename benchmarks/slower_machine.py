"""Trains on a GPU for the number of pictures that a slower machine trains on in the same time.

    python benchmarks/slower_machine.py rates FACES --backbones resnet18 iresnet18
    python benchmarks/slower_machine.py train FACES -o RUN --backbone resnet18 --rate 90 --budget 20m --seed 0

`rates` runs a few steps of `train-center` in float32 on one core and prints the pictures per second of CPU time, which
depends on other programs less than wall time does. `train` runs `train-center` with a time budget and a clock that
advances by 1 / RATE seconds for each picture, so the learning rate, the margin and the end of the run are those of a
machine with this rate. Neither counts validation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.events import Silent
from faceclr_cli.core.training import loop
from faceclr_cli.core.training.schedule import Clock, Schedule
from faceclr_cli.core.training.trainers import train_center
from faceclr_cli.core.workers.process import claim_process

_UNCOUNTED = 2
"""Steps before the measured ones, which also prepare memory and kernels."""

Advance = Callable[[int, float], float]
"""Maps the pictures and the CPU time of a step to the seconds that it takes on the slower machine."""


class StepClock(Clock):
    """A clock that only advances with steps of training."""

    elapsed = 0.0

    def now(self) -> float:
        """Returns the elapsed seconds of the slower machine."""
        return StepClock.elapsed


@contextmanager
def replace_clock(advance: Advance) -> Iterator[None]:
    """Makes the training loop use the clock of another machine, and read it after every step."""
    original = loop.train_on_batch
    StepClock.elapsed = 0.0

    def step(
        context: loop.TrainingContext,
        schedule: Schedule,
        clock: Clock,
        number: int,
        crops: Tensor,
        batch: NDArray[np.int64],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        began = time.process_time()
        found = original(context, schedule, clock, number, crops, batch)
        StepClock.elapsed += advance(len(batch), time.process_time() - began)
        return found

    with (
        patch.object(loop, "train_on_batch", step),
        patch.object(loop, "Clock", StepClock),
        patch.object(loop, "_LOOK_EVERY", 1),
    ):
        yield


def measure_rate(faces: Path, backbone: str, image_size: int, steps: int, batch_size: int) -> float:
    """Returns the median of the pictures per second of CPU time of training steps on one core."""
    torch.set_num_threads(1)
    rates: list[float] = []

    def advance(pictures: int, seconds: float) -> float:
        rates.append(pictures / seconds)
        return 1.0

    with tempfile.TemporaryDirectory() as folder, replace_clock(advance):
        config = CenterConfig(
            data=(faces,),
            out=Path(folder) / "run",
            backbone=backbone,
            image_size=image_size,
            time_budget=f"{_UNCOUNTED + steps}s",
            batch_size=batch_size,
            hold_out=0.0,
            pixels="streamed",
            device="cpu",
            precision="32",
        )
        train_center(config, Silent())
    return float(np.median(rates[_UNCOUNTED:]))


def train_at_rate(faces: Path, run: Path, backbone: str, image_size: int, rate: float, budget: str, seed: int) -> None:
    """Runs `train-center` for the pictures that a machine of this rate trains on in the time budget."""
    config = CenterConfig(
        data=(faces,), out=run, backbone=backbone, image_size=image_size, time_budget=budget, seed=seed
    )
    with replace_clock(lambda pictures, _: pictures / rate):
        train_center(config, Silent())


def main() -> None:
    """Measures rates, or trains at a rate."""
    claim_process()  # as the commands do, whose memory allocator is faster
    parser = argparse.ArgumentParser(description="Train for the pictures of a slower machine")
    commands = parser.add_subparsers(dest="command", required=True)
    rates = commands.add_parser("rates", help="print the pictures per second of backbones on one core")
    rates.add_argument("faces", type=Path, help="folder of labeled prepared faces")
    rates.add_argument("--backbones", nargs="+", required=True, help="backbones to measure")
    rates.add_argument("--steps", type=int, default=5, help="measured steps (default: 5)")
    rates.add_argument("--batch-size", type=int, default=32, help="pictures per step (default: 32)")
    train = commands.add_parser("train", help="run train-center at a given rate")
    train.add_argument("faces", type=Path, help="folder of labeled prepared faces")
    train.add_argument("-o", "--out", type=Path, required=True, help="run folder")
    train.add_argument("--backbone", default="resnet18", help="backbone (default: resnet18)")
    train.add_argument("--rate", type=float, required=True, help="pictures per second of the slower machine")
    train.add_argument("--budget", default="20m", help="time on the slower machine (default: 20m)")
    train.add_argument("--seed", type=int, default=0, help="seed (default: 0)")
    for command in (rates, train):
        command.add_argument("--image-size", type=int, default=112, help="side of the pictures (default: 112)")
    options = parser.parse_args()
    if options.command == "rates":
        for backbone in options.backbones:
            rate = measure_rate(options.faces, backbone, options.image_size, options.steps, options.batch_size)
            print(f"{backbone:24}{rate:8.1f}", flush=True)
    else:
        train_at_rate(
            options.faces,
            options.out,
            options.backbone,
            options.image_size,
            options.rate,
            options.budget,
            options.seed,
        )


if __name__ == "__main__":
    main()
