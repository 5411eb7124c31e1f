"""Time, steps and alarms."""

from __future__ import annotations

import csv
import math
import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from faceclr_cli.core.configs.duration import seconds
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.errors import InterruptedRunError, TerminatedRunError
from faceclr_cli.core.events import EpochFinished, Event, Notice, TaskAdvanced
from faceclr_cli.core.training.alarms import find_alarms
from faceclr_cli.core.training.schedule import Schedule, cosine_decay
from tests.core.training.toy import Heard, make_faces, pretrain, weights


def torch_rates(rising: int, falling: int, peak: float) -> list[float]:
    """The rates of torch schedulers: a warmup whose last step has the peak rate, then a decay."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=peak)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / rising, total_iters=rising - 1)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, falling)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[rising - 1])
    rates = []
    for _ in range(rising + falling):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SequentialLR itself calls what it warns of.
            scheduler.step()
    return rates


@pytest.mark.parametrize(("total", "rising"), [(100, 10), (30, 15), (7, 2)])
def test_the_rate_is_that_of_torchs_schedulers(total: int, rising: int) -> None:
    rates = [cosine_decay((step + 1) / total, 2.0, rising / total) for step in range(total)]
    assert rates == pytest.approx(torch_rates(rising, total - rising, 2.0), abs=1e-12)


def test_linear_warmup_and_cosine_decay() -> None:
    assert [cosine_decay(done, 2.0, 0.2) for done in (0.05, 0.1, 0.2)] == pytest.approx([0.5, 1.0, 2.0])
    assert cosine_decay(0.6, 2.0, 0.2) == pytest.approx(1.0)
    assert cosine_decay(0.4, 2.0, 0.2) == pytest.approx(1 + math.cos(math.pi / 4))
    assert cosine_decay(1.0, 2.0, 0.2) == pytest.approx(0, abs=1e-12)


def test_runs_without_warmup_or_without_decay() -> None:
    assert cosine_decay(0.0, 3.0, 0.0) == 3.0
    assert cosine_decay(0.25, 3.0, 1.0) == 0.75
    assert cosine_decay(1.0, 3.0, 1.0) == 3.0


def table(run: Path) -> list[dict[str, float]]:
    with open(run / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def plan(**options: Any) -> Schedule:
    return Schedule.of(PretrainConfig(**{"epochs": 10, **options}), 10, 256)


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("1d12h", 129600), ("1.5h", 5400)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["6", "h", "6 hours", "-1h", "0s", "", "1h-2m"])
def test_invalid_durations_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        PretrainConfig(time_budget=text)


def rates(shape: Schedule) -> list[float]:
    """Returns the rates of all optimizer steps of a run. The first batch takes half a minute, the others a second."""
    ends = [step for step in range(shape.epochs * shape.batches) if shape.group(step % shape.batches)[1]]
    times = {step: 30.0 + step if step else 0.0 for step in ends}
    return [shape.learning_rate(step, times[step]) for step in ends if times[step] < (shape.budget or math.inf)]


def test_warmup_is_a_share_of_the_run() -> None:
    shares = rates(plan(warmup=0.2, lr=1.0))
    assert shares.index(max(shares)) in (19, 20)
    assert rates(plan(warmup=20, lr=1.0)) == pytest.approx(shares)


@pytest.mark.parametrize("budget", [None, "200s"])
@pytest.mark.parametrize(("batches", "accumulate"), [(10, 1), (10, 4), (12, 4)])
def test_warmup_in_steps_counts_those_of_the_optimizer_whatever_ends_the_run(
    batches: int, accumulate: int, budget: str | None
) -> None:
    config = PretrainConfig(epochs=50, warmup=25, accumulate=accumulate, lr=1.0, time_budget=budget)
    found = rates(Schedule.of(config, batches, 256))
    assert found[:25] == pytest.approx([(step + 0.5) / 25 for step in range(25)])
    assert found[25:] == sorted(found[25:], reverse=True)
    assert found[-1] < 0.01


def test_a_warmup_longer_than_the_run_is_all_of_it() -> None:
    assert rates(plan(warmup=10**6, lr=1.0)) == pytest.approx([(step + 0.5) / 100 for step in range(100)])


def test_the_end_of_the_warmup_is_told_in_batches() -> None:
    assert [plan(warmup=0.2).is_warm(steps) for steps in (0, 19, 20)] == [False, False, True]
    assert [plan(warmup=5, accumulate=4).is_warm(steps) for steps in (0, 16, 17, 18)] == [False, False, False, True]


def test_a_batch_belongs_to_one_step_of_the_optimizer() -> None:
    assert [plan(accumulate=4).group(place) for place in range(10)] == [
        *[(4, False)] * 3, (4, True), *[(4, False)] * 3, (4, True), (2, False), (2, True),
    ]  # fmt: skip


def test_a_budget_moves_the_schedule_on() -> None:
    short = plan(time_budget="100s")
    assert short.progress(0, 0.0) == pytest.approx(0.005)
    assert short.progress(10, 80.0) == 0.8  # By time.
    assert short.progress(89, 80.0) == pytest.approx(0.895)  # By steps.
    assert plan().progress(10, 80.0) == pytest.approx(0.105)


class Ticking(Heard):
    """A clock on which each batch takes a second and everything else almost no time, on any machine."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._seconds = 0.0
        patch.setattr(time, "perf_counter", self._now)

    def _now(self) -> float:
        self._seconds += 1e-4
        return self._seconds

    def report(self, event: Event) -> None:
        super().report(event)
        self._seconds += isinstance(event, TaskAdvanced) and event.task == "training"


def test_a_run_ends_within_its_budget_with_a_rate_near_zero(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Ticking(monkeypatch)
    result = pretrain(split, tmp_path / "run", heard, epochs=10**6, time_budget="18s")
    rows = table(result.run)
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 19]  # The run ends in the middle of the fifth epoch.
    assert sum(row["seconds"] for row in rows) == pytest.approx(18, abs=1)
    assert rows[-1]["lr"] < 0.01 * max(row["lr"] for row in rows)
    assert (result.run / "encoder" / "weights.safetensors").exists()
    assert any("for at most 18s" in notice.text for notice in heard.of(Notice))


def test_a_run_that_used_up_its_budget_resumes_with_a_larger_one(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = pretrain(split, tmp_path / "run", Ticking(monkeypatch), epochs=10**6, time_budget="6s").run
    rows = table(out)
    spent = pretrain(split, out, Ticking(monkeypatch), resume="yes", epochs=10**6, time_budget="5s")
    assert spent.epochs == len(rows) == 2
    longer = pretrain(split, out, resume="yes", epochs=len(rows) + 2)
    again = table(out)
    assert longer.epochs == len(rows) + 2
    assert [row["step"] for row in again] == [4 * epoch for epoch in range(1, len(rows) + 3)]


def test_accumulated_batches_share_a_step(split: Path, tmp_path: Path) -> None:
    import torch

    steps = 0
    step = torch.optim.AdamW.step

    def counted(self: Any, closure: Any = None) -> Any:
        nonlocal steps
        steps += 1
        return step(self, closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", counted)
        pretrain(split, tmp_path / "run", epochs=3, accumulate=3)
    assert steps == 3 * 2  # Four batches an epoch: a step after three, and one after the last.


@pytest.mark.parametrize("stop_after", [2, 5])
def test_accumulation_stops_between_steps_and_resumes_bit_identically(
    stop_after: int, split: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"epochs": 3, "accumulate": 3, "batch_size": 8}
    whole = pretrain(split, tmp_path / "whole", **options)

    class Stopper(Heard):
        def report(self, event: Event) -> None:
            super().report(event)
            if isinstance(event, TaskAdvanced) and event.task == "training" and event.done == 8 * stop_after:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TerminatedRunError, match=rf"after step {stop_after // 3 * 3 + 3}"):
        pretrain(split, tmp_path / "run", Stopper(), **options)
    assert weights(pretrain(split, tmp_path / "run", resume="yes", **options).run) == weights(whole.run)


def test_only_the_last_checkpoints_are_kept(split: Path, tmp_path: Path) -> None:
    out = pretrain(split, tmp_path / "run", epochs=5, keep=3).run
    names = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert names == [f"step-{step:09d}.safetensors" for step in (12, 16, 20)]


def test_a_checkpoint_within_the_epoch(split: Path, tmp_path: Path) -> None:
    seen: set[str] = set()

    class Onlooker(Heard):
        def report(self, event: Event) -> None:
            if isinstance(event, TaskAdvanced):
                seen.update(path.name for path in (tmp_path / "run" / "checkpoints").glob("step*"))

    pretrain(split, tmp_path / "run", Onlooker(), epochs=1, checkpoint_every="0.0001s", keep=9)
    assert {f"step-{step:09d}.safetensors" for step in (1, 2, 3)} <= seen


def test_a_damaged_checkpoint_gives_way_to_the_one_before(split: Path, tmp_path: Path) -> None:
    whole = pretrain(split, tmp_path / "whole", epochs=4)
    out = pretrain(split, tmp_path / "run", epochs=3).run
    (out / "checkpoints" / "step-000000012.safetensors").write_bytes(b"half of i")
    heard = Heard()
    pretrain(split, out, heard, epochs=4, resume="yes")
    assert any("step-000000012" in notice.text and notice.level == "warning" for notice in heard.of(Notice))
    # Epochs 1 and 2 were planned for a run of three.
    assert len(table(out)) == len(table(whole.run)) == 4


def test_resume_auto_starts_then_continues(split: Path, tmp_path: Path) -> None:
    class Stopper(Heard):
        def report(self, event: Event) -> None:
            super().report(event)
            if isinstance(event, EpochFinished) and event.epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)

    whole = pretrain(split, tmp_path / "whole", epochs=4)
    with pytest.raises(InterruptedRunError):
        pretrain(split, tmp_path / "run", Stopper(), epochs=4, resume="auto")
    for _ in range(2):  # The second time there is nothing left to do.
        heard = Heard()
        result = pretrain(split, tmp_path / "run", heard, epochs=4, resume="auto")
        assert weights(result.run) == weights(whole.run)
    assert not heard.of(EpochFinished)


def test_pictures_are_held_out_without_validation_faces(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 32, 4)
    heard = Heard()
    result = pretrain(faces, tmp_path / "run", heard, epochs=1, hold_out=0.25)
    assert result.metrics["val_knn"] > 0.1
    text = "\n".join(notice.text for notice in heard.of(Notice))
    assert "on 96 pictures" in text and "validating on 32 held-out pictures" in text
    none = pretrain(faces, tmp_path / "none", epochs=1, hold_out=0.0)
    assert "val_rank" not in none.metrics


def row(epoch: int, **numbers: float) -> dict[str, float]:
    return {"epoch": epoch, "step": 10 * epoch, **numbers}


def test_collapse_is_reported_once() -> None:
    rows = [row(1, loss=5.0, val_rank=20.0), row(2, loss=6.2, val_rank=9.0), row(3, loss=6.235, val_rank=1.2)]
    assert find_alarms(rows[:2], math.log(511), plan()) == []
    (text,) = find_alarms(rows, math.log(511), plan())
    assert "collapsed" in text and "epoch 3" in text and "--lr" in text and "effective rank 1.2" in text
    assert find_alarms([*rows, row(4, loss=6.236, val_rank=1.1)], math.log(511), plan()) == []
    # By the loss alone if nothing is validated; but not during the warmup.
    assert "collapsed" in find_alarms([row(2, loss=6.236)], math.log(511), plan())[0]
    assert find_alarms([row(1, loss=6.236)], math.log(511), plan(warmup=0.15)) == []


def test_nearly_equal_embeddings_have_collapsed_if_the_loss_is_near_the_collapsed_loss() -> None:
    [text] = find_alarms([row(2, loss=0.2014, active=0.97, cosine=0.999)], 0.2, plan())
    assert "collapsed" in text and "mean cosine 0.999" in text
    assert find_alarms([row(2, loss=0.2014, active=0.97, cosine=0.9)], 0.2, plan()) == []
    assert find_alarms([row(2, loss=0.15, active=0.97, cosine=0.999)], 0.2, plan()) == []


def test_triplets_of_which_few_are_active_have_not_collapsed() -> None:
    """The active triplets have a mean loss of 0.2, like all triplets of a collapsed encoder."""
    assert find_alarms([row(2, loss=0.2, active=0.4, val_rank=10.0)], 0.2, plan()) == []
    assert "collapsed" in find_alarms([row(2, loss=0.2, active=1.0, val_rank=10.0)], 0.2, plan())[0]


def test_overfitting_is_reported_once() -> None:
    quality = [0.3, 0.5, 0.6, 0.58, 0.57, 0.55, 0.54]
    rows = [row(epoch, loss=5.0 - 0.1 * epoch, val_knn=value) for epoch, value in enumerate(quality, start=1)]
    heard = [find_alarms(rows[:count], math.log(511), plan()) for count in range(1, 8)]
    assert [len(texts) for texts in heard] == [0, 0, 0, 0, 0, 1, 0]
    assert "val_knn was 0.600" in heard[5][0]
    rising = [{**each, "loss": 5.0 + each["epoch"]} for each in rows]
    assert find_alarms(rising[:6], math.log(511), plan()) == []


def test_a_run_that_collapses_says_so(split: Path, tmp_path: Path) -> None:
    """At this learning rate, the network maps all 32 views of a batch to the same embedding."""
    heard = Heard()
    result = pretrain(
        split, tmp_path / "run", heard, epochs=4, optimizer="sgd", lr=1.0, warmup=0.0, clip=0.0, head="none"
    )
    assert result.metrics["loss"] == pytest.approx(math.log(31), abs=0.01)
    warnings = [notice.text for notice in heard.of(Notice) if notice.level == "warning"]
    assert sum("collapsed" in text for text in warnings) == 1
