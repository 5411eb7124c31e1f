from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.plots.confusion_matrix import compose_confusion, draw_confusion


def example(people: int) -> tuple[np.ndarray, list[str]]:
    """All people have ten pictures each; those of the last person are never predicted correctly."""
    matrix = np.diag([9] * people) + np.roll(np.eye(people, dtype=int), 1, axis=1)
    matrix[-1] = 0
    matrix[-1, 0] = 10
    return matrix, [f"person {number:03d}" for number in range(people)]


def words(people: int, folder: Path) -> list[str]:
    """Returns the texts in the picture; SVG keeps each text as a comment."""
    target = folder / "words.svg"
    draw_confusion(target, *example(people), "sface: confusion matrix")
    return re.findall(r"<!-- (.*?) -->", target.read_text())


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, suffix: str, start: bytes) -> None:
    for name in "ab":
        draw_confusion(tmp_path / f"{name}.{suffix}", *example(5), "title")
    first = (tmp_path / f"a.{suffix}").read_bytes()
    assert first == (tmp_path / f"b.{suffix}").read_bytes()
    assert first.startswith(start)


def test_colors_are_shares_of_each_persons_pictures() -> None:
    matrix = np.array([[9, 1, 0], [0, 1, 1], [0, 0, 0]])
    drawn = compose_confusion(matrix, ["a", "b", "c"], "title").axes[0].images[0]
    assert np.allclose(drawn.get_array(), [[0.9, 0.1, 0], [0, 0.5, 0.5], [0, 0, 0]])
    assert drawn.get_clim() == (0, 1)


def test_the_scale_only_gets_darker() -> None:
    scale = compose_confusion(*example(3), "title").axes[0].images[0].get_cmap()(np.linspace(0, 1, 20))
    brightness = scale[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) < 0).all()


@pytest.mark.parametrize("people", [5, 30])
def test_few_people_have_names_on_both_axes_and_counts_in_the_cells(people: int, tmp_path: Path) -> None:
    written = words(people, tmp_path)
    for name in example(people)[1]:
        assert written.count(name) == 2
    assert written.count("9") == people - 1
    assert written.count("10") == 1
    assert f"{10 * people} test pictures of {people} people" in " ".join(written)


@pytest.mark.parametrize("people", [5, 30, 45])
def test_no_name_overlaps_another(people: int) -> None:
    figure = compose_confusion(*example(people), "title")
    figure.canvas.draw()
    axes = figure.axes[0]
    for labels, side in ((axes.get_yticklabels(), "y"), (axes.get_xticklabels(), "x")):
        boxes = sorted((box.x0, box.x1) if side == "x" else (box.y0, box.y1) for box in map(_box, labels))
        assert all(former[1] <= later[0] + 1 for former, later in pairwise(boxes))


def _box(label):
    return label.get_window_extent()


def test_of_hundreds_of_people_the_worst_are_listed(tmp_path: Path) -> None:
    written = words(200, tmp_path)
    listed = [text for text in written if "person 0" in text or "person 1" in text]
    assert len(listed) == 12
    assert listed[0] == "0 of 10  person 199"
    assert listed[1] == "9 of 10  person 000"


def test_names_of_all_kinds_are_written_as_they_are(tmp_path: Path) -> None:
    draw_confusion(tmp_path / "a.svg", np.eye(3, dtype=int), ["$x^2$", "a\nb", "李"], "$\\frac$")
    written = re.findall(r"<!-- (.*?) -->", (tmp_path / "a.svg").read_text())
    assert "$x^2$" in written
    assert r"a\nb" in written
    assert r"\u674e" in written


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unsupported picture format"):
        draw_confusion(tmp_path / "a.gif", *example(3), "title")
    with pytest.raises(ValueError, match="cannot be drawn"):
        compose_confusion(np.zeros((2, 2), int), ["a", "b"], "title")
    with pytest.raises(ValueError, match="cannot be drawn"):
        compose_confusion(np.eye(2, dtype=int), ["a"], "title")
