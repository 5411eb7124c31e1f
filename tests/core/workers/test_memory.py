from __future__ import annotations

import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from faceclr_cli.core.workers import memory

PROGRAM = """
import resource
import numpy as np
from faceclr_cli.core.workers.memory import {which}, keep_memory
from faceclr_cli.core.workers.process import claim_process
claim_process()
keep_memory(*{which})
np.ones({size}, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones({size}, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
@pytest.mark.parametrize("which", ["PICTURE", "NETWORK"])
def test_freed_memory_is_reused_without_new_mappings(which: str) -> None:
    piece, kept = getattr(memory, which)
    size = min(piece, kept) // 2
    program = PROGRAM.format(which=which, size=size)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < size // resource.getpagesize()


@pytest.mark.parametrize("claimed", [True, False])
def test_the_allocator_is_configured_only_in_claimed_processes(monkeypatch: pytest.MonkeyPatch, claimed: bool) -> None:
    told: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda option, value: told.append((option, value)))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(memory, "is_claimed", lambda: claimed)
    memory.keep_memory(*memory.PICTURE)
    assert told == ([(-3, 32 << 20), (-1, 64 << 20), (-2, 16 << 20)] if claimed else [])
