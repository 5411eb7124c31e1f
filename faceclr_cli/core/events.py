"""What core code says while it works. How that looks is decided in `commands/console.py` alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TaskStarted:
    """A countable piece of work begins.

    Attributes:
        task: What is done, as a label: `detecting faces`.
        total: How many units there are, or None where nobody knows yet.
        unit: What one unit is, in the plural: `photos`.
        done: Units that were finished by an earlier process.
    """

    task: str
    total: int | None = None
    unit: str = "items"
    done: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskAdvanced:
    """`done` units of the task are finished, those before this process included."""

    task: str
    done: int


@dataclass(frozen=True, kw_only=True)
class TaskFinished:
    """The task is over."""

    task: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One sentence for the person at the terminal or the reader of the log."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, kw_only=True)
class EpochFinished:
    """One epoch of training is over, validation included. `epoch` counts from 1."""

    epoch: int
    epochs: int
    metrics: Mapping[str, float]


Event = TaskStarted | TaskAdvanced | TaskFinished | Notice | EpochFinished


class Reporter(Protocol):
    """Whoever listens to core code."""

    def report(self, event: Event) -> None:
        """Takes one event. Must be quick: it is called from inner loops."""
        ...


class Silent:
    """A reporter that listens to nothing."""

    def report(self, event: Event) -> None:
        """Drops the event."""


def track(
    items: Iterable[T], reporter: Reporter, task: str, *, total: int | None = None, unit: str = "items"
) -> Iterator[T]:
    """Yields the items and reports each as done once the consumer asks for the next.

    Examples:
        >>> class Printing:
        ...     def report(self, event):
        ...         print(event)
        >>> for photo in track(["a.jpg"], Printing(), "looking", unit="photos"):
        ...     print(photo)
        TaskStarted(task='looking', total=None, unit='photos', done=0)
        a.jpg
        TaskAdvanced(task='looking', done=1)
        TaskFinished(task='looking')
    """
    reporter.report(TaskStarted(task=task, total=total, unit=unit))
    try:
        for done, item in enumerate(items, start=1):
            yield item
            reporter.report(TaskAdvanced(task=task, done=done))
    finally:
        reporter.report(TaskFinished(task=task))
