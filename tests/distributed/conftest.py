from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest

from faceclr_cli.core.training import local_processes
from tests.preload import PRELOADED


@pytest.fixture(scope="module")
def preloaded_processes() -> Iterator[None]:
    """Training processes are forked from one that has imported torch, because the import takes longer than a test."""
    start = multiprocessing.get_context
    multiprocessing.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_processes.multiprocessing, "get_context", lambda _: start("forkserver"))
        yield
