from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from faceclr_cli.core import memory

PROGRAM = """
import resource
import numpy as np
from faceclr_cli.core.memory import {which}, keep_memory
keep_memory(*{which})
np.ones({size}, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones({size}, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
@pytest.mark.parametrize("which", ["PICTURE", "NETWORK"])
def test_memory_that_was_freed_is_used_again_without_being_mapped_anew(which: str) -> None:
    piece, kept = getattr(memory, which)
    size = min(piece, kept) // 2
    program = PROGRAM.format(which=which, size=size)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < size // resource.getpagesize()
