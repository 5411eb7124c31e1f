"""State that processes do not exchange at every step, since all of them compute the same values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning_fabric import Fabric

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.events import Event, Reporter
from faceclr_cli.core.training import run_worker as work
from faceclr_cli.core.training import trainers
from faceclr_cli.core.training.checkpoint import TrainingState
from faceclr_cli.core.training.loop import TrainingContext
from faceclr_cli.core.training.run_folder import RunFolder
from faceclr_cli.core.training.run_worker import RunOutcome, TrainingJob
from faceclr_cli.core.training.stop_signals import StopRequest
from tests.core.training.toy import Heard, make_faces

pytestmark = pytest.mark.slow

_WORK = work.run_worker

SMALL: dict[str, Any] = {
    "backbone": "test_resnet", "image_size": 32, "embedding_dim": 16, "batch_size": 16, "hold_out": 0.0,
    "precision": "32",
}  # fmt: skip


def told(fabric: Fabric, stop: StopRequest, job: TrainingJob, reporter: Reporter) -> RunOutcome:
    """Runs in each process; also writes digests of the state that is not sent, and of MoCo's key encoder."""
    fit = work.fit

    def spying(context: TrainingContext, state: TrainingState, record: RunFolder) -> Iterator[Event]:
        yield from fit(context, state, record)
        tensors = context.task.state_dict()
        names = sorted(name for name in tensors if name in context.task.local_names() or name.startswith("key_encoder"))
        lines = [f"{name} {hashlib.sha256(tensors[name].numpy().tobytes()).hexdigest()}" for name in names]
        (job.out.parent / f"rank_{fabric.global_rank}").write_text("\n".join(lines))

    work.fit = spying
    return _WORK(fabric, stop, job, reporter)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(
            PretrainConfig(method="moco", queue=64, epochs=2, processes=2, **SMALL),
            "loss.keys",
            marks=pytest.mark.nightly,
        ),
        (CenterConfig(epochs=2, processes=2, **SMALL), "center.centers"),
    ],
)
def test_it_is_the_same_everywhere(
    config: Any, expected: str, preloaded_processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setattr(work, "run_worker", told)
    monkeypatch.setenv("FACECLR_CACHE", str(tmp_path / "cache"))
    trainers.train(replace(config, data=(make_faces(tmp_path / "faces", 6, 8),), out=tmp_path / "run"), Heard())
    first, second = ((tmp_path / f"rank_{rank}").read_text() for rank in range(2))
    assert expected in first
    assert first == second
