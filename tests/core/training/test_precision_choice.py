"""On a CPU, the faster precision is chosen by timing, and a run keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Silent
from faceclr_cli.core.training import machine, precision_choice
from faceclr_cli.core.training.loop import TrainingContext
from faceclr_cli.core.training.precision_choice import PrecisionRates, time_precisions
from faceclr_cli.core.training.training_sets import TrainingSets, decode_listing, list_faces, open_sets
from tests.core.training.toy import SIZE, SMALL, Heard, pretrain

Measured = Callable[[float, float], None]
AUTO: dict[str, Any] = {"precision": "auto", "epochs": 1}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Sets the measured rates of a CPU with bf16, and no minimum length of runs."""
    monkeypatch.setattr(machine, "supports_bf16", lambda device: True)
    monkeypatch.setattr(precision_choice, "_FEWEST_PICTURES", 0)

    def measure(float32: float, bf16: float) -> None:
        rates = PrecisionRates(float32=float32, bf16=bf16)
        monkeypatch.setattr(precision_choice, "time_precisions", lambda *_, **__: rates)

    return measure


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if steps are timed."""

    def fail(*_: Any, **__: Any) -> PrecisionRates:
        raise AssertionError("steps were timed")

    monkeypatch.setattr(machine, "supports_bf16", lambda device: True)
    monkeypatch.setattr(precision_choice, "time_precisions", fail)


def recorded(run: Path) -> tuple[str, Any]:
    content = json.loads((run / "config.json").read_text())
    return content["config"]["precision"], content["precision_rates"]


@pytest.mark.parametrize(("bf16", "chosen"), [(109.0, "32"), (110.0, "bf16")])
def test_bf16_needs_a_lead_of_a_tenth(
    bf16: float, chosen: str, measured: Measured, split: Path, tmp_path: Path
) -> None:
    measured(100.0, bf16)
    result = pretrain(split, tmp_path / "run", heard := Heard(), **AUTO)
    rates = {"float32": 100.0, "bf16": bf16}
    assert recorded(result.run) == (chosen, rates)
    said = result.to_json()
    assert (said["precision"], said["precision_rates"]) == (chosen, rates)
    name = "float32" if chosen == "32" else "bf16"
    (choice,) = (notice.text for notice in heard.of(Notice) if notice.text.startswith("precision: "))
    assert choice == f"precision: {name}; a few steps ran at 100 pictures/s in float32, {bf16:.0f} in bf16"
    assert any(f"1 process on cpu in {name}" in notice.text for notice in heard.of(Notice))


def test_the_network_computes_in_the_precision_that_was_chosen(measured: Measured, split: Path, tmp_path: Path) -> None:
    used = []
    for bf16, given in ((200.0, "auto"), (200.0, "bf16"), (50.0, "auto")):
        measured(100.0, bf16)
        run = pretrain(split, tmp_path / f"{bf16}-{given}", epochs=1, precision=given).run
        used.append((run / "encoder" / "weights.safetensors").read_bytes())
    assert used[0] == used[1] != used[2]


def test_a_resumed_run_keeps_its_precision(
    measured: Measured, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(100.0, 200.0)
    out = pretrain(split, tmp_path / "run", **AUTO).run
    measured(100.0, 50.0)
    again: dict[str, Any] = {"resume": "yes", **AUTO, "epochs": 2}
    result = pretrain(split, out, **again)
    assert (result.precision, result.precision_rates) == ("bf16", {"float32": 100.0, "bf16": 200.0})
    assert recorded(out) == ("bf16", {"float32": 100.0, "bf16": 200.0})
    with pytest.raises(ConfigError, match=r"--precision: the run in .* has bf16 and cannot be resumed with 32"):
        pretrain(split, out, **{**again, "precision": "32"})
    monkeypatch.setattr(machine, "supports_bf16", lambda device: False)
    with pytest.raises(ConfigError, match="--precision bf16: this CPU does not support bf16"):
        pretrain(split, out, **again)


@pytest.mark.usefixtures("untimed")
def test_a_run_of_an_earlier_version_goes_on_in_float32(split: Path, tmp_path: Path) -> None:
    out = pretrain(split, tmp_path / "run", precision="32", epochs=1).run
    content = json.loads((out / "config.json").read_text())
    content["config"]["precision"] = "auto"
    del content["precision_rates"]
    (out / "config.json").write_text(json.dumps(content))
    assert pretrain(split, out, resume="yes", precision="auto", epochs=500_000, time_budget="1s").precision == "32"


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize("options", [{"epochs": 2}, {"epochs": 10_000, "time_budget": "2s"}])
def test_a_short_run_is_not_timed(options: dict[str, Any], split: Path, tmp_path: Path) -> None:
    result = pretrain(split, tmp_path / "run", heard := Heard(), **{**AUTO, **options})
    assert recorded(result.run) == ("32", None) and result.to_json()["precision_rates"] is None
    assert not any(notice.text.startswith("precision: ") for notice in heard.of(Notice))


def opened(config: TrainConfig) -> TrainingSets:
    faces = decode_listing(list_faces(config, config.data, ()), "auto", Silent())
    return open_sets(config, faces, config.data, (), Silent())


@pytest.mark.parametrize(
    "config",
    [
        PretrainConfig(image_size=SIZE, backbone="test_resnet"),
        TripletConfig(**SMALL, mining="random-then-hard"),
        CenterConfig(**SMALL, head="softmax", freeze="backbone", unfreeze_after=1),
    ],
    ids=["simclr", "triplets", "center"],
)
def test_real_steps_are_timed_and_leave_nothing_behind(config: TrainConfig, split: Path) -> None:
    sets = opened(replace(config, data=(split,)))
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    rates = time_precisions(config, sets, processes=2, pictures=8)
    assert rates.float32 > 0 and rates.bf16 > 0
    assert torch.equal(random, torch.get_rng_state()) and threads == torch.get_num_threads()


def test_a_cpu_that_is_far_slower_in_bf16_takes_a_single_step(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def step(context: TrainingContext, batch: Any, number: int) -> float:
        steps.append(number)
        return 1.0 if context.fabric._precision.precision == "32-true" else 10.0

    monkeypatch.setattr(precision_choice, "_time_step", step)
    config = PretrainConfig(data=(split,), **SMALL)
    rates = time_precisions(config, opened(config), pictures=8)
    assert (rates.float32, rates.bf16, steps) == (8.0, 0.8, [0, 0])
