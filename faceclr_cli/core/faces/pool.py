"""Work on many files over several processes, in order, and past files that kill the process that reads them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import TypeVar

import cv2

from faceclr_cli.core.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

_CHUNK = 8
"""Items that travel to a worker together: one trip costs as much as a tenth of a small photograph."""

_AHEAD = 4
"""Chunks in flight for each worker. What is in flight bounds the memory."""


def map_ordered(
    function: Callable[[T], R], items: Sequence[T], workers: int, on_crash: Callable[[T], R]
) -> Generator[R, None, None]:
    """Maps in processes and gives the results in the order of the items. With one worker, in this process.

    A script that calls this needs the guard `if __name__ == "__main__":`, as with everything in Python
    that starts processes. The processes end when the generator is closed, and when their parent dies.

    Args:
        function: What to do; at the top level of a module, and safe to repeat.
        items: What to do it on.
        workers: How many processes.
        on_crash: The result for an item on which a process died, for instance inside a decoder.

    Raises:
        DataError: The processes die whatever they are given.
    """
    if workers == 1:
        yield from map(function, items)
        return
    waiting = deque(items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
    flying: deque[tuple[Sequence[T], Future[list[R]]]] = deque()
    while waiting:
        with _pool(workers) as pool:
            try:
                while waiting or flying:
                    while waiting and len(flying) < _AHEAD * workers:
                        flying.append((waiting[0], pool.submit(_each, function, waiting[0])))
                        waiting.popleft()
                    yield from flying[0][1].result()
                    flying.popleft()
            except BrokenProcessPool:
                suspects = [item for chunk, _ in flying for item in chunk]
                flying.clear()
            else:
                return
        yield from _one_by_one(function, suspects, on_crash)


def _one_by_one(function: Callable[[T], R], items: Sequence[T], on_crash: Callable[[T], R]) -> Generator[R, None, None]:
    """Finds out which item kills the process that works on it, and goes on after it."""
    waiting = deque(items)
    while waiting:
        with _pool(1) as pool:
            _require_life(pool)
            try:
                while waiting:
                    yield pool.submit(function, waiting[0]).result()
                    waiting.popleft()
            except BrokenProcessPool:
                yield on_crash(waiting.popleft())


def _require_life(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool:
        raise DataError("worker processes end as soon as they start (out of memory?); try --workers 1") from None


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned, since forked children of a process whose libraries run threads may hang.
    context = multiprocessing.get_context("spawn")
    ears, mouth = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_settle_in, initargs=(ears,))
    try:
        yield executor
    finally:
        mouth.close()
        executor.shutdown(wait=True, cancel_futures=True)
        ears.close()


_LEAVING = threading.Event()
"""Set in a worker once nobody waits for its results."""


def _each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [function(item) for item in items if not _LEAVING.is_set()]


def _settle_in(ears: Connection) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    cv2.setNumThreads(1)  # the processes use the cores already
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
