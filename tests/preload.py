"""Imports for the processes that tests start, which are copies of a process that has imported the modules.

There is one such server for each process of pytest. It imports the given modules before it is first copied.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

PRELOADED = [
    "torch.distributed",
    "faceclr_cli.core.training.run_worker",
    "faceclr_cli.core.embeddings.embed",
    "tests.faults.test_embed_killed",
]


def run_script(script: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script of Python in a process that has imported PyTorch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        process = context.Process(target=_run, args=(script, words, cwd, dict(os.environ), outputs))
        process.start()
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess([script, *words], process.exitcode, *(path.read_text() for path in outputs))


def _run(script: Path, words: tuple[str, ...], cwd: Path, environment: dict[str, str], outputs: list[Path]) -> None:
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(script), *words]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
