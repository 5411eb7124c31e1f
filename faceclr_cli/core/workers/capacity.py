"""Cores and memory of this machine, and checks that a request fits into them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from faceclr_cli.core.errors import ConfigError

_PER_CORE = 8
"""Maximum number of processes per core. More than one per core gains no speed, but is allowed."""

THREADS_VARIABLE = "OMP_NUM_THREADS"

_GIB = 1 << 30


def cores() -> int:
    """Returns the number of cores that this process may use."""
    # Only Linux has CPU affinities.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Returns the memory that this process may use, in bytes: that of the machine, or the limit of its container."""
    return min([_physical_memory(), *_container_limits()])


def require_processes(option: str, count: int, bytes_each: int) -> None:
    """Checks that this machine can run a number of processes.

    Args:
        option: Name of the option, with dashes.
        count: Number of processes.
        bytes_each: Minimum memory per process, in bytes.

    Raises:
        ConfigError: There are too few cores, or there is too little memory.
    """
    limit = max(1, min(_PER_CORE * cores(), memory() // bytes_each))
    if count > limit:
        raise ConfigError(f"{option} {count}: at most {limit} on this machine, which has {_describe_machine()}")


def require_memory(options: str, needed: int) -> None:
    """Checks that this machine has enough memory.

    Args:
        options: The options that need the memory, as typed by the user.
        needed: Minimum memory, in bytes.

    Raises:
        ConfigError: The machine has less memory.
    """
    if needed > memory():
        raise ConfigError(
            f"{options}: needs {needed / _GIB:.1f} GiB of memory or more; this machine has {_describe_machine()}"
        )


def threads_per_process(processes: int) -> int:
    """Returns the number of threads per process: OMP_NUM_THREADS, or else an equal share of the cores."""
    wanted = os.environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return max(1, cores() // processes)


def _physical_memory() -> int:
    if hasattr(os, "sysconf"):
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    import psutil  # Windows

    return int(psutil.virtual_memory().total)


def _describe_machine() -> str:
    count = cores()
    return f"{count} {'core' if count == 1 else 'cores'} and {memory() / _GIB:.1f} GiB of memory"


def _container_limits(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Yields the memory limits of the control groups (version 1 or 2) of this process, in bytes."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        folder, name = (root, "memory.max") if not controllers else (root / "memory", "memory.limit_in_bytes")
        # In a container, the path may be that of the host, so the limits of the parent groups are read too.
        group = folder / path.strip("/")
        for place in (group, *group.parents):
            if not place.is_relative_to(folder):
                break
            try:
                limit = (place / name).read_text().strip()
            except OSError:
                continue
            if limit.isdecimal():
                yield int(limit)
