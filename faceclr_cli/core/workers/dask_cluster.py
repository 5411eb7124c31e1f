"""Execution on a Dask cluster whose workers see the same files. The only module that imports Dask."""

from __future__ import annotations

import asyncio
import os
import pkgutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeVar, cast

import cv2

from faceclr_cli import __version__
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.opencv_log import SILENT, set_log_level
from faceclr_cli.core.workers.pool import AHEAD, Pending, Team

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")

_TIMEOUT = 10.0
"""Timeout, in seconds, for a response of the scheduler."""

_WORKER_TIMEOUT = 10.0
"""Timeout, in seconds, for the first worker."""

_COUNT_SECONDS = 1.0
"""Maximum age, in seconds, of the count of the cluster's threads."""


@dataclass(frozen=True)
class DaskCluster:
    """The workers of a Dask cluster. They need the same version of faceclr, and the same files at the same paths.

    If a worker is lost, Dask gives its work to another worker.

    Attributes:
        address: Address of the scheduler, such as tcp://scheduler:8786.
        shared: Paths that every worker must see.
    """

    address: str
    shared: tuple[Path, ...] = ()

    def at_most(self, workers: int) -> DaskCluster:  # noqa: ARG002
        """See `Crew`; the workers of a cluster are already running."""
        return self

    @contextmanager
    def start(self) -> Iterator[Team]:
        """See `Crew`.

        Raises:
            ConfigError: Dask is not installed, the cluster does not respond, or its workers have another faceclr.
            DataError: The connection to the scheduler was lost.
        """
        try:
            import dask

            # The scheduler's log contains what Dask would log here. Set at the first import only, so that a program
            # that uses Dask itself keeps its own setting.
            with dask.config.set({"logging": {"distributed": "critical", "distributed.client": "critical"}}):
                from distributed import CancelledError, Client, KilledWorker
                from distributed.comm.core import CommClosedError
        except ImportError:
            raise ConfigError("--cluster requires Dask; run: pip install 'faceclr[cluster]'") from None
        _require_scheduler(self.address)
        with closing(Client(self.address, timeout=_TIMEOUT, set_as_default=False, name="faceclr")) as client:
            self._check_workers(client)
            try:
                yield _DaskTeam(client, KilledWorker)
            except (CancelledError, CommClosedError):
                raise DataError(
                    f"--cluster {self.address}: lost the scheduler; run the same command to continue"
                ) from None

    def _check_workers(self, client: Client) -> None:
        try:
            client.wait_for_workers(1, timeout=_WORKER_TIMEOUT)
        except TimeoutError:
            raise ConfigError(
                f"--cluster {self.address} has no workers; start some with: dask worker {self.address}"
            ) from None
        # Call a function of the standard library, because faceclr may not be installed on a worker.
        versions = client.run(pkgutil.resolve_name, "faceclr_cli:__version__", on_error="return")
        for worker, version in versions.items():
            if isinstance(version, ImportError):
                raise ConfigError(
                    f"--cluster {self.address}: worker {worker} has no faceclr; install faceclr=={__version__} there"
                )
            if isinstance(version, str) and version != __version__:
                raise ConfigError(
                    f"--cluster {self.address}: worker {worker} has faceclr {version}, but this is {__version__}; "
                    "install the same version on both"
                )
        for path in map(os.path.abspath, self.shared):
            for worker, found in client.run(os.path.exists, path, on_error="return").items():
                if found is False:
                    raise ConfigError(
                        f"--cluster {self.address}: worker {worker} does not see {display_path(path)}; "
                        "workers need the same files at the same paths"
                    )


class _DaskTeam:
    """The current workers of the cluster, whose number may change."""

    def __init__(self, client: Client, died: type[Exception]) -> None:
        self.died = died
        self._client = client
        self._room = AHEAD
        self._counted = -_COUNT_SECONDS

    def room(self) -> int:
        if monotonic() - self._counted >= _COUNT_SECONDS:
            with suppress(OSError):  # a lost scheduler is reported with the next result
                # Without workers, the work waits for the next one.
                self._room = AHEAD * max(1, sum(self._client.nthreads().values()))
            self._counted = monotonic()
        return self._room

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> Pending[list[R]]:
        # `client.get_executor()` is not an option: its futures wait forever if the scheduler ends while a result is in
        # transit. The call has no arguments, because Dask would search them for its own futures.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # photos from archives travel with the call
            work = partial(_call_each, __version__, function, items)
            return cast(Pending[list[R]], self._client.submit(work, pure=False))

    def retry(self, function: Callable[[T], R], item: T) -> Pending[list[R]]:
        return self.submit(function, [item])


def _call_each(version: str, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Calls the function on each item of a chunk; runs on a worker."""
    if version != __version__:  # the worker joined after the version check
        raise ConfigError(
            f"a worker has faceclr {__version__}, but this run needs {version}; install the same version on both"
        )
    _quiet_opencv()
    return [function(item) for item in items]


@cache
def _quiet_opencv() -> None:
    cv2.setNumThreads(1)  # the workers already use all cores
    set_log_level(SILENT)  # the ledger records the reasons


def _require_scheduler(address: str) -> None:
    """Raises a ConfigError unless a scheduler responds. `Client` may wait forever for one that does not."""
    from distributed import Security
    from distributed.core import rpc

    async def ask() -> None:
        async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
            await scheduler.identity()

    try:
        asyncio.run(asyncio.wait_for(ask(), _TIMEOUT))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--cluster {address} is not the address of a Dask scheduler: {error}") from None
    except (OSError, MemoryError):  # the first bytes of another protocol may be read as the length of a message
        raise ConfigError(f"--cluster {address}: no Dask scheduler responds at this address") from None
