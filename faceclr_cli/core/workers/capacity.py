"""What this machine has, and whether that is enough for what is asked of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from faceclr_cli.core.errors import ConfigError

_PER_CORE = 8
"""Processes that a core may have to share itself between. More than one makes nothing faster."""

THREADS_VARIABLE = "OMP_NUM_THREADS"

_GIB = 1 << 30


def cores() -> int:
    """How many cores this process may use."""
    # Only Linux knows which.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """How many bytes of memory this process may use: what the machine has, or what its container is allowed."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_container_limits()])


def require_processes(option: str, count: int, bytes_each: int) -> None:
    """Raises a ConfigError for more processes than this machine can hold.

    Args:
        option: Its name, with dashes.
        count: How many processes it asks for.
        bytes_each: What each of them takes at least.
    """
    most = max(1, min(_PER_CORE * cores(), memory() // bytes_each))
    if count > most:
        raise ConfigError(f"{option} {count}: at most {most} on this machine, which has {_has()}")


def require_memory(options: str, needed: int) -> None:
    """Raises a ConfigError for what needs more memory than there is.

    Args:
        options: What asks for it, as the user would type it.
        needed: Bytes that it takes at least.
    """
    if needed > memory():
        raise ConfigError(f"{options}: needs {needed / _GIB:.1f} GiB of memory or more; this machine has {_has()}")


def threads_per_process(processes: int) -> int:
    """Threads for each of some processes: what OMP_NUM_THREADS says, or else an equal share of the cores."""
    wanted = os.environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return max(1, cores() // processes)


def _has() -> str:
    count = cores()
    return f"{count} {'core' if count == 1 else 'cores'} and {memory() / _GIB:.1f} GiB of memory"


def _container_limits(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """The limits of the control groups that this process is in, of either version."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        folder, name = (root, "memory.max") if not controllers else (root / "memory", "memory.limit_in_bytes")
        # Inside a container the path may be that of the host, so what is missing here is looked for further up.
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
