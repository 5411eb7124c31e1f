"""A resumed run gives the same weights as an uninterrupted one, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.errors import ConfigError, InterruptedRunError, ModelError, TerminatedRunError
from faceclr_cli.core.events import Event, TaskAdvanced
from faceclr_cli.core.training import triplet_task as triplet_module
from faceclr_cli.core.training.trainers import train as run
from tests.core.training.toy import Heard, make_faces, make_split, pretrain, train_elsewhere, wait_for_step, weights

OPTIONS: dict[str, Any] = {"epochs": 3, "backbone": "test_resnet", "batch_size": 16, "precision": "32"}


class Stopper(Heard):
    """Sends a signal to this process at each of some steps, counted from the start of the run in this process."""

    def __init__(self, number: int, *steps: int) -> None:
        super().__init__()
        self._number, self._steps, self._step = number, steps, 0

    def report(self, event: Event) -> None:
        super().report(event)
        if isinstance(event, TaskAdvanced) and event.task.startswith("epoch"):
            self._step += 1
            if self._step in self._steps:
                os.kill(os.getpid(), self._number)


@pytest.fixture(scope="module")
def uninterrupted(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.set_num_threads(1)
    return pretrain(split, tmp_path_factory.mktemp("whole") / "run", **OPTIONS).run


@pytest.mark.parametrize(
    ("number", "error", "step"),
    [
        (signal.SIGTERM, TerminatedRunError, 2),
        (signal.SIGINT, InterruptedRunError, 4),
        (signal.SIGTERM, TerminatedRunError, 11),
    ],
)
def test_stopped_and_continued_is_bit_identical(
    number: int, error: type[Exception], step: int, uninterrupted: Path, split: Path, tmp_path: Path
) -> None:
    before = signal.getsignal(number)
    # The loop notices the signal after the next step, or during validation if the epoch is over.
    stopped_after = step if step % 4 == 0 else step + 1
    with pytest.raises(error, match=rf"after step {stopped_after};.*\n.*--resume"):
        pretrain(split, tmp_path / "run", Stopper(number, step), **OPTIONS)
    assert signal.getsignal(number) is before
    result = pretrain(split, tmp_path / "run", resume="yes", **OPTIONS)
    assert weights(result.run) == weights(uninterrupted)
    keep = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12]  # All columns but those of time.
    former, latter = (
        [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
        for folder in (uninterrupted, result.run)
    )
    assert [[line[column] for column in keep] for line in former] == [
        [line[column] for column in keep] for line in latter
    ]


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(TripletConfig(**OPTIONS), id="semi-hard"),
        pytest.param(TripletConfig(mining="random-then-hard", candidates=4, **OPTIONS), id="random-then-hard"),
        pytest.param(TripletConfig(mining="random", **OPTIONS), id="random"),
        pytest.param(TripletConfig(mining="bank", candidates=4, **OPTIONS), id="bank"),
        pytest.param(TripletConfig(mining="batch-all", **OPTIONS), id="batch-all"),
        pytest.param(
            TripletConfig(mining="batch-hard", soft_margin=True, distance="cosine", **OPTIONS), id="batch-hard"
        ),
        pytest.param(CenterConfig(**OPTIONS), id="cosface"),
        pytest.param(CenterConfig(head="adaface", sample_classes=0.5, optimizer="rmsprop", **OPTIONS), id="adaface"),
        pytest.param(
            CenterConfig(head="softmax", freeze="backbone", unfreeze_after=1, optimizer="adagrad", **OPTIONS),
            id="unfrozen",
        ),
    ],
)
def test_every_task_continues_bit_identically(
    config: TrainConfig, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With random-then-hard, the second epoch has hard negatives, and the run is stopped there.
    monkeypatch.setattr(triplet_module, "should_use_hard_negatives", lambda rows: len(rows) == 1)
    listed = isinstance(config, TripletConfig) and config.lists_triplets

    def train(out: str, reporter: Heard, **options: Any) -> Path:
        from dataclasses import replace

        changed: Any = replace(config, data=(split,), out=tmp_path / out, image_size=32, embedding_dim=32, **options)
        return run(changed, reporter).run

    whole = train("whole", Heard())
    with pytest.raises(TerminatedRunError):
        train("parts", Stopper(signal.SIGTERM, 17 if listed else 5))
    assert weights(train("parts", Heard(), resume="yes")) == weights(whole)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.nightly), signal.SIGKILL])
def test_a_process_that_was_killed_continues_bit_identically(
    number: int, uninterrupted: Path, split: Path, tmp_path: Path
) -> None:
    process = train_elsewhere(split, tmp_path / "run", **OPTIONS)
    wait_for_step(process, 6)
    process.send_signal(number)
    _, errors = process.communicate()
    if number == signal.SIGTERM:
        assert "TerminatedRunError: stopped after step" in errors
    result = pretrain(split, tmp_path / "run", resume="yes", **OPTIONS)
    assert weights(result.run) == weights(uninterrupted)


def test_a_second_signal_stops_the_run_immediately(split: Path, tmp_path: Path) -> None:
    class Impatient(Stopper):
        def report(self, event: Event) -> None:
            super().report(event)
            if self._step == 2:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="stopped immediately"):
        pretrain(split, tmp_path / "run", Impatient(signal.SIGINT, 2), **OPTIONS)


def test_a_run_can_be_resumed_with_more_epochs(uninterrupted: Path, split: Path) -> None:
    longer = pretrain(split, uninterrupted, resume="yes", **{**OPTIONS, "epochs": 4})
    assert (uninterrupted / "history.csv").read_text().count("\n") == 5
    assert longer.epochs == 4


@pytest.mark.parametrize(("option", "value"), [("seed", 1), ("lr", 0.5), ("temperature", 0.5), ("batch_size", 8)])
def test_another_option_is_refused(option: str, value: float, split: Path, tmp_path: Path) -> None:
    out = pretrain(split, tmp_path / "run", epochs=0).run
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')}"):
        pretrain(split, out, epochs=0, resume="yes", **{option: value})


def test_other_faces_are_refused(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 4, 4)
    out = pretrain(faces, tmp_path / "run", epochs=1).run
    (faces / "person_000" / "0.png").unlink()
    with pytest.raises(ModelError, match="faces have changed"):
        pretrain(faces, out, epochs=2, resume="yes")


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_run_continues_with_its_faces_under_another_path(how: str, tmp_path: Path) -> None:
    data = make_split(tmp_path / "old")
    pretrain(data, tmp_path / "run", epochs=1)
    if how == "moved":
        (tmp_path / "old").rename(tmp_path / "new")
    else:
        shutil.copytree(tmp_path / "old", tmp_path / "new")
    result = pretrain(tmp_path / "new" / "train", tmp_path / "run", resume="yes", epochs=2)
    assert result.epochs == 2
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert recorded["data"] == [str(tmp_path / "new" / "train")]
    assert recorded["val"] == [str(tmp_path / "new" / "val")]


def test_other_faces_under_another_path_are_refused(tmp_path: Path) -> None:
    data = make_split(tmp_path / "old")
    pretrain(data, tmp_path / "run", epochs=1)
    other = make_split(tmp_path / "new")
    picture = next(other.rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"more")
    with pytest.raises(ConfigError, match=r"FACES\S*: the run in .* cannot be resumed with .*new"):
        pretrain(other, tmp_path / "run", resume="yes", epochs=2)
    (tmp_path / "old").rename(tmp_path / "elsewhere")
    picture.rename(picture.with_name("another.png"))
    with pytest.raises(ModelError, match="the training faces have changed since"):
        pretrain(other, tmp_path / "run", resume="yes", epochs=2)


def test_another_command_is_refused(split: Path, tmp_path: Path) -> None:
    out = pretrain(split, tmp_path / "run", epochs=0).run
    with pytest.raises(ConfigError, match="train-center cannot resume"):
        run(CenterConfig(data=(split,), out=out, resume="yes"), Heard())


def test_resume_needs_a_run_folder(split: Path) -> None:
    with pytest.raises(ConfigError, match="-o RUN"):
        run(CenterConfig(data=(split,), resume="yes"), Heard())


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "of another version"])
def test_a_damaged_checkpoint_is_refused(damage: str, split: Path, tmp_path: Path) -> None:
    out = pretrain(split, tmp_path / "run", epochs=1).run
    (path,) = (out / "checkpoints").iterdir()
    content = {
        "truncated": path.read_bytes()[:-100],
        "empty": b"",
        "foreign": (out / "encoder" / "weights.safetensors").read_bytes(),
        # Its metadata has another name for the number of processes.
        "of another version": path.read_bytes().replace(b'\\"world\\"', b'\\"ranks\\"'),
    }
    assert content[damage] != path.read_bytes()
    path.write_bytes(content[damage])
    with pytest.raises(ModelError, match="not a checkpoint of faceclr"):
        pretrain(split, out, epochs=2, resume="yes")


def test_incomplete_files_of_a_killed_run_are_removed(split: Path, tmp_path: Path) -> None:
    out = pretrain(split, tmp_path / "run", epochs=1).run
    names = sorted(path.name for path in out.rglob("*"))
    (out / "encoder").rename(out / ".encoder.former")
    (out / ".99.encoder").mkdir()
    (out / "checkpoints" / ".99.step-000000009.safetensors").touch()
    pretrain(split, out, epochs=1, resume="yes")
    left = sorted(path.name for path in out.rglob("*") if not path.name.startswith("events"))
    assert left == [name for name in names if not name.startswith("events")]


def test_a_resumed_run_uses_the_same_faces(split: Path, tmp_path: Path) -> None:
    out = pretrain(split, tmp_path / "run", epochs=1).run
    from faceclr_cli.core.configs.pretrain import PretrainConfig
    from tests.core.training.toy import SMALL

    assert run(PretrainConfig(out=out, epochs=2, resume="yes", **SMALL), Heard()).epochs == 2
