"""Launch of a function in one or several processes, connected by Lightning Fabric."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from faceclr_cli.core.events import Reporter, Silent
from faceclr_cli.core.training.local_processes import spawn
from faceclr_cli.core.training.machine import Machine
from faceclr_cli.core.training.stop_signals import StopRequest, handle_stop_signals
from faceclr_cli.core.workers.memory import NETWORK, keep_memory

A = TypeVar("A")
R = TypeVar("R")

Work = Callable[[Fabric, StopRequest, A, Reporter], R]
"""The work of each process, as a module-level function that new processes can import."""


def launch(work: Work[A, R], machine: Machine, argument: A, reporter: Reporter) -> R:
    """Runs `work` in the processes of a run and returns its result.

    - One process: `work` runs in this process.
    - Several processes: they are started on this machine, with the environment variables of torchrun. Fabric's
      launchers are not used: the subprocess launcher runs the command line again and kills this process with SIGKILL
      if a child fails. The multiprocessing launcher neither forwards events nor lets a child write its checkpoint after
      Ctrl-C.
    - torchrun: all processes are already running, possibly on several machines, and this is one of them.

    Args:
        work: Called with Fabric, the stop request, `argument` and a reporter.
        machine: From `find_machine`.
        argument: Any value that can be pickled.
        reporter: Receives the events of rank 0.

    Returns:
        The result of `work` on rank 0.

    Raises:
        FaceclrError: `work` raised it in one of the processes.
        InterruptedRunError, TerminatedRunError: A second signal was received.
    """
    with handle_stop_signals() as stop:
        if machine.launched or machine.world == 1:
            return run_here(work, machine, stop, argument, reporter if machine.rank == 0 else Silent())
        return spawn(partial(run_here, work, machine, stop, argument), machine, reporter)


def run_here(work: Work[A, R], machine: Machine, stop: StopRequest, argument: A, reporter: Reporter) -> R:
    """Runs `work` in this process, after connecting to the other processes of the run."""
    if machine.device == "cpu":
        keep_memory(*NETWORK)
    fabric = build_fabric(_agree_on_precision(machine))
    fabric.launch()
    result = work(fabric, stop, argument, reporter)
    # Not in a `finally` block: after an error, this would make the other processes fail first and hide the cause.
    if machine.world > 1:
        dist.destroy_process_group()
    return result


def _agree_on_precision(machine: Machine) -> Machine:
    """Returns the machine with the precision that rank 0 chose; torchrun's other processes do not know it yet."""
    if not machine.launched or machine.world == 1 or machine.device != "cpu":
        return machine
    dist.init_process_group("gloo")  # Fabric uses the group that exists.
    box = [machine.precision]
    dist.broadcast_object_list(box)
    return replace(machine, precision=box[0])


def build_fabric(machine: Machine) -> Fabric:
    """Connects this process to the device and to the other processes of the run, if any."""
    # Otherwise Fabric announces each process and its precision on standard error.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    accelerator = machine.device
    if machine.world == 1:
        # Explicit, because Fabric would treat a single process in a SLURM job as one of several.
        return Fabric(accelerator=accelerator, devices=1, precision=machine.precision, plugins=[LightningEnvironment()])
    strategy = DDPStrategy(
        cluster_environment=TorchElasticEnvironment(),
        process_group_backend="gloo" if machine.device == "cpu" else "nccl",
        gradient_as_bucket_view=True,
    )
    return Fabric(
        accelerator=accelerator,
        devices=int(os.environ["LOCAL_WORLD_SIZE"]),
        num_nodes=machine.nodes,
        strategy=strategy,
        precision=machine.precision,
    )
