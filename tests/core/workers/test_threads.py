from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.training.trainers import train as pretrain
from faceclr_cli.core.workers import capacity
from faceclr_cli.core.workers.capacity import THREADS_VARIABLE, threads_per_process
from faceclr_cli.core.workers.pool import share_out
from tests.core.training.toy import make_faces
from tests.core.workers.thread_counts import threads_here


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "cores", lambda: 8)
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)


@pytest.mark.parametrize(("processes", "threads"), [(1, 8), (2, 4), (3, 2), (8, 1), (20, 1)])
def test_processes_divide_the_cores(processes: int, threads: int) -> None:
    assert threads_per_process(processes) == threads


@pytest.mark.parametrize(("text", "threads"), [("3", 3), ("3,2", 3), (" 5 ", 5), ("0", 4), ("", 4), ("many", 4)])
def test_the_environment_takes_precedence(text: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, text)
    assert threads_per_process(2) == threads


@pytest.mark.parametrize("command", ["embed", "pretrain"])
def test_commands_refuse_them_before_they_start_any(command: str, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 4, 4)
    with pytest.raises(ConfigError, match="--processes 10000"):
        if command == "embed":
            embed(EmbedConfig(faces=faces, model="pixels", out=tmp_path / "f.h5", processes=10_000), Silent())
        else:
            config = PretrainConfig(
                data=(faces,), out=tmp_path / "run", method="simclr", batch_size=10_000, processes=10_000
            )
            pretrain(config, Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_processes_that_share_work_divide_the_cores() -> None:
    with share_out(threads_here, [[0], [1]]) as futures:
        assert [future.result() for future in futures] == [[(4, "4")], [(4, "4")]]
