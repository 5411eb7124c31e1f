"""Small folders of synthetic faces, and short trainings on them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lightning_fabric import Fabric

from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.events import Event, Reporter
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.training import run_worker as work
from faceclr_cli.core.training.checkpoint import TrainingState
from faceclr_cli.core.training.loop import TrainingContext
from faceclr_cli.core.training.run_folder import RunFolder
from faceclr_cli.core.training.run_worker import RunOutcome, TrainingJob
from faceclr_cli.core.training.stop_signals import StopRequest
from faceclr_cli.core.training.trainers import TrainResult
from faceclr_cli.core.training.trainers import train as run

SIZE = 32
FINGERPRINT = Fingerprint(
    detector="none", detector_digest="0" * 16, template="toy", size=SIZE, interpolation="none", padding="none"
)
_WORK = work.run_worker  # Tests put `spied` in its place.
SMALL = {"backbone": "test_convnext", "image_size": SIZE, "embedding_dim": 32, "batch_size": 16, "precision": "32"}


class Heard:
    """A reporter that records events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def make_faces(
    root: Path, people: int, pictures: int, *, first: int = 0, template: str = "toy", shift: int = 8
) -> Path:
    """Each person is a pattern of coarse colors; pictures differ in light, in place by `shift` pixels, and in noise."""
    for person in range(first, first + people):
        rng = np.random.default_rng(person)
        pattern = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        face = cv2.resize(pattern, (SIZE + 8, SIZE + 8), interpolation=cv2.INTER_CUBIC).astype(float)
        folder = root / f"person_{person:03d}"
        folder.mkdir(parents=True)
        for number in range(pictures):
            x, y = rng.integers(0, shift, 2)
            picture = face[y : y + SIZE, x : x + SIZE] + rng.normal(0, 25) + rng.normal(0, 12, (SIZE, SIZE, 3))
            cv2.imwrite(str(folder / f"{number}.png"), picture.clip(0, 255).astype(np.uint8))
    describe_faces(root, template)
    return root


def describe_faces(root: Path, template: str = "toy", size: int = SIZE) -> None:
    fingerprint = replace(FINGERPRINT, template=template, size=size)
    (root / "faceclr.json").write_text(json.dumps({"kind": "faces", "fingerprint": fingerprint.to_json()}))


def make_split(root: Path, people: int = 8, pictures: int = 8, *, shift: int = 8) -> Path:
    """A train part and a val part; returns the first."""
    make_faces(root / "val", 5, 4, first=100)
    (root / "split.json").write_text("{}")
    return make_faces(root / "train", people, pictures, shift=shift)


def pretrain(data: Path, out: Path, reporter: Heard | None = None, **options: Any) -> TrainResult:
    return run(PretrainConfig(data=(data,), out=out, **{**SMALL, **options}), reporter or Heard())


def weights(run_folder: Path) -> str:
    return digest_file(run_folder / "encoder" / "weights.safetensors")


class Loud:
    """A reporter for another process to listen to."""

    def report(self, event: Event) -> None:
        sys.stdout.write(f"{event}\n")
        sys.stdout.flush()


def train_elsewhere(split: Path, out: Path, **options: Any) -> subprocess.Popen[str]:
    """Runs the same training in a separate process, which leads a process group."""
    program = (
        "import sys, json, torch; from pathlib import Path; from tests.core.training.toy import *\n"
        "torch.set_num_threads(1)\n"
        "pretrain(Path(sys.argv[1]), Path(sys.argv[2]), Loud(), **json.loads(sys.argv[3]))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(split), str(out), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )


def wait_for_step(process: subprocess.Popen[str], steps: int) -> None:
    """Waits until the process has trained for some steps."""
    assert process.stdout is not None
    for line in process.stdout:
        steps -= line.startswith("TaskAdvanced") and "task='epoch" in line
        if steps <= 0:
            return
    raise AssertionError(process.communicate()[1])


def spied(fabric: Fabric, stop: StopRequest, job: TrainingJob, reporter: Reporter) -> RunOutcome:
    """The work of a process, which also records a digest of its final weights."""
    fit = work.fit

    def spying(context: TrainingContext, state: TrainingState, record: RunFolder) -> Iterator[Event]:
        yield from fit(context, state, record)
        digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in context.task.parameters()))
        (job.out.parent / f"rank_{fabric.global_rank}").write_text(digest.hexdigest())

    work.fit = spying
    return _WORK(fabric, stop, job, reporter)
