"""`prepare` on a Dask cluster writes what it writes on one machine, also when a worker is lost."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Event, Silent, TaskAdvanced
from faceclr_cli.core.preparing.prepare import PrepareResult
from faceclr_cli.core.preparing.prepare import prepare as run
from faceclr_cli.core.workers import dask_cluster as cluster


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    with LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        dashboard_address=":0",
        local_directory=str(tmp_path / "dask"),
        silence_logs=logging.CRITICAL,
    ) as local:
        local.wait_for_workers(2)
        yield local.scheduler_address, [nanny.pid for nanny in local.workers.values()]


def outcome(folder: Path) -> tuple[dict[str, bytes], list[tuple[object, ...]]]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del files["manifest.sqlite"]
    rows = sqlite3.connect(folder / "manifest.sqlite").execute("SELECT * FROM photos ORDER BY path").fetchall()
    return files, rows


class Killer:
    """Kills a process once some photographs are done."""

    def __init__(self, victim: int) -> None:
        self.victim: int | None = victim

    def report(self, event: Event) -> None:
        if isinstance(event, TaskAdvanced) and event.done >= 10 and self.victim is not None:
            os.kill(self.victim, signal.SIGKILL)
            self.victim = None


def test_a_lost_worker_changes_no_byte(
    address: tuple[str, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_TIMEOUT", 600.0)
    write_people(tmp_path / "photos", people=8, photos=18, seed=3, reporter=Silent(), workers=2)
    (tmp_path / "photos" / "person-01" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    monkeypatch.chdir(tmp_path)  # the workers have another working directory
    scheduler, workers = address
    killer = Killer(workers[0])
    config = PrepareConfig(source=Path("photos"), out=Path("far"), cluster=scheduler)
    result = run(config, killer)
    assert killer.victim is None
    assert isinstance(result, PrepareResult)
    assert (result.states["failed"], result.processed, result.out) == (1, 145, Path("far"))
    run(PrepareConfig(source=Path("photos"), out=Path("near"), workers=2), Silent())
    far, near = outcome(tmp_path / "far"), outcome(tmp_path / "near")
    assert far[1] == near[1]
    description = far[0].pop("faceclr.json").replace(b'"far"', b'"near"')
    assert description == near[0].pop("faceclr.json")
    assert far[0] == near[0]
