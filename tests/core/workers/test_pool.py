from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from operator import call, neg
from pathlib import Path

import pytest

import faceclr_cli
from faceclr_cli.core.workers.pool import Processes, map_ordered

_PROGRAM = """
import time
from faceclr_cli.core.workers.pool import Processes, map_ordered

if __name__ == "__main__":
    for _ in map_ordered(time.sleep, [0] * 20 + [60] * 100, Processes(2), print):
        print("at work", flush=True)
"""

_STILLBORN = """
import os
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.workers.pool import Processes, map_ordered

if __name__ == "__main__":
    try:
        list(map_ordered(abs, range(100), Processes(2), abs))
    except DataError as error:
        print(error)
else:
    os._exit(1)
"""

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(faceclr_cli.__file__).parents[1])}


def crash() -> int:
    os._exit(11)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_order_of_the_items(workers: int) -> None:
    assert list(map_ordered(neg, iter(range(300)), Processes(workers), neg)) == [-number for number in range(300)]
    assert list(map_ordered(neg, [], Processes(workers), neg)) == []


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 64)])
def test_items_are_consumed_lazily(workers: int, most: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield number

    with closing(map_ordered(neg, items(), Processes(workers), neg)) as results:
        ahead = [taken - given for given, _ in enumerate(results)]
    assert taken == 500
    assert max(ahead) == most


def test_a_picture_that_kills_the_decoder_costs_that_picture_alone() -> None:
    items: list[Callable[[], int]] = [partial(int, number) for number in range(200)]
    for number in (0, 13, 14, 150):
        items[number] = crash
    results = list(map_ordered(call, iter(items), Processes(2), lambda _: -1))
    assert results == [-1 if number in (0, 13, 14, 150) else number for number in range(200)]


def test_an_error_of_the_function_ends_it() -> None:
    results = map_ordered(os.stat, ["/", "/nowhere"], Processes(2), os.stat)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(results)


def test_processes_that_cannot_start_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_STILLBORN)
    run = subprocess.run([sys.executable, tmp_path / "program.py"], env=_ENVIRONMENT, capture_output=True, text=True)
    assert run.stdout.startswith("worker processes die as soon as they start")
    assert (run.returncode, run.stderr) == (0, "")


def test_little_work_starts_few_processes() -> None:
    assert Processes(8).at_most(3).count == 3
    assert Processes(2).at_most(3).count == 2
    assert Processes(8).at_most(0).count == 1
    assert 1 <= Processes().count <= (os.cpu_count() or 1)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for left-over processes in /proc")
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_PROGRAM)
    command = [sys.executable, tmp_path / "program.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_ENVIRONMENT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"at work\n"
        workers = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.kill()
    assert len(workers) >= 2
    while any(Path(f"/proc/{pid}/exe").exists() for pid in workers):  # Ends with the test's own limit at the latest.
        time.sleep(0.02)
