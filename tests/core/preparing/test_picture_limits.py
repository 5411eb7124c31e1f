from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.preparing.photo_worker import CropJob
from faceclr_cli.core.preparing.picture_limits import PictureLimits, select_needed


def album(person: str | None, count: int) -> list[CropJob]:
    names = [f"{person}/{number}.jpg" for number in range(count)]
    return [CropJob(source=Path(name), path=name, identity=person, output=name) for name in names]


def settle(
    work: list[CropJob], limits: PictureLimits, is_good: Callable[[str], bool], stop_after: int | None = None
) -> tuple[set[str], set[str], dict[str, Reason]]:
    """Processes photographs until no more are needed, as `prepare` does, or until it is killed; then starts again."""
    good: set[str] = set()
    bad: set[str] = set()
    while (plan := select_needed(work, limits, good, bad, good)).todo:
        for item in plan.todo:
            (good if is_good(item.path) else bad).add(item.path)
            if len(good) + len(bad) == stop_after:
                break
    return good, bad, plan.left_out


def test_without_limits_all_photos_are_processed_at_once() -> None:
    work = album("ann", 3) + album(None, 2)
    plan = select_needed(work, PictureLimits(), {"ann/0.jpg"}, {"None/1.jpg"}, {"ann/0.jpg"})
    assert {item.path for item in plan.todo} == {"None/0.jpg", "ann/1.jpg", "ann/2.jpg"}
    assert plan.left_out == {}


def test_people_who_cannot_have_enough_photos_are_not_processed() -> None:
    work = album("ann", 5) + album("bob", 4) + album(None, 1)
    good, bad, left_out = settle(work, PictureLimits(least=5), lambda _: True)
    assert good == {item.path for item in work if item.identity != "bob"}
    assert bad == set()
    assert left_out == {item.path: Reason.FEW for item in work if item.identity == "bob"}


def test_people_with_too_few_faces_are_left_out() -> None:
    work = album("ann", 5)
    good, bad, left_out = settle(work, PictureLimits(least=5), lambda path: path != "ann/3.jpg")
    assert bad == {"ann/3.jpg"}
    assert left_out == dict.fromkeys(good, Reason.FEW)


def test_only_needed_photos_are_processed_and_failures_are_replaced() -> None:
    work = album("ann", 100)
    good, bad, left_out = settle(work, PictureLimits(most=10), lambda path: "7" not in path)
    assert len(good) == 10
    assert len(left_out) == 100 - 10 - len(bad)
    assert set(left_out.values()) == {Reason.SURPLUS}
    again = settle(list(reversed(work)), PictureLimits(most=10), lambda path: "7" not in path)
    assert again == (good, bad, left_out)


@pytest.mark.parametrize("stop_after", [1, 4, 9, 14, 23])
def test_interruptions_do_not_change_the_selection(stop_after: int) -> None:
    work = album("ann", 30) + album("bob", 9) + album("cyd", 12)

    def is_good(path: str) -> bool:
        return sum(map(ord, path)) % 3 > 0

    limits = PictureLimits(least=6, most=8)
    assert settle(work, limits, is_good, stop_after) == settle(work, limits, is_good)
