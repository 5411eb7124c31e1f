"""Measurements of `pretrain.py` in the environment of lightly: its input pipeline, alone and with the training step."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import torch
from lightly.data import LightlyDataset
from lightly.transforms import SimCLRTransform
from pretrain_step import Step, options_of_part, rate


def loaded(options: argparse.Namespace, batches: int) -> Iterator[torch.Tensor]:
    """Yields the views of lightly's input pipeline, on the device. Shape of each: (2 B, 3, size, size)."""
    dataset = LightlyDataset(input_dir=str(options.faces), transform=SimCLRTransform(input_size=options.size))
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=options.batch,
        # Shuffled, in one long epoch, so that workers neither restart nor run out of work during the measurement.
        sampler=torch.utils.data.RandomSampler(dataset, num_samples=(batches + 4 * options.workers) * options.batch),
        num_workers=options.workers,
        pin_memory=options.device == "cuda",
    )
    for (first, second), _, _ in loader:
        views = torch.cat([first, second]).to(options.device, non_blocking=True)
        yield views.contiguous(memory_format=torch.channels_last)


def trained(options: argparse.Namespace) -> dict[str, float]:
    """Measures the training step on lightly's views."""
    steps = map(Step(options), loaded(options, options.total))
    return {"rate": rate(steps, options, skip=options.skip, steps=options.steps)}


def alone(options: argparse.Namespace) -> dict[str, float]:
    """Measures lightly's views alone."""
    # The same number of batches for each worker, since workers finish at about the same time.
    workers = max(1, options.workers)
    skip, steps = 2 * workers, max(4, options.steps // workers) * workers
    return {"rate": rate(loaded(options, skip + steps), options, skip=skip, steps=steps)}


PARTS = {"lightly": trained, "lightly views": alone}

if __name__ == "__main__":
    chosen = options_of_part()
    print(json.dumps(PARTS[chosen.part](chosen)))
