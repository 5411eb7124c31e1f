"""How many cores there are for this process, and how processes that work side by side divide them."""

from __future__ import annotations

import os

from faceclr_cli.core.errors import ConfigError

_MOST_PER_CORE = 8
THREADS_VARIABLE = "OMP_NUM_THREADS"


def available_cores() -> int:
    """Cores that this process may use."""
    # Only Linux knows which those are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_cores(option: str, processes: int) -> None:
    """Refuses so many processes that starting them would bring the machine down.

    Raises:
        ConfigError: There are more than eight for each core.
    """
    cores = available_cores()
    if processes > _MOST_PER_CORE * cores:
        raise ConfigError(
            f"{option} {processes}: this process may use {cores} core{'s' if cores > 1 else ''}, which are enough for "
            f"{_MOST_PER_CORE * cores} processes at most; more than one per core is seldom faster"
        )


def threads_per_process(processes: int) -> int:
    """Threads for each of some processes: what OMP_NUM_THREADS says, or else an equal share of the cores."""
    wanted = os.environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return max(1, available_cores() // processes)
