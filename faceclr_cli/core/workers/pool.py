"""A process pool that keeps the order of results and survives items that crash a worker.

It is built on the standard library rather than loky. When a worker dies, loky 3.6 too fails all pending futures without
naming the item that caused it, and its workers do not notice that their parent was killed; so finding the photograph
that crashes a decoder and ending with the parent, which are most of this module, would remain.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait
from typing import Protocol, TypeVar

import cv2

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.workers.capacity import THREADS_VARIABLE, cores, threads_per_process
from faceclr_cli.core.workers.memory import PICTURE, keep_memory
from faceclr_cli.core.workers.process import block_signals, claim_process

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Connection
else:
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_CHUNK = 8
"""Number of items sent to a worker at once: one transfer takes a tenth of the time of a small photo."""

WORKER_BYTES = 192 << 20
"""Minimum memory of a worker, in bytes: OpenCV, a detector, and a photo."""

AHEAD = 4
"""Maximum number of chunks in flight per worker, which bounds the memory."""

_MOST_PROCESSES = 61 if sys.platform == "win32" else sys.maxsize
"""Maximum number of workers: Windows can wait for no more than 63 things at once."""


class Pending(Protocol[R_co]):
    """The result of submitted work."""

    def result(self) -> R_co:
        """Waits for the result.

        Raises:
            Exception: The exception of the work, or `Team.died`.
        """
        ...


class Team(Protocol):
    """Running workers."""

    @property
    def died(self) -> type[Exception]:
        """The exception raised for a chunk if the process that worked on it died."""
        ...

    def room(self) -> int:
        """Returns the number of chunks that may be in flight now."""
        ...

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> Pending[list[R]]:
        """Calls the function on each item in a worker."""
        ...

    def retry(self, function: Callable[[T], R], item: T) -> Pending[list[R]]:
        """Like `submit` for one item of a chunk that died. If the worker dies again, the item is the cause."""
        ...


class Crew(Protocol):
    """A description of workers that can be started."""

    def at_most(self, workers: int) -> Crew:
        """Returns the same crew with at most `workers` workers, if they are started for this work."""
        ...

    def start(self) -> AbstractContextManager[Team]:
        """Starts the workers for the duration of a `with` block. Unfinished work is dropped at its end."""
        ...


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine. With one worker, the work runs in the current process.

    A script that uses them needs the guard `if __name__ == "__main__":`, as with any Python code that starts
    processes. The processes end with the `with` block, and if their parent dies.

    Attributes:
        workers: Number of processes; None for one per core.
    """

    workers: int | None = None

    @property
    def count(self) -> int:
        """The number of processes on this machine."""
        return min(self.workers or cores(), _MOST_PROCESSES)

    def at_most(self, workers: int) -> Processes:
        """See `Crew`."""
        return Processes(max(1, min(self.count, workers)))

    @contextmanager
    def start(self) -> Iterator[Team]:
        """See `Crew`."""
        with closing(_Pool(self.count)) as pool, closing(_Pool(1)) as spare:
            yield _LocalTeam(pool, spare, AHEAD * self.count)


def map_ordered(
    function: Callable[[T], R], items: Iterable[T], crew: Crew, on_crash: Callable[[T], R], *, chunk_size: int = _CHUNK
) -> Generator[R, None, None]:
    """Applies a function to items in parallel and yields the results in the order of the items.

    Args:
        function: The function; defined at the top level of a module, and safe to repeat.
        items: The items. They are consumed lazily, never far ahead of the results.
        crew: The workers. They end when the generator is closed.
        on_crash: Returns the result for an item that crashed a process, for instance in a decoder.
        chunk_size: Number of items sent to a worker at once; results arrive together.

    Raises:
        DataError: The processes die with any item.
        ConfigError: The workers are not available.
    """
    if isinstance(crew, Processes) and crew.count == 1:
        yield from map(function, items)
        return
    source = iter(items)
    in_flight: deque[tuple[list[T], Pending[list[R]]]] = deque()
    with crew.start() as team:
        while True:
            while len(in_flight) < team.room() and (chunk := list(islice(source, chunk_size))):
                in_flight.append((chunk, team.submit(function, chunk)))
            if not in_flight:
                return
            chunk, pending = in_flight[0]
            try:
                results = pending.result()
            except team.died:
                yield from _one_by_one(function, chunk, team, on_crash)
            else:
                yield from results
            in_flight.popleft()


def _one_by_one(
    function: Callable[[T], R], items: Sequence[T], team: Team, on_crash: Callable[[T], R]
) -> Generator[R, None, None]:
    """Processes the items of a chunk one by one to find those that crash a worker."""
    for item in items:
        try:
            results = team.retry(function, item).result()
        except team.died:
            results = [on_crash(item)]
        yield from results


@contextmanager
def share_out(function: Callable[[T], R], shares: Sequence[Sequence[T]]) -> Iterator[list[Future[list[R]]]]:
    """Runs a function on each share of the items in a process of its own, which uses its share of the cores.

    At the end of the block, unfinished processes stop after their current item.

    Args:
        function: The function; must be picklable.
        shares: The items of each process.
    """
    with ExitStack() as stack:
        threads = threads_per_process(len(shares))
        pools = [stack.enter_context(closing(_Pool(1, threads))) for _ in shares]
        yield [pool.submit(function, share) for pool, share in zip(pools, shares, strict=True)]


class _Pool:
    """A process pool that starts on first use and restarts after the death of a worker."""

    def __init__(self, workers: int, threads: int = 1) -> None:
        self._workers = workers
        self._threads = threads
        self._stack = ExitStack()
        self._executor: ProcessPoolExecutor | None = None

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> Future[list[R]]:
        if self._executor is None:
            self._executor = self._stack.enter_context(_spawn(self._workers, self._threads))
        try:
            # The first submission starts the processes.
            with _block_ctrl_c():
                return self._executor.submit(_call_each, function, items)
        except BrokenProcessPool:  # from earlier work
            self.close()
            return self.submit(function, items)
        except (OSError, ValueError):  # closed pipe: one process died while another one was starting
            broken: Future[list[R]] = Future()
            broken.set_exception(BrokenProcessPool())
            return broken

    def close(self) -> None:
        self._executor = None
        self._stack.close()


class _LocalTeam:
    """The worker pool, and a pool of one process for single items: if this process dies, its item is the cause."""

    died = BrokenProcessPool

    def __init__(self, pool: _Pool, spare: _Pool, room: int) -> None:
        self._pool = pool
        self._spare = spare
        self._room = room

    def room(self) -> int:
        return self._room

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> Future[list[R]]:
        return self._pool.submit(function, items)

    def retry(self, function: Callable[[T], R], item: T) -> Future[list[R]]:
        try:
            self._spare.submit(bool, [True]).result()  # make sure that the process can run at all
        except BrokenProcessPool:
            raise DataError("worker processes die as soon as they start (out of memory?); try --workers 1") from None
        return self._spare.submit(function, [item])


@contextmanager
def _spawn(workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    # Forked children may hang if a library of the parent runs threads.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_set_up_worker, initargs=(receiver, threads)
    )
    try:
        yield executor
    finally:
        sender.close()
        executor.shutdown(wait=True, cancel_futures=True)
        receiver.close()


@contextmanager
def _block_ctrl_c() -> Iterator[None]:
    """Starts processes in the block with Ctrl-C blocked; this process receives a pending Ctrl-C afterward."""
    with block_signals((signal.SIGINT,)):
        yield


_CANCELED = threading.Event()
"""Set in a worker when its results are no longer needed."""


def is_canceled() -> bool:
    """Returns True in a worker whose results are no longer needed, so that long work can end early."""
    return _CANCELED.is_set()


def _call_each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [function(item) for item in items if not _CANCELED.is_set()]


def _set_up_worker(receiver: Connection, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    # OpenCV is already loaded; the variable is for libraries that are loaded later.
    cv2.setNumThreads(threads)
    os.environ[THREADS_VARIABLE] = str(threads)
    claim_process()
    keep_memory(*PICTURE)
    # Decoders write messages about damaged pictures to the file descriptor; the ledger records the reasons.
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, 2)
    os.close(null_device)
    threading.Thread(target=_wait_for_end, args=(receiver,), daemon=True).start()


def _wait_for_end(receiver: Connection) -> None:
    wait([receiver])  # readable when the pool is closed or the parent dies
    _CANCELED.set()
    parent = multiprocessing.parent_process()
    if parent is not None:
        # Without this, the workers of a killed parent would wait for work forever.
        wait([parent.sentinel])
        os._exit(1)
