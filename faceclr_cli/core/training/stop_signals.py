"""Ctrl-C and SIGTERM while a run trains: it ends after the step that it is at, with a checkpoint."""

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
    """The number of the signal that came, or 0, in memory that all processes of a run share."""

    flag: Any

    def requested(self) -> bool:
        """Whether a signal came, as this process knows."""
        return bool(self.flag.value)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Takes over SIGINT and SIGTERM for as long as the block lasts. A second one ends the run at once.

    A signal that is ignored, as SIGINT is in the background of a script, stays so. Outside the main thread,
    where Python lets nobody handle signals, they are left alone.
    """
    stop = StopRequest(multiprocessing.get_context("spawn").Value("i", 0, lock=False))
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def take(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.flag.value:
            raise stop_error(number, "stopped at once by a second signal, with the checkpoint of the last epoch")
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


def agree_to_stop(device: torch.device, *numbers: int) -> list[int]:
    """The largest of each number over all processes, so that all of them do the same after it."""
    if not (dist.is_available() and dist.is_initialized()):
        return list(numbers)
    largest = torch.tensor(numbers, device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return [int(number) for number in largest.tolist()]


def stop_error(number: int, text: str) -> StoppedError:
    """The error for a signal."""
    return InterruptedRunError(text) if number == signal.SIGINT else TerminatedRunError(text)
