from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from faceclr_cli.core.plots import scatter_map as map_module
from faceclr_cli.core.plots.scatter_map import draw_map


def _draw(path: Path, people: list[str | None], title: str = "sface · t-SNE") -> bytes:
    points = np.random.default_rng(0).normal(size=(len(people), 2)).astype(np.float32)
    draw_map(path, points, people, title=title, subtitle="faces")
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    people = [f"person-{number % 5}" for number in range(40)]
    assert _draw(tmp_path / f"a.{suffix}", people) == _draw(tmp_path / f"b.{suffix}", people)


def test_people_differ_in_color(tmp_path: Path) -> None:
    _draw(tmp_path / "map.png", ["a", "b"] * 30)
    image = cv2.imread(str(tmp_path / "map.png"))
    for color in ((0x88, 0x22, 0x33), (0x77, 0x66, 0xCC)):
        assert (np.abs(image.astype(int) - color).max(axis=2) < 25).sum() > 500


@pytest.mark.parametrize("people", [1, 30, 70])
def test_any_number_of_people_fits(tmp_path: Path, people: int) -> None:
    assert _draw(tmp_path / "map.png", [f"p{number % people}" for number in range(80)])


def test_a_legend_of_very_many_ends_with_how_many_more(tmp_path: Path) -> None:
    _draw(tmp_path / "map.png", [f"p{number:04d}" for number in range(1000)])
    _draw(tmp_path / "few.png", [f"p{number:04d}" for number in range(96)])
    many, few = (cv2.imread(str(tmp_path / name)).shape for name in ("map.png", "few.png"))
    assert many == few


def test_unlabeled_faces_have_no_legend(tmp_path: Path) -> None:
    assert b"<svg" in _draw(tmp_path / "map.svg", [None] * 8)


def test_odd_names_are_drawn_without_a_word(tmp_path: Path, capfd, recwarn) -> None:
    odd = ["_hidden", "$x^2", "caf\udce9", "李雷", "two\nlines", "n" * 300]
    assert _draw(tmp_path / "map.png", odd * 3, title="en\udce9coder $\\frac$")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_the_users_matplotlib_is_left_alone(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    _draw(tmp_path / "map.png", ["a", "b"])
    assert dict(matplotlib.rcParams) == before


def test_points_that_coincide_make_a_map(tmp_path: Path) -> None:
    draw_map(tmp_path / "map.png", np.zeros((3, 2), np.float32), ["a"] * 3, title="t", subtitle="s")
    with pytest.raises(ValueError, match="do not match"):
        draw_map(tmp_path / "map.png", np.zeros((3, 2), np.float32), ["a"], title="t", subtitle="s")


def test_faces_of_unknown_people_are_drawn_as_pictures(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    red = np.zeros((8, 8, 3), np.uint8) + np.array([220, 10, 20], np.uint8)
    pictures = [red] * 5 + [None]

    def shown(people: list[str | None], some: list[np.ndarray | None]) -> int:
        draw_map(tmp_path / "map.png", points, people, title="t", subtitle="s", thumbnails=some)
        image = cv2.imread(str(tmp_path / "map.png"))[:, :, ::-1].astype(int)
        return int((np.abs(image - red[0, 0]).max(axis=2) < 12).sum())

    one = shown([None] * 6, [red, *[None] * 5])
    assert 40**2 < one < 110**2
    assert 2 * one < shown([None] * 6, pictures) <= 5.1 * one
    assert shown(["a"] * 6, pictures) == shown([None] * 6, []) == 0


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_names_stand_right_above_their_people(spread: float) -> None:
    rng = np.random.default_rng(3)
    people = [f"person {number}" for number in range(5) for _ in range(4)]
    points = np.repeat([[0, 0], [90, 0], [0, 90], [90, 90], [45, 45]], 4, axis=0) + rng.normal(0, spread, (20, 2))
    figure = map_module._compose(points, people, sorted(set(people)), "t", "s")
    axes = figure.axes[0]
    places = axes.transLimits.transform(points)
    assert len(axes.texts) == 5
    for text in axes.texts:
        mine = places[[name == text.get_text() for name in people]]
        x, y = text.get_position()
        under = np.abs(mine[:, 0] - x) < 0.08
        below = y - mine[under, 1]
        assert 0 < below[below > 0].min() < 0.02


def test_names_cover_neither_faces_nor_other_names() -> None:
    rng = np.random.default_rng(5)
    middles = [(0, 0), (0, 40), (12, -10), (90, 0), (90, 9), (45, 80)]
    people = [f"person {number}" for number in range(len(middles)) for _ in range(10)]
    points = np.repeat(middles, 10, axis=0) + rng.normal(0, 3, (60, 2))
    figure = map_module._compose(points, people, sorted(set(people)), "t", "s")
    canvas, axes = FigureCanvasAgg(figure), figure.axes[0]
    canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 6
    assert sum(a.overlaps(b) for a, b in combinations(boxes, 2)) == 0
    faces = axes.transData.transform(points)
    assert not any(box.contains(*face) for box in boxes for face in faces)


@pytest.mark.parametrize("reach", [(0.1, 0.05), None])
def test_overlaps_with_a_name_are_counted_at_each_place(reach: tuple[float, float] | None) -> None:
    rng = np.random.default_rng(4)
    xs, ys, middles = rng.random(5), rng.random(7), rng.random((40, 2))
    reaches = rng.random((40, 2)) / 5 if reach is None else np.array(reach)
    found = map_module._count_overlaps(xs, ys, middles, reaches)
    for (row, y), (column, x) in product(enumerate(ys), enumerate(xs)):
        each = np.broadcast_to(reaches, (40, 2))
        expected = sum(abs(x - a) < w and abs(y - b) < h for (a, b), (w, h) in zip(middles, each, strict=True))
        assert found[row, column] == expected


@pytest.mark.parametrize("people", [3, 40])
def test_the_legend_fits_the_picture(people: int) -> None:
    names = [f"{'W' * 18}{number:02d}" for number in range(people)]
    points = np.random.default_rng(0).normal(size=(people, 2))
    figure = map_module._compose(points, names, names, "t", "s")
    FigureCanvasAgg(figure).draw()
    legend = figure.axes[0].get_legend().get_window_extent()
    assert figure.bbox.x1 - 2 * 72 < legend.x1 < figure.bbox.x1
