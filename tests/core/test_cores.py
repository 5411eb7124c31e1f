from __future__ import annotations

import os

import cv2
import pytest

from faceclr_cli.core import cores
from faceclr_cli.core.cores import THREADS_VARIABLE, threads_per_process
from faceclr_cli.core.faces.pool import shared_out


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: 8)
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)


@pytest.mark.parametrize(("processes", "threads"), [(1, 8), (2, 4), (3, 2), (8, 1), (20, 1)])
def test_processes_divide_the_cores(processes: int, threads: int) -> None:
    assert threads_per_process(processes) == threads


@pytest.mark.parametrize(("text", "threads"), [("3", 3), ("3,2", 3), (" 5 ", 5), ("0", 4), ("", 4), ("many", 4)])
def test_the_environment_has_the_last_word(text: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, text)
    assert threads_per_process(2) == threads


def threads_here(_: int) -> tuple[int, str]:
    return cv2.getNumThreads(), os.environ[THREADS_VARIABLE]


def test_processes_that_share_work_divide_the_cores() -> None:
    with shared_out(threads_here, [[0], [1]]) as futures:
        assert [future.result() for future in futures] == [[(4, "4")], [(4, "4")]]
