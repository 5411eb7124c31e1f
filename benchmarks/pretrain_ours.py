"""Measurements of `pretrain.py` in the environment of faceclr: the ceiling, the whole training, and the views alone."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import count, repeat
from pathlib import Path

import torch
from pretrain_step import EMBEDDING, LAYERS, PROJECTION, TEMPERATURE, Step, finished, options_of_part, rate
from torch.utils.flop_counter import FlopCounterMode

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.datasets.joined_faces import join
from faceclr_cli.core.datasets.packed_faces import open_packed
from faceclr_cli.core.datasets.samplers import shuffled_batches
from faceclr_cli.core.events import Event, Silent, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.training.contrastive_task import build_views
from faceclr_cli.core.training.trainers import train
from faceclr_cli.core.workers.memory import NETWORK, keep_memory


def ceiling(options: argparse.Namespace) -> dict[str, float]:
    """Measures training steps on existing views, with the memory settings of `faceclr pretrain`."""
    keep_memory(*NETWORK)
    step = Step(options)
    views = torch.rand(2 * options.batch, 3, options.size, options.size, device=options.device) * 2 - 1
    views = views.contiguous(memory_format=torch.channels_last)
    figures = {"rate": rate(map(step, repeat(views)), options, skip=options.skip, steps=options.steps)}
    if options.device == "cuda":
        with FlopCounterMode(display=False) as counter:
            step.gradients(views)
        figures |= {"operations": counter.get_total_flops() / options.batch, "matrix_rate": matrix_rate()}
    return figures


def matrix_rate() -> float:
    """Measures the operations per second of the GPU for bf16 products of 8192 x 8192, for about a second."""
    left, right = torch.randn(2, 8192, 8192, device="cuda", dtype=torch.bfloat16)
    products, began = 0, 0.0
    while products < 20 or time.perf_counter() - began < 1:
        for _ in range(10):
            left @ right
        finished("cuda")
        # The first ten warm the card up.
        products, began = (products + 10, began) if began else (0, time.perf_counter())
    return 2 * 8192**3 * products / (time.perf_counter() - began)


class Watch:
    """Reporter that measures the time of the training steps after warm-up, without the time between epochs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._done = self._before = self._counted = 0
        self._began = self.seconds = 0.0
        self.memory: list[dict[str, float]] = []

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return self._counted / self.seconds

    def report(self, event: Event) -> None:
        """Handles the progress events of epochs."""
        if not isinstance(event, TaskStarted | TaskAdvanced | TaskFinished) or not event.task.startswith("epoch"):
            return
        batch, counts = self._options.batch, self._done >= self._options.skip
        if isinstance(event, TaskStarted):
            self._before = self._done
            self._began = self._time() if counts else 0.0
        elif isinstance(event, TaskAdvanced):
            self._done = self._before + event.done // batch
            if self._done == self._options.skip:
                self._began = self._time()
            if self._done in (max(1, self._options.total // 4), self._options.total):
                self.memory.append(resident())
        elif counts:
            first = max(self._before, self._options.skip)
            self._counted += (self._done - first) * batch
            self.seconds += self._time() - self._began

    def _time(self) -> float:
        finished(self._options.device)
        return time.perf_counter()


def ours(options: argparse.Namespace) -> dict[str, float]:
    """Measures `faceclr pretrain`, from the folder of faces to the encoder."""
    watch = Watch(options)
    with tempfile.TemporaryDirectory() as folder:
        train(
            PretrainConfig(
                data=(options.faces,),
                out=Path(folder) / "run",
                hold_out=0.0,
                backbone=options.backbone,
                image_size=options.size,
                embedding_dim=EMBEDDING,
                projection_dim=PROJECTION,
                head=str(LAYERS),  # type: ignore[arg-type]
                temperature=TEMPERATURE,
                augment=options.augment,
                batch_size=options.batch,
                epochs=options.epochs,
                device=options.device,
                precision=options.precision,
            ),
            watch,
        )
    early, late = watch.memory
    return {"rate": watch.rate, **{f"{name}_early": x for name, x in early.items()}, **late}


def resident() -> dict[str, float]:
    """Returns the resident memory of this process and its file-backed part, in MiB."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    sizes = {line[0]: int(line[1]) / 1024 for line in lines if line[-1] == "kB"}
    return {"rss": sizes["VmRSS:"], "files": sizes["RssFile:"]}


def views(options: argparse.Namespace) -> dict[str, float]:
    """Measures gathering batches from the packed file and making two views of each picture."""
    keep_memory(*NETWORK)
    config = PretrainConfig(method="simclr", augment=options.augment)
    faces = join([(options.faces, open_packed(open_faces(options.faces), Silent()))])
    augment = build_views(config, options.size)

    def batches() -> Iterator[torch.Tensor]:
        for epoch in count():
            for batch in shuffled_batches(len(faces), options.batch, seed=0, epoch=epoch):
                crops = torch.from_numpy(faces.crops(batch)).to(options.device)
                yield augment(crops, torch.rand(len(batch), 2, augment.draws))

    return {"rate": rate(batches(), options, skip=options.skip, steps=4 * options.steps)}


PARTS = {"ceiling": ceiling, "faceclr": ours, "faceclr views": views}

if __name__ == "__main__":
    chosen = options_of_part()
    print(json.dumps(PARTS[chosen.part](chosen)))
