from __future__ import annotations

import pytest

from faceclr_cli.core.events import Event, TaskAdvanced, TaskFinished, TaskStarted, track


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)


def test_track_reports_an_item_when_the_next_is_asked_for() -> None:
    recorder = Recorder()
    items = track("ab", recorder, "reading", total=2, unit="letters")
    assert next(items) == "a"
    assert recorder.events == [TaskStarted(task="reading", total=2, unit="letters")]
    assert list(items) == ["b"]
    advanced = [TaskAdvanced(task="reading", done=done) for done in (1, 2)]
    assert recorder.events[1:] == [*advanced, TaskFinished(task="reading")]


def test_a_task_that_fails_is_finished_too() -> None:
    recorder = Recorder()
    with pytest.raises(KeyError):
        for _ in track("a", recorder, "reading"):
            raise KeyError
    assert recorder.events[-1] == TaskFinished(task="reading")
