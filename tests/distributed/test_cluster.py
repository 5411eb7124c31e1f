"""A Dask cluster gives the results of this machine, even if workers are lost."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from operator import call, neg
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

import faceclr_cli
from faceclr_cli import __version__
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.workers import dask_cluster as module
from faceclr_cli.core.workers.dask_cluster import DaskCluster
from faceclr_cli.core.workers.pool import Processes, map_ordered

_PROGRAM = """
import sys, time
from faceclr_cli.core.errors import FaceclrError
from faceclr_cli.core.workers import dask_cluster
from faceclr_cli.core.workers.dask_cluster import DaskCluster
from faceclr_cli.core.workers.pool import map_ordered

dask_cluster._TIMEOUT, dask_cluster._WORKER_TIMEOUT = float(sys.argv[2]), 600.0

if __name__ == "__main__":
    try:
        for _ in map_ordered(time.sleep, [0.01] * 100_000, DaskCluster(sys.argv[1]), time.sleep):
            print("at work", flush=True)
    except FaceclrError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
"""

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(faceclr_cli.__file__).parents[1])}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    folder = tmp_path_factory.mktemp("dask")
    # One death more is enough to see what Dask does after its usual three.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            local_directory=str(folder),
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer than a user would wait."""
    monkeypatch.setattr(module, "_TIMEOUT", 600.0)
    monkeypatch.setattr(module, "_WORKER_TIMEOUT", 600.0)


@pytest.fixture
def crew(cluster: LocalCluster) -> DaskCluster:
    cluster.wait_for_workers(2)
    return DaskCluster(cluster.scheduler_address)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(_PROGRAM)
    return tmp_path / "program.py"


def write(folder: Path, number: int) -> tuple[int, int]:
    time.sleep(0.004)
    (folder / f"{number}.txt").write_text(str(number))
    return number, os.getpid()


def crash() -> int:
    os._exit(11)


def hide_faceclr(*, hidden: bool) -> None:
    if hidden:
        sys.modules["faceclr_cli"] = None  # type: ignore[assignment]
    else:
        del sys.modules["faceclr_cli"]


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_worker_killed_in_mid_run_costs_nothing(crew: DaskCluster, tmp_path: Path) -> None:
    for folder in ("cluster", "here"):
        (tmp_path / folder).mkdir()
    numbers, workers, killed = [], set(), 0
    for number, worker in map_ordered(partial(write, tmp_path / "cluster"), range(400), crew, write):  # type: ignore[arg-type]
        if number == 100:
            killed = worker
            os.kill(killed, signal.SIGKILL)
        numbers.append(number)
        workers.add(worker)
    assert numbers == list(range(400))
    assert workers > {killed}
    list(map_ordered(partial(write, tmp_path / "here"), range(400), Processes(1), write))  # type: ignore[arg-type]
    assert contents(tmp_path / "cluster") == contents(tmp_path / "here")


def test_an_item_that_kills_every_worker_costs_that_item_alone(crew: DaskCluster) -> None:
    items: list[Callable[[], int]] = [partial(int, number) for number in range(60)]
    items[13] = crash
    results = list(map_ordered(call, items, crew, lambda _: -1))
    assert results == [-1 if number == 13 else number for number in range(60)]


def test_items_are_consumed_lazily(crew: DaskCluster) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield number

    ahead = [taken - given for given, _ in enumerate(map_ordered(neg, items(), crew, neg))]
    assert len(ahead) == 500
    assert max(ahead) == 64


def test_large_items_arrive_without_a_word(crew: DaskCluster, recwarn: pytest.WarningsRecorder) -> None:
    assert list(map_ordered(len, [bytes(20_000_000), b""], crew, len)) == [20_000_000, 0]
    assert not recwarn.list


def test_an_error_of_the_function_ends_it(crew: DaskCluster) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(map_ordered(os.stat, ["/", "/nowhere"], crew, os.stat))


def test_a_run_that_is_left_takes_its_work_along(crew: DaskCluster, cluster: LocalCluster, tmp_path: Path) -> None:
    with closing(map_ordered(partial(write, tmp_path), range(10_000), crew, write)) as results:  # type: ignore[arg-type]
        next(results)
    while cluster.scheduler.tasks:  # Work that is left on the cluster ends with the test's own limit.
        time.sleep(0.01)
    assert len(list(tmp_path.iterdir())) < 100
    assert list(map_ordered(neg, [1, 2], crew, neg)) == [-1, -2]


def test_workers_of_another_version_are_refused(crew: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__version__", "99.1")
    with pytest.raises(ConfigError, match=rf"worker tcp.* has faceclr {__version__}, but this is 99\.1"):
        next(map_ordered(neg, [1], crew, neg))


def test_a_worker_of_another_version_that_comes_later_is_refused(
    crew: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = map_ordered(neg, range(1000), crew, neg)
    next(results)
    monkeypatch.setattr(module, "__version__", "99.1")
    with pytest.raises(ConfigError, match=rf"a worker has faceclr {__version__}, but this run needs 99\.1"):
        list(results)


def test_workers_without_faceclr_are_refused(crew: DaskCluster, cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as client:
        client.run(hide_faceclr, hidden=True)
        with pytest.raises(ConfigError, match=f"worker tcp.* has no faceclr; install faceclr=={__version__} there"):
            next(map_ordered(neg, [1], crew, neg))
        client.run(hide_faceclr, hidden=False)
    assert next(map_ordered(neg, [1], crew, neg)) == -1


def test_workers_that_do_not_see_the_files_are_refused(crew: DaskCluster, tmp_path: Path) -> None:
    assert next(map_ordered(neg, [1], DaskCluster(crew.address, (tmp_path,)), neg)) == -1
    with pytest.raises(ConfigError, match=r"does not see .*nowhere"):
        next(map_ordered(neg, [1], DaskCluster(crew.address, (tmp_path / "nowhere",)), neg))


def test_a_cluster_without_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORKER_TIMEOUT", 0.5)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=logging.CRITICAL) as empty,
        pytest.raises(ConfigError, match="has no workers"),
    ):
        next(map_ordered(neg, [1], DaskCluster(empty.scheduler_address), neg))


def test_invalid_addresses_are_refused() -> None:
    with pytest.raises(ConfigError, match="--cluster scheduler is not the address of a Dask scheduler: missing port"):
        next(map_ordered(neg, [1], DaskCluster("scheduler"), neg))


def test_without_dask_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'faceclr\[cluster\]'"):
        next(map_ordered(neg, [1], DaskCluster("tcp://scheduler:8786"), neg))


def test_a_scheduler_that_does_not_answer_is_one_line(program: Path) -> None:
    """For an address without a listener, and for one at which something else listens."""
    mute = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", mute], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        for port in (int(listener.stdout.readline()), 9):
            address = f"tcp://127.0.0.1:{port}"
            command = [sys.executable, program, address, "1"]
            run = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True)
            assert (run.returncode, run.stdout) == (2, "")
            assert run.stderr == f"--cluster {address}: no Dask scheduler responds at this address\n"
        listener.communicate()


def test_a_scheduler_that_goes_away_is_one_line(program: Path) -> None:
    dask_command = [sys.executable, "-m", "dask"]
    note = program.parent / "scheduler.json"
    options = ["--scheduler-file", str(note), "--no-dashboard"]
    scheduler = subprocess.Popen(
        [*dask_command, "scheduler", *options, "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0"],
        stderr=subprocess.DEVNULL,
    )
    worker = subprocess.Popen(
        [*dask_command, "worker", *options, "--no-nanny", "--local-directory", str(program.parent)],
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
    )
    try:
        while not note.exists():
            assert scheduler.poll() is None
            time.sleep(0.02)
        address = json.loads(note.read_text())["address"]
        run = subprocess.Popen(
            [sys.executable, program, address, "600"], env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert run.stdout is not None
        assert run.stdout.readline() == b"at work\n"
        scheduler.kill()
        complaint = run.communicate()[1].decode()
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert complaint == f"--cluster {address}: lost the scheduler; run the same command to continue\n"
    assert run.returncode == DataError.exit_code
