"""Training on two processes of this machine."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.errors import ConfigError, DataError, FaceclrError, ModelError, TerminatedRunError
from faceclr_cli.core.events import EpochFinished, Event, Notice, TaskAdvanced, TaskStarted
from faceclr_cli.core.training import run_worker as work_module
from faceclr_cli.core.training.launch import launch
from faceclr_cli.core.training.machine import find_machine
from faceclr_cli.core.training.trainers import train
from tests.core.training.failing import failing
from tests.core.training.toy import Heard, make_split, pretrain, spied, train_elsewhere, wait_for_step, weights

pytestmark = pytest.mark.slow

OPTIONS = {"epochs": 2, "processes": 2, "backbone": "test_resnet"}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split(tmp_path_factory.mktemp("split"))


class Stopper(Heard):
    """Stops the run after a number of steps, as a service manager would."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def report(self, event: Event) -> None:
        super().report(event)
        if isinstance(event, TaskAdvanced) and event.task.startswith("epoch"):
            self._steps -= 1
            if self._steps == 0:
                os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def trained(preloaded_processes: None, split: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Heard]:
    heard, folder = Heard(), tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work_module, "run_worker", spied)
        pretrain(split, folder / "run", heard, **OPTIONS)
    return folder, heard


def test_both_processes_end_with_the_same_weights(trained: tuple[Path, Heard]) -> None:
    folder, _ = trained
    assert (folder / "rank_0").read_text() == (folder / "rank_1").read_text()


def test_streamed_pixels_give_the_same_weights(trained: tuple[Path, Heard], split: Path, tmp_path: Path) -> None:
    """Each process has its own processes that decode, and they end with it."""
    result = pretrain(split, tmp_path / "run", pixels="streamed", **OPTIONS)
    assert weights(result.run) == weights(trained[0] / "run")


def test_what_happens_is_told_once(trained: tuple[Path, Heard]) -> None:
    folder, heard = trained
    assert [event.epoch for event in heard.of(EpochFinished)] == [1, 2]
    assert [event.task for event in heard.of(TaskStarted)][-2:] == ["epoch 1/2", "epoch 2/2"]
    assert sum("2 processes on cpu" in notice.text for notice in heard.of(Notice)) == 1
    assert len((folder / "run" / "history.csv").read_text().splitlines()) == 3
    assert len(list((folder / "run").glob("events.out.tfevents*"))) == 1


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.nightly), signal.SIGKILL])
def test_stopped_or_killed_and_continued_is_bit_identical(
    number: signal.Signals, trained: tuple[Path, Heard], split: Path, tmp_path: Path
) -> None:
    """SIGTERM to all processes, as from a service manager; or SIGKILL to all, as from a power cut; at any step."""
    options = {**OPTIONS, "checkpoint_every": "0.001s", "resume": "auto"}
    process = train_elsewhere(split, tmp_path / "run", **options)
    wait_for_step(process, random.randint(1, 6))
    os.killpg(process.pid, number)
    _, errors = process.communicate()
    assert number == signal.SIGKILL or "TerminatedRunError: stopped after step" in errors
    result = pretrain(split, tmp_path / "run", **options)
    assert weights(result.run) == weights(trained[0] / "run")


def numbers(run: Path, *columns: str) -> list[list[float]]:
    with open(run / "history.csv", newline="") as file:
        return [[float(row[column]) for column in columns] for row in csv.DictReader(file)]


def test_two_processes_learn_what_one_learns_and_may_change_places(
    preloaded_processes: None, split: Path, tmp_path: Path
) -> None:
    """Without batch norm and dropout, only the order of sums differs."""
    options = {"epochs": 3, "backbone": "test_convnext"}
    one = pretrain(split, tmp_path / "one", **options)
    with pytest.raises(TerminatedRunError):
        pretrain(split, tmp_path / "two", Stopper(5), processes=2, **options)
    with pytest.raises(ConfigError, match="--processes"):
        pretrain(split, tmp_path / "two", resume="yes", **options)
    heard = Heard()
    other = pretrain(split, tmp_path / "two", heard, resume="yes", elastic=True, **options)
    assert any("resuming with 1 process instead of 2" in notice.text for notice in heard.of(Notice))
    expected = numbers(one.run, "step", "loss", "lr")
    assert numbers(other.run, "step", "loss", "lr") == [pytest.approx(row, rel=2e-3) for row in expected]


def test_two_processes_distill_what_one_does(preloaded_processes: None, split: Path, tmp_path: Path) -> None:
    teacher = pretrain(split, tmp_path / "teacher", epochs=0, backbone="test_resnet", embedding_dim=16).run
    runs = []
    for processes in (1, 2):
        config = DistillConfig(
            data=(split,), out=tmp_path / f"run-{processes}", teacher=(str(teacher),), processes=processes, epochs=2,
            backbone="test_convnext", image_size=32, batch_size=16, precision="32",
        )  # fmt: skip
        runs.append(train(config, Heard()).run)
    one, two = (numbers(run, "step", "loss", "teacher_cosine") for run in runs)
    assert two == [pytest.approx(row, rel=2e-3, abs=1e-4) for row in one]


def test_two_processes_form_and_learn_the_clusters_of_one(preloaded_processes: None, tmp_path: Path) -> None:
    data = make_split(tmp_path / "people", people=12, pictures=6)
    options = {"epochs": 4, "rounds": 1, "backbone": "test_convnext", "augment": "simclr", "lr": 3e-3}
    one = pretrain(data, tmp_path / "one", **options).run
    two = pretrain(data, tmp_path / "two", processes=2, **options).run
    assert [row[0] for row in numbers(two, "clusters")] == [row[0] for row in numbers(one, "clusters")]
    assert numbers(two, "round", "loss", "clustered") == [
        pytest.approx(row, rel=2e-3) for row in numbers(one, "round", "loss", "clustered")
    ]


def test_two_processes_whiten_as_one_does(preloaded_processes: None, split: Path, tmp_path: Path) -> None:
    """Embeddings of the training faces are shared between the two processes."""
    options = {"epochs": 1, "backbone": "test_convnext", "whiten": 0.25}
    runs = [pretrain(split, tmp_path / f"run-{count}", processes=count, **options).run for count in (1, 2)]
    one, two = (load_network(run)[0] for run in runs)
    assert one.architecture.head == two.architecture.head == "linear"
    pictures = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        found, others = one.eval()(pictures), two.eval()(pictures)
    assert torch.nn.functional.cosine_similarity(found, others).min() > 0.999


def test_torchrun_launches_processes_that_meet_over_loopback(
    trained: tuple[Path, Heard], split: Path, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"),
        *("-m", "faceclr_cli", "pretrain", str(split), "-o", str(tmp_path / "run"), "--epochs", "2", "--device", "cpu"),
        *("--backbone", "test_resnet", "--image-size", "32", "--embedding-dim", "32", "--batch-size", "16", "--json"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 2  # One document: the first process speaks for both.
    assert "2 processes on cpu" in done.stderr
    assert weights(tmp_path / "run") == weights(trained[0] / "run")


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("data", DataError, "the disk is on fire"),
        ("killed", ModelError, "process 1 of 2 was killed by SIGKILL"),
    ],
)
def test_a_failing_process_ends_the_others(
    how: str, error: type[FaceclrError], text: str, preloaded_processes: None
) -> None:
    machine = find_machine(PretrainConfig(processes=2))
    # Rank 0 would wait for half an hour, longer than a test may take.
    with pytest.raises(error, match=text):
        launch(failing, machine, how, Heard())
