"""People who are sharded over two processes, in the real loop."""

from __future__ import annotations

import csv
import hashlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.errors import TerminatedRunError
from faceclr_cli.core.events import Event
from faceclr_cli.core.training import center_task as center
from faceclr_cli.core.training import run_worker as work
from faceclr_cli.core.training import trainers
from faceclr_cli.core.training.checkpoint import TrainingState, list_checkpoints
from faceclr_cli.core.training.local_processes import _rendezvous
from faceclr_cli.core.training.loop import TrainingContext
from faceclr_cli.core.training.run_folder import RunFolder
from faceclr_cli.core.training.trainers import TrainResult
from tests.core.training.test_resume import Stopper
from tests.core.training.toy import Heard, make_faces, make_split, spied, weights
from tests.preload import PRELOADED

pytestmark = pytest.mark.slow

PEOPLE = 9  # Four for one process, five for the other.
SMALL = {
    "backbone": "test_convnext", "image_size": 32, "embedding_dim": 16, "batch_size": 16, "epochs": 3,
    "precision": "32",
}  # fmt: skip
LIKE_ONE = {"head": "cosface", "sample_classes": 0.5, "optimizer": "sgd", "lr": 0.1, "clip": 0.5, "accumulate": 2}
RESUMED = {"head": "softmax", "optimizer": "adamw", "checkpoint_every": "0.001s", "resume": "auto"}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split(tmp_path_factory.mktemp("split"), people=PEOPLE)


def train(data: Path, out: Path, reporter: Any = None, **options: Any) -> TrainResult:
    return trainers.train(CenterConfig(data=(data,), out=out, **{**SMALL, **options}), reporter or Heard())


class Sender:
    """A reporter that sends events as text to another process."""

    def __init__(self, to: Connection) -> None:
        self._to = to

    def report(self, event: Event) -> None:
        self._to.send(str(event))


def as_one_of_two(place: dict[str, str], data: Path, out: Path, options: dict[str, Any], to: Connection) -> None:
    """Runs in each of two processes: shards even a few people and records a digest of the encoder."""
    os.environ.update(place)
    fit = work.fit

    def spying(context: TrainingContext, state: TrainingState, record: RunFolder) -> Iterator[Any]:
        yield from fit(context, state, record)
        tensors = [*context.task.encoder.parameters(), *context.task.buffers()]
        digest = hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors))
        record.folder.with_name(f"{record.folder.name}-{context.fabric.global_rank}").write_text(digest.hexdigest())

    work.fit = spying
    center._SHARDED_ABOVE = PEOPLE - 1
    torch.set_num_threads(1)
    train(data, out, Sender(to), **options)


class Pair:
    """Two processes with the environment that torchrun would give them, forked from one that has imported torch."""

    def __init__(self, data: Path, out: Path, **options: Any) -> None:
        place = _rendezvous() | {"TORCHELASTIC_RUN_ID": "pair", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        place |= {"FACECLR_CACHE": os.environ["FACECLR_CACHE"]}
        multiprocessing.set_forkserver_preload(PRELOADED)
        context = multiprocessing.get_context("forkserver")
        self._events, theirs = context.Pipe(duplex=False)
        self._processes = []
        for rank in range(2):
            mine = place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            self._processes.append(context.Process(target=as_one_of_two, args=(mine, data, out, options, theirs)))
            self._processes[-1].start()
        theirs.close()

    def wait_for_step(self, steps: int) -> None:
        """Waits until the first process has trained for some steps."""
        while steps > 0:
            event = self._events.recv()
            steps -= event.startswith("TaskAdvanced") and "task='epoch" in event

    def end(self) -> list[int | None]:
        """Waits for both, and returns the exit code of each."""
        with suppress(EOFError, OSError):
            while True:
                self._events.recv()
        for process in self._processes:
            process.join()
        return [process.exitcode for process in self._processes]

    def kill(self) -> None:
        for process in self._processes:
            process.kill()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Pairs that don't outlive a test."""
    started: list[Pair] = []
    yield started
    for pair in started:
        pair.kill()
        pair.end()


def train_sharded(data: Path, out: Path, **options: Any) -> Path:
    pair = Pair(data, out, **options)
    try:
        ends = pair.end()
    finally:
        pair.kill()
    assert ends == [0, 0]
    return out


def numbers(folder: Path) -> list[list[float]]:
    columns = ("step", "loss", "accuracy", "center", "lr", "val_loss", "val_top1", "val_top3")
    with open(folder / "history.csv", newline="") as file:
        return [[float(row[column]) for column in columns] for row in csv.DictReader(file)]


def divided_tensors(folder: Path) -> dict[str, list[int]]:
    """Returns the shapes of all tensors in a checkpoint that contain all people."""
    from safetensors import safe_open

    with safe_open(list_checkpoints(folder)[0], "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a mapping
    return {name: shape for name, shape in shapes.items() if shape[:1] == [PEOPLE] and "center" not in name}


@pytest.fixture(scope="module")
def uninterrupted(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_sharded(split, tmp_path_factory.mktemp("whole") / "run", **RESUMED)


def test_sharded_people_are_learned_as_by_one_process(split: Path, tmp_path: Path) -> None:
    """Without batch norm, only the order of sums differs; steps consist of two batches, and gradients are clipped."""
    one = train(split, tmp_path / "one", **LIKE_ONE).run
    two = train_sharded(split, tmp_path / "two", **LIKE_ONE)
    assert numbers(two) == [pytest.approx(row, rel=1e-4) for row in numbers(one)]
    former, latter = (load_network(folder / "encoder")[0].state_dict() for folder in (one, two))
    for name, value in former.items():
        torch.testing.assert_close(latter[name], value, rtol=1e-3, atol=1e-5)
    assert (tmp_path / "two-0").read_text() == (tmp_path / "two-1").read_text()


def test_killed_and_continued_is_bit_identical_with_sharded_people(
    uninterrupted: Path, split: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    pair = Pair(split, tmp_path / "run", **RESUMED)
    pairs.append(pair)
    pair.wait_for_step(6)  # Of four steps an epoch.
    pair.kill()
    pair.end()
    shutil.copytree(tmp_path / "run", tmp_path / "elastic")
    # Nothing of the second process is lost: weights, bias and two moments of each.
    assert sorted(divided_tensors(tmp_path / "elastic").values()) == 3 * [[PEOPLE]] + 3 * [[PEOPLE, 16]]
    train_sharded(split, tmp_path / "run", **RESUMED)
    assert weights(tmp_path / "run") == weights(uninterrupted)
    assert numbers(tmp_path / "run") == numbers(uninterrupted)
    # One process continues the run of two.
    train(split, tmp_path / "elastic", **{**RESUMED, "elastic": True})
    assert numbers(tmp_path / "elastic") == [pytest.approx(row, rel=2e-3) for row in numbers(uninterrupted)]


@pytest.mark.nightly
def test_two_processes_continue_the_run_of_one(uninterrupted: Path, split: Path, tmp_path: Path) -> None:
    with pytest.raises(TerminatedRunError):
        train(split, tmp_path / "run", Stopper(signal.SIGTERM, 5), **RESUMED)
    train_sharded(split, tmp_path / "run", **{**RESUMED, "elastic": True})
    assert numbers(tmp_path / "run") == [pytest.approx(row, rel=2e-3) for row in numbers(uninterrupted)]


@pytest.mark.parametrize("after", [1, pytest.param(None, marks=pytest.mark.nightly)])
def test_a_frozen_backbone_is_the_same_on_both_processes(
    after: int | None, split: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "run_worker", spied)
    faces = make_faces(tmp_path / "faces", 4, 8)  # Without validation, the last encoder is kept.
    options = {"freeze": "backbone", "unfreeze_after": after, "optimizer": "adamw"}
    options |= {"backbone": "test_resnet", "hold_out": 0.0}

    def backbone(epochs: int, out: str, **more: Any) -> dict[str, torch.Tensor]:
        result = train(faces, tmp_path / out, **{**options, **more, "epochs": epochs})
        return load_network(result.encoder)[0].backbone.state_dict()

    before, later = backbone(0, "before"), backbone(2, "run", processes=2)
    assert all(torch.equal(later[name], value) == (after is None) for name, value in before.items())
    assert (tmp_path / "rank_0").read_text() == (tmp_path / "rank_1").read_text()
    assert not capfd.readouterr().err  # torch prints no warnings.


@pytest.mark.nightly
def test_frozen_or_not_two_processes_learn_what_one_learns(split: Path, tmp_path: Path) -> None:
    options = {**LIKE_ONE, "freeze": "backbone", "unfreeze_after": 1}
    one = train(split, tmp_path / "one", **options).run
    two = train(split, tmp_path / "two", processes=2, **options).run
    assert numbers(two) == [pytest.approx(row, rel=1e-4) for row in numbers(one)]
