from __future__ import annotations

import gc
import hashlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.core.workers import memory
from tests.message_options import foreign_in_output

# Set before NumPy and PyTorch are imported: two workers with several threads each slow each other down on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hundreds of short processes would compile the same modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# As in the processes of faceclr: mapping freed memory again took more than half of the time of a network.
with mock.patch.object(memory, "is_claimed", return_value=True):
    memory.keep_memory(*memory.NETWORK)

# Otherwise, the speed of the processor would determine the precision of a test's training.
for _trainer in ("PRETRAIN", "DISTILL", "TRAIN_TRIPLET", "TRAIN_CENTER"):
    os.environ[f"FACECLR_{_trainer}_PRECISION"] = "32"

# A suite that is started in the background inherits an ignored SIGINT, which many tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_LONG_FIRST = ("distributed", "faults", "docs", "cli", "benchmarks", "core/training", "core/evaluation", "core/upkeep")
"""Folders with the longest files. They run first, so that no worker is left alone with a long file at the end."""

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tenth",
        type=int,
        choices=range(10),
        metavar="N",
        help="run one tenth of the tests, 0 to 9, chosen by their names",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Selects the tenth that `--tenth` asks for, and moves long files to the front.

    The tenth of a test depends only on its name, so that all ten together are all tests.
    """
    root = Path(__file__).parent
    items.sort(key=lambda item: _rank(item.path.relative_to(root).as_posix()))
    tenth = config.getoption("--tenth")
    if tenth is not None:
        chosen = [item for item in items if int(hashlib.sha256(item.nodeid.encode()).hexdigest(), 16) % 10 == tenth]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_collection_finish() -> None:
    """What has been imported lives to the end, so the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _rank(path: str) -> int:
    ranks = (rank for rank, folder in enumerate(_LONG_FIRST) if path.startswith(f"{folder}/"))
    return next(ranks, len(_LONG_FIRST))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A tenth without a single test is not a failure."""
    if session.config.getoption("--tenth") is not None and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real photographs for development, which are not part of the project."""
    folder = Path(os.environ.get("FACECLR_TEST_DATA", _BESIDE))
    if not (folder / "photos").is_dir():
        pytest.skip("no real photographs: set FACECLR_TEST_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A separate cache: the tests neither use nor change the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "FACECLR_CACHE" not in os.environ:
            patch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _known_results() -> Iterator[None]:
    """Hundreds of tests detect the faces of the same pictures, one after another."""
    from tests.known_results import share_results

    with pytest.MonkeyPatch.context() as patch:
        share_results(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_options() -> Iterator[None]:
    """Fails the test in which a command names an option that it does not have."""
    invoke = CliRunner.invoke

    def checked(self: CliRunner, app: Any, args: Any = None, *others: Any, **named: Any) -> Result:
        done = invoke(self, app, args, *others, **named)
        words = shlex.split(args) if isinstance(args, str) else list(map(str, args or ()))
        foreign = foreign_in_output(words, done.stderr)
        assert foreign == [], f"options that the command does not have: {foreign}"
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CliRunner, "invoke", checked)
        yield
