"""Work that fails, in a module that new processes import quickly."""

from __future__ import annotations

import os
import signal

from lightning_fabric import Fabric

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.training.stop_signals import StopRequest


def failing(fabric: Fabric, stop: StopRequest, how: str, reporter: Reporter) -> None:
    """Rank 1 fails while rank 0 waits for it."""
    if fabric.global_rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise DataError("the disk is on fire")
    fabric.barrier()
