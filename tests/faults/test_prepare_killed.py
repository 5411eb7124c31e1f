"""After any interruption of `prepare`, the same command ends with the result of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from glob import glob
from itertools import count
from pathlib import Path

import pytest

from faceclr_cli.core.preparing.photo_worker import PART, WRITING
from tests.faults.prepare_runs import Outcome, notices_in, outcome, prepare, rows_of, start

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for left-over processes in /proc")

_PHOTOS = "../photos"
_ALL = ("--workers", "2")
_BOUNDED = (*_ALL, "--max-per-identity", "9", "--min-images", "5")


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    outcome: Outcome
    faces: int


def finish(place: Path, *options: str) -> Outcome:
    ended = prepare(place, _PHOTOS, *options)
    assert (ended.code, ended.complaints, ended.notices) == (0, [], [])
    return outcome(place)


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> dict[tuple[str, ...], Undisturbed]:
    runs: dict[tuple[str, ...], Undisturbed] = {}
    for options, faces in ((_ALL, 60), (_BOUNDED, 36)):
        found = finish(place / f"undisturbed-{faces}", *options)
        assert len(found.files) == faces + 1
        assert not any(
            part.startswith(".") or part.endswith(".part") for name in found.files for part in Path(name).parts
        )
        runs[options] = Undisturbed(outcome=found, faces=faces)
    return runs


def living(group: int) -> list[int]:
    """The processes of a group that have not ended; zombies do not count."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended just now
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def wait_until_all_have_ended(group: int) -> None:
    """Waits until all processes have ended. Workers that outlive their parent exceed the time limit of the test."""
    while living(group):
        time.sleep(0.02)


def wait_until(happens: Callable[[], bool], process: subprocess.Popen[bytes], pause: float = 0.002) -> None:
    while not happens() and process.poll() is None:
        time.sleep(pause)


def faces_in(place: Path) -> int:
    # pathlib's would stumble over folders that vanish meanwhile.
    return len(glob("faces/*/*.jpg", root_dir=place))  # noqa: PTH207


def wait_for_moment(
    attempt: int, share: float, process: subprocess.Popen[bytes], folder: Path, whole: Undisturbed
) -> None:
    """By the processes that were started, which hits the start; or by the crops that are still to be made, and then
    often until the ledger is being written.
    """
    before = faces_in(folder)
    if attempt % 2 == 0:
        wait_until(lambda: len(living(process.pid)) > 1 + attempt // 2 % 3, process)
    else:
        wait_until(lambda: faces_in(folder) > before + share * (whole.faces - before - 1), process)
    if attempt % 4 == 3:
        wait_until((folder / "faces" / "manifest.sqlite-journal").exists, process, pause=0)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("options", "kills"),
    [(_ALL, 4), (_BOUNDED, 5), pytest.param(_ALL, 20, marks=pytest.mark.nightly)],
    ids=["all", "bounded", "more"],
)
def test_a_run_that_is_killed_again_and_again_loses_nothing(
    place: Path, undisturbed: dict[tuple[str, ...], Undisturbed], options: tuple[str, ...], kills: int
) -> None:
    whole, chance = undisturbed[options], random.Random(kills)
    folder = place / f"killed-{kills}"
    found_after: list[int] = []
    for attempt in count():
        if len(found_after) == kills:
            break
        process = start(folder, _PHOTOS, *options)
        wait_for_moment(attempt, chance.random(), process, folder, whole)
        process.kill()
        process.wait()
        wait_until_all_have_ended(process.pid)
        process.communicate()
        if process.returncode == 0:  # it finished earlier, and the next attempt starts again
            assert outcome(folder) == whole.outcome
            shutil.rmtree(folder)
        else:
            found_after.append(faces_in(folder))
    assert finish(folder, *options) == whole.outcome, found_after


def test_a_crop_that_was_just_being_written_is_written_again(
    place: Path, undisturbed: dict[tuple[str, ...], Undisturbed]
) -> None:
    """A kill during the writing of a crop is too rare to wait for, so its leftover is created here."""
    folder = place / "writing"
    process = start(folder, _PHOTOS, *_ALL)
    wait_until(lambda: faces_in(folder) >= 20, process)
    everybody(process, signal.SIGKILL)
    process.communicate()
    noted = {output for (output,) in rows_of(folder, "SELECT output FROM photos WHERE output IS NOT NULL")}
    crops = set(glob("*/*.jpg", root_dir=folder / "faces"))  # noqa: PTH207
    assert noted <= crops
    for name in crops - noted:
        (folder / "faces" / name).write_bytes(b"\xff\xd8")
    (folder / "faces" / "person-01" / f".0a1b2c3d7f01{PART}").write_bytes(b"\xff\xd8")  # of an earlier release
    (folder / "faces" / WRITING).mkdir(exist_ok=True)
    (folder / "faces" / WRITING / f"0a1b2c3d7f01{PART}").write_bytes(b"\xff\xd8")
    assert finish(folder, *_ALL) == undisturbed[_ALL].outcome


def everybody(process: subprocess.Popen[bytes], number: int) -> None:
    os.killpg(process.pid, number)


def leader(process: subprocess.Popen[bytes], number: int) -> None:
    process.send_signal(number)


@pytest.mark.parametrize("faces", [pytest.param(1, marks=pytest.mark.nightly), 35])
@pytest.mark.parametrize(
    ("send", "number", "code", "complaint"),
    [
        (everybody, signal.SIGINT, 130, "error: interrupted\n"),
        (leader, signal.SIGTERM, 143, "error: terminated\n"),
        (everybody, signal.SIGTERM, 143, "error: terminated\n"),
    ],
    ids=["ctrl-c", "kill", "kill group"],
)
def test_a_stopped_run_ends_before_its_work_is_done_and_is_continued(
    place: Path,
    request: pytest.FixtureRequest,
    undisturbed: dict[tuple[str, ...], Undisturbed],
    send: Callable[[subprocess.Popen[bytes], int], None],
    number: int,
    code: int,
    complaint: str,
    faces: int,
) -> None:
    folder = place / f"stopped-{request.node.callspec.id}"
    while True:
        process = start(folder, _PHOTOS, *_ALL)
        wait_until(lambda: faces_in(folder) >= faces, process)
        with suppress(ProcessLookupError):
            send(process, number)
        _, complained = process.communicate()
        if process.returncode != 0:
            break
        shutil.rmtree(folder)  # it finished before it was stopped
    text = complained.decode()
    last = text.splitlines(keepends=True)[-1]
    assert (process.returncode, last) == (code, complaint)
    (notice,) = notices_in(text)
    assert "run the same command to continue" in notice
    wait_until_all_have_ended(process.pid)
    assert not list(folder.rglob(".*"))
    assert not (folder / "faces" / "faceclr.json").exists()
    noted = len(rows_of(folder, "SELECT path FROM photos"))
    assert noted < 66
    ended = prepare(folder, _PHOTOS, *_ALL)
    assert json.loads(ended.said)["processed"] == 66 - noted  # finished work is not repeated
    assert outcome(folder) == undisturbed[_ALL].outcome
