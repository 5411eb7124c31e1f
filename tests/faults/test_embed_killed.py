"""`embed` that is killed: at every write and every rename, and at arbitrary times."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.store import Store, read_store, write_store
from tests.core.embeddings.test_part_workers import draw, faces, same_rows
from tests.preload import PRELOADED

__all__ = ["faces"]  # The fixture.


def embed(place: Path, dies_at: int, keep_parts: bool) -> None:
    """Embeds in parts of three pictures, and dies by SIGKILL as it changes something on disk for the n-th time."""
    from faceclr_cli.core.embeddings import hdf5_columns as columns
    from faceclr_cli.core.embeddings import store_parts as parts
    from faceclr_cli.core.embeddings.embed import embed as run
    from faceclr_cli.core.events import Silent

    left = dies_at

    def deadly(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    parts._LEAST = 3
    for name in ("write_rows", "link_parts"):
        setattr(columns, name, deadly(getattr(columns, name)))
    for module, name in ((os, "replace"), (os, "unlink"), (os, "rmdir"), (os, "fsync"), (os, "mkdir")):
        setattr(module, name, deadly(getattr(module, name)))
    config = EmbedConfig(
        faces=place / "faces", out=place / "faces.h5", model="pixels", batch_size=2, keep_parts=keep_parts
    )
    run(config, Silent())


def in_a_process(place: Path, dies_at: int = 0, keep_parts: bool = False) -> int:
    """The exit code; below zero for a signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=embed, args=(place, dies_at, keep_parts))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def content(place: Path) -> Store:
    return read_store(place / "faces.h5")


@pytest.mark.parametrize("keep_parts", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_a_store_is_the_old_one_or_the_new_one_wherever_a_run_is_killed(
    keep_parts: bool, faces: Path, tmp_path: Path
) -> None:
    start, goal, place = (tmp_path / name for name in ("start", "goal", "place"))
    for path in sorted(faces.rglob("*.png"))[5:]:
        path.unlink()
    shutil.copytree(faces, start / "faces")
    assert in_a_process(start, keep_parts=keep_parts) == 0
    old = content(start)
    draw(start / "faces" / "person-0" / "0.png", 100)
    draw(start / "faces" / "person-7" / "new.png", 101)
    shutil.copytree(start, goal)
    assert in_a_process(goal, keep_parts=keep_parts) == 0
    new = content(goal)
    assert (len(old), len(new)) == (5, 6)
    ends, moment = set(), 0
    while True:
        moment += 1
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(start, place)
        code = in_a_process(place, moment, keep_parts)
        found = content(place)
        ends.add(len(found))
        assert same_rows(found, old) or same_rows(found, new), f"killed at change {moment}"
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert in_a_process(place, keep_parts=keep_parts) == 0
        assert same_rows(content(place), new), f"killed at change {moment}"
        assert not list(place.rglob(".*")), f"killed at change {moment}"
    assert ends == {5, 6}
    assert moment > 15  # The number of places where it was killed.


def test_what_parts_a_killed_run_finished_is_kept(faces: Path, tmp_path: Path) -> None:
    """All but the last part are whole before the run dies, and their pictures are not decoded again."""
    assert in_a_process(tmp_path, 30) == -signal.SIGKILL
    finished = len(list((tmp_path / "faces.h5.parts").glob("[0-9]*.h5")))
    assert finished > 2
    before = read_store(next((tmp_path / "faces.h5.parts").glob("[0-9]*-000000.h5")))
    # The next run must use the rows, not the pictures.
    marked = np.roll(before.embeddings, 1, axis=1)
    write_store(tmp_path / "faces.h5.parts" / "0001-000000.h5", replace(before, embeddings=marked))
    assert in_a_process(tmp_path) == 0
    assert np.array_equal(content(tmp_path).embeddings[: len(before)], marked)
