"""The progress of a job in a log, for a program and on a terminal."""

from __future__ import annotations

import io
import json
import re
import time

import pytest
from rich.console import Console as RichConsole

from faceclr_cli.commands import progress
from faceclr_cli.core.events import EpochFinished, Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted, track


@pytest.fixture(autouse=True)
def a_terminal_with_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def job(reporter: Reporter, clock: list[float]) -> None:
    """A hundred seconds, one photo a second."""
    reporter.report(TaskStarted(task="detecting", total=100, unit="photos"))
    for done in range(1, 101):
        clock[0] += 1.0
        reporter.report(TaskAdvanced(task="detecting", done=done))
    reporter.report(TaskFinished(task="detecting"))


def test_a_log_gets_a_line_every_half_minute(clock: list[float]) -> None:
    log = io.StringIO()
    job(progress.PlainLines(log), clock)
    assert log.getvalue().splitlines() == [
        "detecting: 30/100 photos, 1/s, 1:10 left",
        "detecting: 60/100 photos, 1/s, 0:40 left",
        "detecting: 90/100 photos, 1/s, 0:10 left",
    ]


def test_every_epoch_is_reported_even_in_fast_succession(clock: list[float]) -> None:
    """They are results, and the best epoch is named by its number. They do not delay the next progress line."""
    log, objects = io.StringIO(), io.StringIO()
    for reporter in (progress.PlainLines(log), progress.JsonLines(objects)):
        reporter.report(TaskStarted(task="training", total=400, unit="pictures"))
        for epoch in range(1, 41):
            clock[0] += 2.0
            reporter.report(EpochFinished(epoch=epoch, epochs=40, metrics={"loss": 1.5}))
            reporter.report(TaskAdvanced(task="training", done=10 * epoch))
    lines = log.getvalue().splitlines()
    assert [line for line in lines if line.startswith("epoch")] == [
        f"epoch {epoch:>2}/40  loss 1.500" for epoch in range(1, 41)
    ]
    assert [line.split(",")[0] for line in lines if line.startswith("training")] == [
        "training: 150/400 pictures",
        "training: 300/400 pictures",
    ]
    said = [json.loads(line) for line in objects.getvalue().splitlines()]
    assert [each["epoch"] for each in said if each["event"] == "epoch"] == list(range(1, 41))


def test_a_program_gets_one_object_a_line(clock: list[float]) -> None:
    log = io.StringIO()
    reporter = progress.JsonLines(log)
    job(reporter, clock)
    reporter.report(Notice(text="one picture was empty", level="warning"))
    reporter.report(EpochFinished(epoch=1, epochs=1, metrics={"loss": 1.5}))
    objects = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [o["event"] for o in objects] == ["progress", "progress", "progress", "notice", "epoch"]
    assert objects[0] == {
        "event": "progress", "task": "detecting", "done": 30, "total": 100, "unit": "photos", "rate": 1.0
    }  # fmt: skip
    assert objects[-1]["loss"] == 1.5


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    screen = io.StringIO()
    reporter = progress.RichProgress(RichConsole(file=screen, force_terminal=True, width=80, highlight=False))
    list(track(range(5), reporter, "detecting", total=5, unit="photos"))
    reporter.report(EpochFinished(epoch=1, epochs=2, metrics={"loss": 1.5}))
    assert "detecting" in screen.getvalue()
    assert "0/5" in screen.getvalue()
    assert reporter._progress is None
    assert screen.getvalue().endswith("epoch 1/2  loss 1.500\n")


@pytest.mark.parametrize(("width", "rate"), [(80, True), (60, True), (40, False)])
def test_a_bar_is_one_line_however_narrow_the_terminal(width: int, rate: bool) -> None:
    screen = io.StringIO()
    reporter = progress.RichProgress(RichConsole(file=screen, force_terminal=True, width=width))
    reporter.report(TaskStarted(task="detecting faces", total=202_599, unit="photos"))
    for done in (1, 100_000):
        time.sleep(0.01)  # Else there is no rate.
        reporter.report(TaskAdvanced(task="detecting faces", done=done))
    assert reporter._progress is not None
    reporter._progress.refresh()
    reporter.close()
    shown = re.sub(r"\x1b\[\??[\d;]*[A-Za-z]", "", screen.getvalue())
    *_, last = re.findall(r"detecting faces .*100000/202599 .*", shown)
    assert len(last.split("\r")[-1]) + len("^C") < width
    assert ("photos/s" in last) == rate
    assert "…" not in shown


def test_an_unknown_total_and_a_failing_job_leave_no_bar_behind() -> None:
    screen = io.StringIO()
    reporter = progress.RichProgress(RichConsole(file=screen, force_terminal=True, width=80))
    with pytest.raises(ZeroDivisionError):
        for _ in track(iter([1]), reporter, "reading"):
            1 / 0  # noqa: B018
    assert reporter._progress is None


def test_an_epoch_is_one_line_with_its_speed_last() -> None:
    metrics = {
        "loss": 7.98612, "top1": 0.035161, "lr": 0.00012345, "pictures_per_second": 512.3, "seconds": 12.43,
        "val_knn": 0.559322,
    }  # fmt: skip
    line = progress.format_epoch(EpochFinished(epoch=7, epochs=100, metrics=metrics))
    assert line.startswith("epoch   7/100  loss 7.986  top1 0.0352  lr 0.000123")
    assert line.endswith("  val_knn 0.559  512/s  12 s")


def test_on_a_narrow_terminal_lines_break_between_words_alone() -> None:
    screen = io.StringIO()
    reporter = progress.RichProgress(RichConsole(file=screen, force_terminal=True, width=40, highlight=False))
    path = "a-folder/with-a-long-name/and-another-one-inside/face.jpg"
    reporter.report(Notice(text=f"12 of 1,000 pictures are not there (the first: {path})", level="warning"))
    metrics = {"loss": 7.986, "top1": 0.0351, "lr": 0.000123, "val_knn": 0.559, "pictures_per_second": 512.0}
    reporter.report(EpochFinished(epoch=7, epochs=100, metrics=metrics))
    shown = re.sub(r"\x1b\[\d*m", "", screen.getvalue()).splitlines()
    assert shown == [
        "warning: 12 of 1,000 pictures are not",
        "there (the first:",
        f"{path})",
        "epoch   7/100  loss 7.986  512/s",
    ]
