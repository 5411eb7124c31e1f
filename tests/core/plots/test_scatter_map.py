from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

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


def test_faces_of_nobody_need_no_legend(tmp_path: Path) -> None:
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
    with pytest.raises(ValueError, match="no map"):
        draw_map(tmp_path / "map.png", np.zeros((3, 2), np.float32), ["a"], title="t", subtitle="s")
