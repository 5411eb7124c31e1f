"""Comparison of training in several processes with training in one."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.events import Silent

_PEOPLE, _PICTURES, _EPOCHS = 8, 8, 3
_TOLERANCE = 2e-3
"""Maximum relative difference of losses. Sums differ by rounding, which accumulates over steps."""

# A backbone without batch norm, whose statistics would differ between processes.
_OPTIONS = ["--backbone", "test_convnext", "--image-size", "32", "--embedding-dim", "32", "--batch-size", "16"]


def compare_processes() -> str:
    """Trains on drawn people in one process and in several, and compares the losses.

    Uses one process for each GPU if there are two or more, otherwise two processes on the CPU.

    Returns:
        A description of the result.

    Raises:
        ModelError: A command failed, or the losses differ.
    """
    import torch

    from faceclr_cli.core.drawn.portraits import write_people

    gpus = torch.cuda.device_count()
    several, option = (gpus, "--gpus") if gpus > 1 else (2, "--processes")
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_people(folder / "people", _PEOPLE, _PICTURES, 0, Silent())
        _faceclr(folder, "prepare", "people", "-o", "faces")
        for name, processes in (("one", 1), ("several", several)):
            line = ["pretrain", "faces", "-o", name, "--epochs", str(_EPOCHS), "--hold-out", "0", *_OPTIONS]
            _faceclr(folder, *line, option, str(processes), *(["--device", "cpu"] if option == "--processes" else []))
        one, others = (_losses(folder / name / "history.csv") for name in ("one", "several"))
    pairs = list(zip(one, others, strict=True))
    apart = max(abs(a - b) / abs(a) if math.isfinite(a) and math.isfinite(b) else math.inf for a, b in pairs)
    what = f"{several} processes on {'GPUs' if option == '--gpus' else 'the CPU'}"
    if not apart <= _TOLERANCE:
        raise ModelError(f"{what} do not agree with one: the relative difference of their losses is {apart:.2g}")
    apart = max(apart, 1e-6)  # The precision of history.csv.
    return f"{what} agree with one: in {_EPOCHS} epochs, the relative difference of losses is at most {apart:.1g}"


def _faceclr(folder: Path, *arguments: str) -> None:
    """Runs a command with a separate cache, so that real packed faces are not evicted."""
    environment = {**os.environ, "FACECLR_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "faceclr_cli", *arguments, "--quiet"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(f"faceclr {arguments[0]} failed: {done.stderr.strip()[-500:]}")


def _losses(history: Path) -> list[float]:
    with open(history, newline="", encoding="ascii") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]
