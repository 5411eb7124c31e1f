"""`prepare` on a full disk: one error that says where, and no loss."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.prepare_runs import Ended, Outcome, outcome, prepare

_PAGE = 4096
_OPTIONS = ("--workers", "2")


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> Outcome:
    assert prepare(place / "roomy", "../photos", *_OPTIONS).code == 0
    return outcome(place / "roomy")


def finish(folder: Path) -> Outcome:
    ended = prepare(folder, "../photos", *_OPTIONS)
    assert (ended.code, ended.complaints, ended.notices) == (0, [], [])
    return outcome(folder)


def require_one_error(ended: Ended) -> None:
    assert ended.code == 3, ended.complained
    (line,) = ended.complaints
    assert line.startswith("error: faces")  # names the folder
    assert ended.said == ""


@pytest.mark.slow
def test_a_full_disk_is_one_error_and_no_loss(
    small_disk: tuple[Path, Callable[[int], None]], undisturbed: Outcome
) -> None:
    """Full before the first photograph, among the crops, and at the very end."""
    folder, resize = small_disk
    sizes = [len(content) for content in undisturbed.files.values()]
    needed = sum(-(-size // _PAGE) for size in sizes) * _PAGE // 1024
    for share in (0.0, 0.3, 0.6, 0.95, 1.0):
        resize(8 + int(share * needed))
        require_one_error(prepare(folder, "../photos", *_OPTIONS))
        assert not list(folder.rglob(".*"))
        assert not (folder / "faces" / "faceclr.json").exists()
    resize(4 * needed)
    assert finish(folder) == undisturbed


@pytest.mark.parametrize("limit", [1_000, pytest.param(20_000, marks=pytest.mark.nightly), 28_000])
def test_a_limit_on_the_size_of_files_is_one_error_and_no_loss(place: Path, undisturbed: Outcome, limit: int) -> None:
    """The crops are small; what does not fit is the ledger, at its beginning or later."""
    folder = place / f"limited-{limit}"

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    require_one_error(prepare(folder, "../photos", *_OPTIONS, before=restrict))
    assert finish(folder) == undisturbed
