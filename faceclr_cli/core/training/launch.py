"""One function, run in one process or in many. Lightning Fabric joins them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
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
from faceclr_cli.core.training.stop_signals import StopRequest, stop_signals
from faceclr_cli.core.workers.memory import NETWORK, keep_memory

A = TypeVar("A")
R = TypeVar("R")

Work = Callable[[Fabric, StopRequest, A, Reporter], R]
"""What each process does; a function of a module, so that new processes find it. It returns what rank 0 found."""


def launch(work: Work[A, R], machine: Machine, argument: A, reporter: Reporter) -> R:
    """Runs `work` in as many processes as the machine says and returns its result.

    - One process: here.
    - Several: started here, for this machine alone. Each is told its place as torchrun would tell it. Fabric's
      own launchers don't do: one runs the command line again and ends this process by SIGKILL when a
      child fails, the other neither passes events on nor lets a child survive Ctrl-C to write its checkpoint.
    - torchrun: it has started the others already, maybe on other machines; this is one of them.

    Args:
        work: Called with Fabric, the flag that says when to stop, `argument` and a reporter.
        machine: Checked by `find_machine`.
        argument: Anything that can be sent to another process.
        reporter: Hears the events of rank 0.

    Raises:
        FaceclrError: What `work` raised, in whichever process.
        InterruptedRunError, TerminatedRunError: A second signal came.
    """
    with stop_signals() as stop:
        if machine.launched or machine.world == 1:
            return run_here(work, machine, stop, argument, reporter if machine.rank == 0 else Silent())
        return spawn(partial(run_here, work, machine, stop, argument), machine, reporter)


def run_here(work: Work[A, R], machine: Machine, stop: StopRequest, argument: A, reporter: Reporter) -> R:
    """Joins this process to the others, if there are any, and does the work."""
    # Fabric announces each process on standard error.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if machine.device == "cpu":
        keep_memory(*NETWORK)
    fabric = _fabric(machine)
    fabric.launch()
    result = work(fabric, stop, argument, reporter)
    # After an error the others must not be told before it is: they would fail too, and hide the reason.
    if machine.world > 1:
        dist.destroy_process_group()
    return result


def _fabric(machine: Machine) -> Fabric:
    accelerator = "cpu" if machine.device == "cpu" else "cuda"
    if machine.world == 1:
        # Named, since Fabric would take a single process inside a SLURM job for one of many.
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
