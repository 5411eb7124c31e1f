"""Work on many items in other processes, in order, and past items that kill the process that works on them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Protocol, TypeVar

import cv2

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.workers.capacity import THREADS_VARIABLE, cores, threads_per_process
from faceclr_cli.core.workers.memory import PICTURE, keep_memory
from faceclr_cli.core.workers.process import claim_process

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_CHUNK = 8
"""Items that travel to a worker together: one trip costs as much as a tenth of a small photograph."""

WORKER_BYTES = 192 << 20
"""What a worker takes at least: OpenCV, a detector, and a photograph."""

AHEAD = 4
"""Chunks in flight for each worker. What is in flight bounds the memory."""


class Pending(Protocol[R_co]):
    """Work that was handed out."""

    def result(self) -> R_co:
        """Waits for it.

        Raises:
            Exception: What the work raised, or `Team.died`.
        """
        ...


class Team(Protocol):
    """Workers that wait for work."""

    @property
    def died(self) -> type[Exception]:
        """What is raised for a chunk when the process that worked on it died."""
        ...

    def room(self) -> int:
        """How many chunks may be in flight just now."""
        ...

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> Pending[list[R]]:
        """Has a worker call the function on each item."""
        ...

    def retry(self, function: Callable[[T], R], item: T) -> Pending[list[R]]:
        """The same for one item of a chunk that died, so that if it dies again, this item is why."""
        ...


class Crew(Protocol):
    """Where work is done."""

    def at_most(self, workers: int) -> Crew:
        """The same for work that is not worth more workers than this, if those are started for it."""
        ...

    def start(self) -> AbstractContextManager[Team]:
        """Has the workers ready for the length of a `with` block; work that is left over at its end is dropped."""
        ...


@dataclass(frozen=True)
class Processes:
    """Processes of this machine. One means this process itself.

    A script that uses them needs the guard `if __name__ == "__main__":`, as with everything in Python
    that starts processes. They end with the block, and when their parent dies.

    Attributes:
        workers: How many; None for one per core.
    """

    workers: int | None = None

    @property
    def count(self) -> int:
        """How many processes that makes here."""
        return self.workers or cores()

    def at_most(self, workers: int) -> Processes:
        """See `Crew`."""
        return Processes(max(1, min(self.count, workers)))

    @contextmanager
    def start(self) -> Iterator[Team]:
        """See `Crew`."""
        with closing(_Pool(self.count)) as pool, closing(_Pool(1)) as spare:
            yield _LocalTeam(pool, spare, AHEAD * self.count)


def map_ordered(
    function: Callable[[T], R], items: Iterable[T], crew: Crew, on_crash: Callable[[T], R]
) -> Generator[R, None, None]:
    """Maps and gives the results in the order of the items.

    Args:
        function: What to do; at the top level of a module, and safe to repeat.
        items: What to do it on. Taken one by one as there is room, never far ahead of the results.
        crew: Who does it. The workers are let go when the generator is closed.
        on_crash: The result for an item on which a process died, for instance inside a decoder.

    Raises:
        DataError: The processes die whatever they are given.
        ConfigError: The crew cannot be had.
    """
    if isinstance(crew, Processes) and crew.count == 1:
        yield from map(function, items)
        return
    source = iter(items)
    flying: deque[tuple[list[T], Pending[list[R]]]] = deque()
    with crew.start() as team:
        while True:
            while len(flying) < team.room() and (chunk := list(islice(source, _CHUNK))):
                flying.append((chunk, team.submit(function, chunk)))
            if not flying:
                return
            chunk, pending = flying[0]
            try:
                results = pending.result()
            except team.died:
                yield from _one_by_one(function, chunk, team, on_crash)
            else:
                yield from results
            flying.popleft()


def _one_by_one(
    function: Callable[[T], R], items: Sequence[T], team: Team, on_crash: Callable[[T], R]
) -> Generator[R, None, None]:
    """Finds out which item kills the process that works on it, and goes on after it."""
    for item in items:
        try:
            results = team.retry(function, item).result()
        except team.died:
            results = [on_crash(item)]
        yield from results


@contextmanager
def share_out(function: Callable[[T], R], shares: Sequence[Sequence[T]]) -> Iterator[list[Future[list[R]]]]:
    """Gives each share of some items to a process of its own. Those that are not done at the end stop after an item.

    The processes divide the cores: each works with its share of the threads.

    Args:
        function: What to do with an item; can be sent to another process.
        shares: A process for each.
    """
    with ExitStack() as stack:
        threads = threads_per_process(len(shares))
        pools = [stack.enter_context(closing(_Pool(1, threads))) for _ in shares]
        yield [pool.submit(function, share) for pool, share in zip(pools, shares, strict=True)]


class _Pool:
    """Processes, started at the first work, and anew once one of them died. Each works with so many threads."""

    def __init__(self, workers: int, threads: int = 1) -> None:
        self._workers = workers
        self._threads = threads
        self._stack = ExitStack()
        self._executor: ProcessPoolExecutor | None = None

    def submit(self, function: Callable[[T], R], items: Sequence[T]) -> Future[list[R]]:
        if self._executor is None:
            self._executor = self._stack.enter_context(_spawn(self._workers, self._threads))
        try:
            # The first work starts the processes.
            with _ctrl_c_later():
                return self._executor.submit(_each, function, items)
        except BrokenProcessPool:  # of earlier work
            self.close()
            return self.submit(function, items)
        except (OSError, ValueError):  # of a closed pipe: one process died while the next was being started
            broken: Future[list[R]] = Future()
            broken.set_exception(BrokenProcessPool())
            return broken

    def close(self) -> None:
        self._executor = None
        self._stack.close()


class _LocalTeam:
    """The pool that does the work, and one of a single process for suspects: what dies there died of its item."""

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
            self._spare.submit(bool, [True]).result()  # only then the item is to blame for what follows
        except BrokenProcessPool:
            raise DataError("worker processes end as soon as they start (out of memory?); try --workers 1") from None
        return self._spare.submit(function, [item])


@contextmanager
def _spawn(workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned, since forked children of a process whose libraries run threads may hang.
    context = multiprocessing.get_context("spawn")
    ears, mouth = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_settle_in, initargs=(ears, threads))
    try:
        yield executor
    finally:
        mouth.close()
        executor.shutdown(wait=True, cancel_futures=True)
        ears.close()


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Processes that are started in the block are deaf to Ctrl-C from their first moment; this one hears it after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_LEAVING = threading.Event()
"""Set in a worker once nobody waits for its results."""


def _each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [function(item) for item in items if not _LEAVING.is_set()]


def _settle_in(ears: Connection, threads: int) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    # The variable is for libraries that are not loaded yet.
    cv2.setNumThreads(threads)
    os.environ[THREADS_VARIABLE] = str(threads)
    claim_process()
    keep_memory(*PICTURE)
    # Decoders write about damaged pictures straight to the descriptor; the ledger says it better.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    threading.Thread(target=_listen, args=(ears,), daemon=True).start()


def _listen(ears: Connection) -> None:
    wait([ears])  # the other end is closed when the pool is left, or with the parent
    _LEAVING.set()
    parent = multiprocessing.parent_process()
    if parent is not None:
        # Without this, workers of a parent that was killed would wait for work for ever.
        wait([parent.sentinel])
        os._exit(1)
