"""Reporters of events: progress bars on a terminal, plain lines in a log, JSON lines for a program."""

from __future__ import annotations

import json
import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from faceclr_cli.core.events import EpochFinished, Event, Notice, TaskAdvanced, TaskFinished, TaskStarted

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 30.0
_MIN_WIDTH_FOR_BAR, _MIN_WIDTH_FOR_RATE = 50, 60
"""Minimum columns of a terminal to show a bar beside the numbers, and to show the rate."""


class RichProgress:
    """Progress bars with rate and remaining time, and a line per epoch.

    Rich is imported on the first event, so that commands without events do not wait for the import.

    Args:
        console: The Rich console to print to (default: standard error).
    """

    def __init__(self, console: RichConsole | None = None) -> None:
        self._given = console
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    @cached_property
    def _console(self) -> RichConsole:
        from rich.console import Console as RichConsole

        return self._given or RichConsole(stderr=True, highlight=False, emoji=False)

    def report(self, event: Event) -> None:
        """Shows one event."""
        match event:
            case TaskStarted():
                self._start(event)
            case TaskAdvanced():
                if self._progress is not None and event.task in self._tasks:
                    self._progress.update(self._tasks[event.task], completed=event.done)
            case TaskFinished():
                self._finish(event.task)
            case Notice():
                style = "yellow" if event.level == "warning" else None
                prefix = "warning: " if event.level == "warning" else ""
                self._print(prefix + event.text, style)
            case EpochFinished():
                self._print(format_epoch(event, min(_WIDTH, self._console.width)), None)

    def close(self) -> None:
        """Removes the bars from the screen."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()

    def _start(self, event: TaskStarted) -> None:
        if self._progress is None:
            self._progress = _bars(self._console)
            self._progress.start()
        self._tasks[event.task] = self._progress.add_task(
            event.task, total=event.total, completed=event.done, unit=event.unit
        )

    def _finish(self, name: str) -> None:
        if self._progress is not None and name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
        if not self._tasks:
            self.close()

    def _print(self, text: str, style: str | None) -> None:
        # soft_wrap: Rich would break paths longer than a line, which could then not be copied.
        self._console.print(wrap_text(text, self._console.width), style=style, markup=False, soft_wrap=True)


def _bars(console: RichConsole) -> Progress:
    from rich.console import Group, RenderableType
    from rich.constrain import Constrain
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.0f} {task.fields['unit']}/s" if task.speed else "", style="dim")

    def uncut_column() -> Column:
        """Returns a column that is not truncated: Rich would truncate numbers before it shortens the bar."""
        return Column(no_wrap=True)

    class Bars(Progress):
        def get_renderable(self) -> RenderableType:
            # Leave room for ^C: it would wrap a full line, and the wrong line would be erased.
            return Constrain(Group(*self.get_renderables()), console.width - len("^C") - 1)

    columns: list[ProgressColumn] = [TextColumn("{task.description}")]
    if console.width >= _MIN_WIDTH_FOR_BAR:
        columns.append(BarColumn(bar_width=None))
    columns.append(MofNCompleteColumn(table_column=uncut_column()))
    if console.width >= _MIN_WIDTH_FOR_RATE:
        columns.append(Rate(table_column=uncut_column()))
    columns.append(TimeRemainingColumn(compact=True, table_column=uncut_column()))
    return Bars(*columns, console=console, transient=True, expand=True)


class _Throttled(ABC):
    """Base of line reporters: progress at most every 30 seconds, notices and epochs always."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started: dict[str, tuple[TaskStarted, float]] = {}
        self._last_line = time.monotonic()

    def report(self, event: Event) -> None:
        """Writes a line for the event, unless it is progress and the last line is too recent."""
        match event:
            case TaskStarted():
                self._started[event.task] = (event, time.monotonic())
            case TaskFinished():
                self._started.pop(event.task, None)
            case TaskAdvanced():
                if event.task in self._started and self._due():
                    start, since = self._started[event.task]
                    self._advanced(event, start, max(time.monotonic() - since, 1e-9))
            case EpochFinished():
                self._epoch(event)
            case Notice():
                self._notice(event)

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last_line < SECONDS_BETWEEN_LINES:
            return False
        self._last_line = now
        return True

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    @abstractmethod
    def _advanced(self, event: TaskAdvanced, start: TaskStarted, seconds: float) -> None: ...

    @abstractmethod
    def _epoch(self, event: EpochFinished) -> None: ...

    @abstractmethod
    def _notice(self, event: Notice) -> None: ...


class PlainLines(_Throttled):
    """Plain lines, for a log, a pipe or a dumb terminal."""

    def _advanced(self, event: TaskAdvanced, start: TaskStarted, seconds: float) -> None:
        rate = (event.done - start.done) / seconds
        line = f"{event.task}: {event.done}"
        if start.total:
            line += f"/{start.total}"
        line += f" {start.unit}, {rate:.0f}/s"
        if start.total and rate:
            line += f", {_duration((start.total - event.done) / rate)} left"
        self._write(line)

    def _epoch(self, event: EpochFinished) -> None:
        self._write(format_epoch(event))

    def _notice(self, event: Notice) -> None:
        text = f"warning: {event.text}" if event.level == "warning" else event.text
        self._write(wrap_text(text, _WIDTH) if self._stream.isatty() else text)


class JsonLines(_Throttled):
    """JSON lines, for a program that reads standard error."""

    def _advanced(self, event: TaskAdvanced, start: TaskStarted, seconds: float) -> None:
        rate = (event.done - start.done) / seconds
        self._object(
            "progress", {"task": event.task, "done": event.done, "total": start.total, "unit": start.unit, "rate": rate}
        )

    def _epoch(self, event: EpochFinished) -> None:
        self._object("epoch", {"epoch": event.epoch, "epochs": event.epochs, **event.metrics})

    def _notice(self, event: Notice) -> None:
        self._object("notice", asdict(event))

    def _object(self, kind: str, content: Mapping[str, object]) -> None:
        self._write(json.dumps({"event": kind, **content}))


_WIDTH = 80
_OMISSION_ORDER = (
    "teacher_threshold", "teacher_tar@1e-2", "teacher_tar@1e-3", "teacher_accuracy", "teacher_knn",
    "cluster_threshold", "cluster_silhouette", "cluster_joined", "cluster_precision",
    "val_pictures", "val_people", "val_genuine", "val_impostor", "val_knn_chance", "val_knn_low", "val_knn_high",
    "val_accuracy_low", "val_accuracy_high", "val_cosine_low",
    "val_cosine_high", "val_neighbors", "val_threshold@1e-2", "val_threshold@1e-3", "cosine",
    "uses_mean", "uses_sd", "never_used", "val_far", "val_tar", "val_tar@1e-1", "val_tar@1e-2", "val_tar@1e-3",
    "val_threshold", "val_alignment", "val_uniformity", "top5", "val_top3", "val_top5",
    "val_rank", "lr", "center", "clusters", "clustered", "cluster_purity", "cluster_loss",
    "val_top1", "val_knn", "seconds", "active", "top1", "accuracy", "val_loss",
)  # fmt: skip
"""Metrics to omit from a line that is too long, the least important first. history.csv has all of them."""


def wrap_text(text: str, width: int, margin: int = 0) -> str:
    """Wraps a text between words, never inside one, and indents all lines but the first by the margin."""
    wrap = textwrap.TextWrapper(max(20, width - margin), break_long_words=False, break_on_hyphens=False).wrap
    return f"\n{' ' * margin}".join(part for line in text.splitlines() for part in wrap(line) or [""])


def format_epoch(event: EpochFinished, width: int = _WIDTH) -> str:
    """Formats an epoch within `width` columns: `epoch  3/50  loss 4.12  top1 0.31  lr 0.001  512/s  14 s`."""
    start = f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}  " if event.epoch else "before training  "
    return start + format_metrics(event.metrics, width - len(start))


def format_metrics(metrics: Mapping[str, float], width: int) -> str:
    """Formats the metrics of an epoch, followed by its speed and duration.

    Args:
        metrics: Values by name.
        width: Maximum columns; the least important metrics are omitted to fit.
    """
    speed = {"pictures_per_second": "{:.0f}/s", "seconds": "{:.0f} s"}
    parts = {name: f"{name} {_number(value)}" for name, value in metrics.items() if name not in speed}
    parts |= {name: text.format(metrics[name]) for name, text in speed.items() if name in metrics}
    sets = [name for name in parts if name.endswith(("_auc", "_threshold")) and name not in _OMISSION_ORDER]
    for name in (*sets, *_OMISSION_ORDER):
        if len("  ".join(parts.values())) > width:
            parts.pop(name, None)
    return "  ".join(parts.values())


def _number(value: float) -> str:
    """Formats a number with a fixed count of digits, so that consecutive lines are aligned."""
    return f"{value:g}" if float(value).is_integer() else f"{value:#.{4 if abs(value) >= 1 else 3}g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
