"""The processes of a run on this machine: how they are started, monitored and stopped."""

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
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple, TypeVar

import torch

from faceclr_cli.core.errors import FaceclrError, ModelError
from faceclr_cli.core.events import Event, Reporter, Silent
from faceclr_cli.core.training.machine import Machine
from faceclr_cli.core.training.stop_signals import SIGNALS
from faceclr_cli.core.workers.capacity import threads_per_process
from faceclr_cli.core.workers.process import block_signals, claim_process, unblock_signals

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Connection
else:
    from multiprocessing.connection import Connection

R = TypeVar("R")


class _Child(NamedTuple):
    process: SpawnProcess
    pipe: Connection


class _Result(NamedTuple):
    result: Any


class _Failure(NamedTuple):
    error: Exception


class _PipeReporter:
    """The reporter of rank 0, which sends events to the parent process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def report(self, event: Event) -> None:
        self._pipe.send(event)


def spawn(body: Callable[[Reporter], R], machine: Machine, reporter: Reporter) -> R:
    """Runs `body` in `machine.world` new processes. None of them outlives this call.

    Args:
        body: The work of each process; must be picklable. The environment variables of torchrun hold its rank.
        machine: Number of processes and their device.
        reporter: Receives the events of rank 0.

    Returns:
        The result of rank 0.

    Raises:
        FaceclrError: A process raised it.
        ModelError: A process was killed or exited.
        RuntimeError: A process raised another exception; the message has its traceback.
    """
    context = multiprocessing.get_context("spawn")
    place, children = _rendezvous(), list[_Child]()
    try:
        with _hold_signals():
            for rank in range(machine.world):
                ours, theirs = context.Pipe()
                arguments = (rank, place, theirs, machine, body)
                # Not as a daemon, which could not start processes that decode faces.
                process = context.Process(target=_run_child, args=arguments, name=f"faceclr-{rank}")
                process.start()
                # Closing this copy lets the end of the child close the pipe.
                theirs.close()
                children.append(_Child(process, ours))
        result: R = _listen(children, reporter)
        return result
    finally:
        for child in children:
            child.pipe.close()
        for child in children:
            # Finished processes exit by themselves; the work of the others is no longer needed.
            child.process.join(timeout=0.0 if sys.exc_info()[0] else 10.0)
            if child.process.is_alive():
                child.process.kill()
            child.process.join()


def _listen(children: list[_Child], reporter: Reporter) -> Any:
    """Forwards events until all processes have finished. Waiting for pipes does not block signal handlers."""
    waiting, results = list(range(len(children))), dict[int, Any]()
    while waiting:
        ready = connection.wait([children[rank].pipe for rank in waiting])
        for rank in [rank for rank in waiting if children[rank].pipe in ready]:
            message = _receive(children[rank], len(children))
            if isinstance(message, _Failure):
                others = [child for child in children if child is not children[rank]]
                raise _root_cause(message.error, others)
            if isinstance(message, _Result):
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
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        return _Failure(
            ModelError(
                f"process {process.name.removeprefix('faceclr-')} of {world} {how}, possibly out of memory\n"
                "Resume from the last checkpoint with --resume."
            )
        )


def _root_cause(error: Exception, others: list[_Child]) -> Exception:
    """Returns the error of another process if the first error is only its consequence, such as a lost connection."""
    for other in others:
        while not isinstance(error, FaceclrError) and other.pipe.poll(timeout=1):
            message = _receive(other, len(others) + 1)
            if isinstance(message, _Failure):
                error = message.error if isinstance(message.error, FaceclrError) else error
                break
    return error


def _run_child(
    rank: int, place: dict[str, str], pipe: Connection, machine: Machine, body: Callable[[Reporter], Any]
) -> None:
    claim_process()
    # Terminals send SIGINT to all processes, and service managers send SIGTERM. Only the parent handles them: it sets
    # the shared flag, so that all processes stop after the same step.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    unblock_signals(SIGNALS)
    world = str(machine.world)
    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=world, LOCAL_WORLD_SIZE=world)
    if machine.device == "cpu":
        torch.set_num_threads(threads_per_process(machine.world))
    reporter = _PipeReporter(pipe) if rank == 0 else Silent()
    message: _Result | _Failure
    try:
        result = body(reporter)
        message = _Result(result if rank == 0 else None)
    except FaceclrError as error:
        message = _Failure(error)
    except Exception:  # noqa: BLE001 - the parent raises it
        message = _Failure(RuntimeError(f"in process {rank} of {world}:\n{traceback.format_exc()}"))
    with suppress(OSError, EOFError):
        pipe.send(message)
        # Wait for the parent: an early exit would make the other processes fail and hide the cause.
        pipe.recv()


@contextmanager
def _hold_signals() -> Iterator[None]:
    """Blocks signals while processes start. They inherit the mask, so no signal kills them before they ignore it."""
    # Started implicitly with the first process, the resource tracker would unblock the signals.
    resource_tracker.ensure_running()
    with block_signals(SIGNALS):
        yield


def _rendezvous() -> dict[str, str]:
    """Returns the environment variables of the rendezvous, with a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0"}
    if sys.platform == "linux":
        # By default, gloo looks up the hostname, which may not resolve.
        address["GLOO_SOCKET_IFNAME"] = "lo"
    return address
