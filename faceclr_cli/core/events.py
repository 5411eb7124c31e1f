"""Events with which core code reports progress. Only `commands/` decides how they are displayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TaskStarted:
    """A task with countable units has started.

    Attributes:
        task: Label of the task, such as `detecting faces`.
        total: Number of units, or None if it is not known yet.
        unit: Plural name of the units, such as `photos`.
        done: Number of units that an earlier run completed.
    """

    task: str
    total: int | None = None
    unit: str = "items"
    done: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskAdvanced:
    """`done` units of the task are complete, including those of earlier runs."""

    task: str
    done: int


@dataclass(frozen=True, kw_only=True)
class TaskFinished:
    """The task has ended."""

    task: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A message for the user."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, kw_only=True)
class EpochFinished:
    """An epoch of training has ended, including validation. `epoch` counts from 1; 0 is before the first step."""

    epoch: int
    epochs: int
    metrics: Mapping[str, float]


Event = TaskStarted | TaskAdvanced | TaskFinished | Notice | EpochFinished


class Reporter(Protocol):
    """A receiver of events."""

    def report(self, event: Event) -> None:
        """Receives an event. Must be fast, since it is called from inner loops."""
        ...


class Silent:
    """A reporter that ignores all events."""

    def report(self, event: Event) -> None:
        """Ignores the event."""


def track(
    items: Iterable[T], reporter: Reporter, task: str, *, total: int | None = None, unit: str = "items"
) -> Iterator[T]:
    """Yields the items, and reports each one as complete when the next one is requested.

    Args:
        items: The items to yield.
        reporter: Receiver of the events.
        task: Label of the task.
        total: Number of items, if known.
        unit: Plural name of the items.

    Yields:
        The items.

    Examples:
        >>> class Printing:
        ...     def report(self, event):
        ...         print(event)
        >>> for photo in track(["a.jpg"], Printing(), "detecting faces", unit="photos"):
        ...     print(photo)
        TaskStarted(task='detecting faces', total=None, unit='photos', done=0)
        a.jpg
        TaskAdvanced(task='detecting faces', done=1)
        TaskFinished(task='detecting faces')
    """
    reporter.report(TaskStarted(task=task, total=total, unit=unit))
    try:
        for done, item in enumerate(items, start=1):
            yield item
            reporter.report(TaskAdvanced(task=task, done=done))
    finally:
        reporter.report(TaskFinished(task=task))
