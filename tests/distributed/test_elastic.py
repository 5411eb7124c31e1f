"""A run continued by another number of processes sees the same batches, for every task and mining."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import Mining, TripletConfig
from faceclr_cli.core.errors import TerminatedRunError
from faceclr_cli.core.events import Event, TaskAdvanced
from faceclr_cli.core.training.trainers import train as run
from tests.core.training.toy import SMALL, Heard, make_split

pytestmark = pytest.mark.slow

BATCH = 16
"""Five triplets, which two processes cannot share evenly, and eight people with two pictures each."""

# Without batch norm, the number of processes changes only the order of sums.
CASES: dict[str, TrainConfig] = {
    "simclr": PretrainConfig(method="simclr"),
    "weighted": PretrainConfig(method="simclr", weights="1"),
    "moco": PretrainConfig(method="moco", batch_size=BATCH, queue=60),
    **{mining: TripletConfig(mining=mining, batch_size=BATCH, pictures=2, candidates=4) for mining in get_args(Mining)},
    "cosface": CenterConfig(),
    "sampled": CenterConfig(head="adaface", sample_classes=0.5),
    "unfrozen": CenterConfig(head="softmax", freeze="backbone", unfreeze_after=1),
}


class Stopper(Heard):
    """Stops the run at the second step of the second epoch."""

    def report(self, event: Event) -> None:
        super().report(event)
        steps = [each for each in self.of(TaskAdvanced) if each.task.startswith("epoch 2/")]
        if isinstance(event, TaskAdvanced) and len(steps) == 2 and event is steps[-1]:
            os.kill(os.getpid(), signal.SIGTERM)


def history(folder: Path) -> list[dict[str, float]]:
    """Returns the columns that do not contain times."""
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("seconds", "pictures_per_second")
    return [{name: float(value) for name, value in row.items() if name not in timed} for row in rows]


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, preloaded_processes: None) -> Iterator[Path]:
    """Eight people with eight pictures each: four batches, or twelve of triplets and a rest."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield make_split(tmp_path_factory.mktemp("split"))
    torch.set_num_threads(threads)


_EVERY_DAY = ("simclr", "random-then-hard", "bank", "cosface")


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
@pytest.mark.parametrize(
    "name", [name if name in _EVERY_DAY else pytest.param(name, marks=pytest.mark.nightly) for name in CASES]
)
def test_other_processes_continue_a_run_with_the_same_batches(
    name: str, before: int, after: int, split: Path, tmp_path: Path
) -> None:
    def train(out: str, reporter: Heard, **options: Any) -> list[dict[str, float]]:
        changed: Any = {**SMALL, "batch_size": BATCH, "epochs": 3, "lr": 0.01, **options}
        run(replace(CASES[name], data=(split,), out=tmp_path / out, **changed), reporter)
        return history(tmp_path / out)

    whole = train("whole", Heard())
    with pytest.raises(TerminatedRunError):
        train("parts", Stopper(), processes=before)
    parts = train("parts", Heard(), processes=after, resume="yes", elastic=True)
    assert parts == [pytest.approx(row, rel=0.02, abs=0.02) for row in whole]
