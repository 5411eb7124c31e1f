"""Processes of a run on this machine: started, listened to, and never left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple, TypeVar

import torch

from faceclr_cli.core.errors import FaceclrError, ModelError
from faceclr_cli.core.events import Event, Reporter, Silent
from faceclr_cli.core.training.machine import Machine
from faceclr_cli.core.training.stop_signals import SIGNALS
from faceclr_cli.core.workers.capacity import threads_per_process
from faceclr_cli.core.workers.process import claim_process

R = TypeVar("R")


class _Child(NamedTuple):
    process: SpawnProcess
    pipe: Connection


class _Done(NamedTuple):
    result: Any


class _Failed(NamedTuple):
    error: Exception


class _Upwards:
    """The reporter of rank 0: hands events to the process that started it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def report(self, event: Event) -> None:
        self._pipe.send(event)


def spawn(body: Callable[[Reporter], R], machine: Machine, reporter: Reporter) -> R:
    """Runs `body` in `machine.world` new processes. Whatever happens, none of them outlives this call.

    Args:
        body: Can be sent to another process. The environment tells it its rank, as torchrun would.
        machine: How many processes, and of which kind.
        reporter: Hears the events of rank 0.

    Returns:
        What rank 0 returned.

    Raises:
        FaceclrError: The first error of any process.
        ModelError: A process died.
        RuntimeError: A process raised something else; its traceback is in the message.
    """
    context = multiprocessing.get_context("spawn")
    place, children = _address(), list[_Child]()
    try:
        with _signals_wait():
            for rank in range(machine.world):
                ours, theirs = context.Pipe()
                arguments = (rank, place, theirs, machine, body)
                process = context.Process(target=_child, args=arguments, daemon=True, name=f"faceclr-{rank}")
                process.start()
                # With this copy closed, the death of the child closes the pipe.
                theirs.close()
                children.append(_Child(process, ours))
        result: R = _listen(children, reporter)
        return result
    finally:
        for child in children:
            child.pipe.close()
        for child in children:
            # Those that are done leave by themselves; others have nothing left to do.
            child.process.join(timeout=0.0 if sys.exc_info()[0] else 10.0)
            if child.process.is_alive():
                child.process.kill()
            child.process.join()


def _listen(children: list[_Child], reporter: Reporter) -> Any:
    """Passes events on until all processes are done. It waits for pipes alone, so signals are handled meanwhile."""
    waiting, results = list(range(len(children))), dict[int, Any]()
    while waiting:
        ready = connection.wait([children[rank].pipe for rank in waiting])
        for rank in [rank for rank in waiting if children[rank].pipe in ready]:
            message = _receive(children[rank], len(children))
            if isinstance(message, _Failed):
                others = [child for child in children if child is not children[rank]]
                raise _true_error(message.error, others)
            if isinstance(message, _Done):
                results[rank] = message.result
                waiting.remove(rank)
            else:
                reporter.report(message)
    return results[0]


def _receive(child: _Child, world: int) -> Any:
    process = child.process
    try:
        return child.pipe.recv()
    except (EOFError, OSError):
        process.join(timeout=10)
        code = process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return _Failed(
            ModelError(
                f"process {process.name.removeprefix('faceclr-')} of {world} {how}, perhaps for lack of memory\n"
                "Continue from the last checkpoint with --resume."
            )
        )


def _true_error(error: Exception, others: list[_Child]) -> Exception:
    """A process that loses another fails for that reason; what befell the other says more."""
    for other in others:
        while not isinstance(error, FaceclrError) and other.pipe.poll(timeout=1):
            message = _receive(other, len(others) + 1)
            if isinstance(message, _Failed):
                error = message.error if isinstance(message.error, FaceclrError) else error
                break
    return error


def _child(
    rank: int, place: dict[str, str], pipe: Connection, machine: Machine, body: Callable[[Reporter], Any]
) -> None:
    claim_process()
    # A terminal sends Ctrl-C to all processes, and service managers SIGTERM: the parent alone answers,
    # by the flag, after which every process ends at the same step.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    world = str(machine.world)
    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=world, LOCAL_WORLD_SIZE=world)
    if machine.device == "cpu":
        torch.set_num_threads(threads_per_process(machine.world))
    reporter = _Upwards(pipe) if rank == 0 else Silent()
    message: _Done | _Failed
    try:
        result = body(reporter)
        message = _Done(result if rank == 0 else None)
    except FaceclrError as error:
        message = _Failed(error)
    except Exception:  # noqa: BLE001 - whatever it is, the parent tells it
        message = _Failed(RuntimeError(f"in process {rank} of {world}:\n{traceback.format_exc()}"))
    with suppress(OSError, EOFError):
        pipe.send(message)
        # To leave now would make the others fail too, for a reason that hides the true one.
        pipe.recv()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Holds signals back while processes start: they inherit that, so none dies before it can ignore them."""
    # It would let the signals through when it starts by itself, with the first process.
    resource_tracker.ensure_running()
    former = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _address() -> dict[str, str]:
    """Where the processes meet: a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0"}
    if sys.platform == "linux":
        # By default gloo looks up the name of the machine, which need not resolve.
        address["GLOO_SOCKET_IFNAME"] = "lo"
    return address
