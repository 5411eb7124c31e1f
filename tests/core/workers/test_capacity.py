"""Requests that exceed the machine's capacity are refused before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faceclr_cli.core.artifacts import write_json
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.face_folder import DESCRIPTION
from faceclr_cli.core.preparing.prepare import prepare
from faceclr_cli.core.training.trainers import train
from faceclr_cli.core.workers import capacity

GIB = 1 << 30


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "cores", lambda: 2)
    monkeypatch.setattr(capacity, "memory", lambda: 8 * GIB)


def test_the_capacity_of_this_machine_is_plausible() -> None:
    assert capacity.cores() >= 1
    assert capacity.memory() >= GIB // 4


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("bytes_each", "most"), [(GIB // 4, 16), (GIB, 8), (9 * GIB, 1)])
def test_cores_and_memory_bound_processes(bytes_each: int, most: int) -> None:
    capacity.require_processes("--processes", most, bytes_each)
    with pytest.raises(
        ConfigError, match=f"--processes {most + 1}: at most {most} on this machine, which has 2 cores and 8.0 GiB"
    ):
        capacity.require_processes("--processes", most + 1, bytes_each)


@pytest.mark.usefixtures("small")
def test_memory_bounds_what_is_asked_for() -> None:
    capacity.require_memory("--image-size 112", 8 * GIB)
    with pytest.raises(ConfigError, match=r"--image-size 5000: needs 12\.0 GiB of memory or more; this machine has 2"):
        capacity.require_memory("--image-size 5000", 12 * GIB)


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "100", "memory.max": "200"}, [100, 200]),
        ("0::/host/path\n", {"memory.max": "300"}, [300]),
        ("5:cpu:/x\n4:memory:/x\n", {"memory/x/memory.limit_in_bytes": "400", "cpu/x/memory.max": "1"}, [400]),
        ("0::/../../up\n", {}, []),
    ],
)
def test_limits_of_containers(tmp_path: Path, groups: str, files: dict[str, str], limits: list[int]) -> None:
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(f"{text}\n")
    assert list(capacity._container_limits(tmp_path / "root", tmp_path / "groups")) == limits
    assert list(capacity._container_limits(tmp_path, tmp_path / "none")) == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("run", "config", "message"),
    [
        (prepare, lambda root: PrepareConfig(source=root, workers=10_000), "--workers 10000: at most 16"),
        (embed, lambda root: EmbedConfig(faces=root, processes=10_000), "--processes 10000: at most 16"),
        (train, lambda root: PretrainConfig(data=(root,), method="simclr", processes=64), "--processes 64: at most 16"),
        (
            train,
            lambda root: PretrainConfig(data=(root,), method="simclr", image_size=5000, batch_size=16),
            "--image-size 5000",
        ),
        (train, lambda root: TripletConfig(data=(root,), image_size=5000), "--image-size 5000 with --batch-size"),
        (train, lambda root: CenterConfig(data=(root,), image_size=5000), "GiB of memory or more"),
    ],
)
def test_every_command_refuses_what_does_not_fit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Any],
    config: Callable[[Path], Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_people(tmp_path / "photos", people=1, photos=1, seed=0, reporter=Silent())
    about = {"kind": "faces", "fingerprint": default_fingerprint().to_json()}
    write_json(tmp_path / "photos" / DESCRIPTION, about)  # the trainers look for faces first
    with pytest.raises(ConfigError, match=message):
        run(config(tmp_path / "photos"), Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
