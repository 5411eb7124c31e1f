"""Work on a Dask cluster, whose workers see the same files. The one module that knows Dask."""

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
from faceclr_cli.core.workers.pool import AHEAD, Pending, Team

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE = 10.0
"""Seconds in which a scheduler must answer and have a worker."""

_COUNT_SECONDS = 1.0
"""How old a count of the cluster's threads may be."""


@dataclass(frozen=True)
class DaskCluster:
    """The workers of a Dask cluster. They need this version of faceclr, and the same files under the same names.

    A worker that is lost costs nothing: Dask gives its work to another.

    Attributes:
        address: Of the scheduler, such as tcp://scheduler:8786.
        shared: What every worker must find under the same absolute path.
    """

    address: str
    shared: tuple[Path, ...] = ()

    def at_most(self, workers: int) -> DaskCluster:  # noqa: ARG002
        """See `Crew`: these workers run anyway."""
        return self

    @contextmanager
    def start(self) -> Iterator[Team]:
        """See `Crew`.

        Raises:
            ConfigError: There is no Dask here, no cluster there, or its workers have another faceclr.
            DataError: The scheduler went away.
        """
        try:
            import dask

            # What Dask logs about the cluster says its scheduler's log too. Read at the first import, so that
            # a program that uses Dask itself keeps its own setting.
            with dask.config.set({"logging": {"distributed": "critical", "distributed.client": "critical"}}):
                from distributed import CancelledError, Client, KilledWorker
                from distributed.comm.core import CommClosedError
        except ImportError:
            raise ConfigError("--cluster needs Dask: pip install 'faceclr[cluster]'") from None
        _knock(self.address)
        with closing(Client(self.address, timeout=_PATIENCE, set_as_default=False, name="faceclr")) as client:
            self._check_workers(client)
            try:
                yield _DaskTeam(client, KilledWorker)
            except (CancelledError, CommClosedError):
                raise DataError(
                    f"--cluster {self.address}: the scheduler went away; the same command continues from here"
                ) from None

    def _check_workers(self, client: Client) -> None:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise ConfigError(
                f"--cluster {self.address} has no workers; start some with: dask worker {self.address}"
            ) from None
        # What is called there is of the standard library, since that is what any worker has.
        versions = client.run(pkgutil.resolve_name, "faceclr_cli:__version__", on_error="return")
        for worker, version in versions.items():
            if isinstance(version, ImportError):
                raise ConfigError(
                    f"--cluster {self.address}: worker {worker} has no faceclr; install faceclr=={__version__} there"
                )
            if isinstance(version, str) and version != __version__:
                raise ConfigError(
                    f"--cluster {self.address}: worker {worker} has faceclr {version}, and this is {__version__}; "
                    "install the same on both"
                )
        for path in map(os.path.abspath, self.shared):
            for worker, found in client.run(os.path.exists, path, on_error="return").items():
                if found is False:
                    raise ConfigError(
                        f"--cluster {self.address}: worker {worker} does not see {display_path(path)}; "
                        "workers need the same files under the same names"
                    )


class _DaskTeam:
    """The workers that the cluster has just now; there may be more or fewer of them later."""

    def __init__(self, client: Client, died: type[Exception]) -> None:
        self.died = died
        self._client = client
        self._room = AHEAD
        self._counted = -_COUNT_SECONDS

    def room(self) -> int:
        if monotonic() - self._counted >= _COUNT_SECONDS:
            with suppress(OSError):  # a scheduler that is gone shows in the next result
                # Without any worker just now, the work waits for the next one.
                self._room = AHEAD * max(1, sum(self._client.nthreads().values()))
            self._counted = monotonic()
        return self._room

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> Pending[list[R]]:
        # Not through `client.get_executor()`, whose futures wait for ever when the scheduler goes while a result is
        # on its way. And a call without arguments, since Dask would search those for futures of its own.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # of photographs out of archives
            work = partial(_each, __version__, function, items)
            return cast(Pending[list[R]], self._client.submit(work, pure=False))

    def retry(self, function: Callable[[T], R], item: T) -> Pending[list[R]]:
        return self.submit(function, [item])


def _each(version: str, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What a worker does."""
    if version != __version__:  # it came after the others were asked
        raise ConfigError(f"a worker has faceclr {__version__}, and {version} is needed")
    _calm()
    return [function(item) for item in items]


@cache
def _calm() -> None:
    cv2.setNumThreads(1)  # the workers use the cores already
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the ledger says it better


def _knock(address: str) -> None:
    """Raises a ConfigError unless a scheduler answers. A `Client` may wait for ever for one that doesn't."""
    from distributed import Security
    from distributed.core import rpc

    async def ask() -> None:
        async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
            await scheduler.identity()

    try:
        asyncio.run(asyncio.wait_for(ask(), _PATIENCE))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--cluster {address} is not the address of a Dask scheduler: {error}") from None
    except (OSError, MemoryError):  # the first bytes of other protocols can look like the length of a long message
        raise ConfigError(f"--cluster {address}: no Dask scheduler answers there") from None
