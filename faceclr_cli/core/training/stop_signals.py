"""Handling of SIGINT and SIGTERM: a run stops after the current step and writes a checkpoint."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from faceclr_cli.core.errors import InterruptedRunError, StoppedError, TerminatedRunError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class StopRequest:
    """A stop request in memory that is shared by all processes of a run.

    Attributes:
        flag: Shared value: the number of the received signal, or 0.
    """

    flag: Any

    def requested(self) -> bool:
        """Returns True if a signal was received."""
        return bool(self.flag.value)


@contextmanager
def handle_stop_signals() -> Iterator[StopRequest]:
    """Handles SIGINT and SIGTERM within the block. A second signal stops the run immediately.

    Ignored signals stay ignored, such as SIGINT in background jobs of a shell script. Outside the main thread, where
    Python does not allow signal handlers, nothing is changed.
    """
    stop = StopRequest(multiprocessing.get_context("spawn").Value("i", 0, lock=False))
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def take(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.flag.value:
            raise stop_error(number, "stopped immediately by a second signal; resume from the last checkpoint")
        stop.flag.value = number

    former = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number, handler in former.items() if handler not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, take)
    try:
        yield stop
    finally:
        for number in taken:
            signal.signal(number, former[number])


def max_over_processes(device: torch.device, *numbers: int) -> list[int]:
    """Returns the maximum of each number over all processes, so that all of them make the same decision."""
    if not (dist.is_available() and dist.is_initialized()):
        return list(numbers)
    largest = torch.tensor(numbers, device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return [int(number) for number in largest.tolist()]


def stop_error(number: int, text: str) -> StoppedError:
    """Returns the error for a signal."""
    return InterruptedRunError(text) if number == signal.SIGINT else TerminatedRunError(text)
