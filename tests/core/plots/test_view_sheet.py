from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.plots.view_sheet import draw_views


def _noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(len(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


def _draw(crops: NDArray[np.uint8], views: NDArray[np.uint8], out: Path, title: str = "Random views · flip") -> None:
    draw_views(crops, views, out, title=title, subtitle="a crop and its views")


def _read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path))[:, :, ::-1], np.uint8)


def _place(picture: NDArray[np.uint8], tile: NDArray[np.uint8]) -> tuple[int, int]:
    """Returns row and column of the tile's upper left corner in the sheet; all pixels of the tile must match."""
    likeness = cv2.matchTemplate(picture, np.ascontiguousarray(tile), cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(likeness.argmax(), likeness.shape)
    height, width = tile.shape[:2]
    np.testing.assert_array_equal(picture[row : row + height, column : column + width], tile)
    return int(row), int(column)


def test_each_row_is_a_crop_and_after_a_gap_its_views_in_order(tmp_path: Path) -> None:
    crops, views = _noise(3, 112, 112), _noise(3, 9, 112, 112)
    _draw(crops, views, tmp_path / "views.png")
    picture = _read(tmp_path / "views.png")
    rows = []
    for crop, own in zip(crops, views, strict=True):
        places = [_place(picture, tile) for tile in (crop, *own)]
        assert len({row for row, _ in places}) == 1
        steps = np.diff([column for _, column in places])
        assert (steps[1:] == steps[1]).all()
        assert steps[0] > steps[1] > 112
        rows.append(places[0][0])
    assert rows == sorted(rows)
    assert picture[0].min() == picture[:, 0].min() == picture[-1].min() == picture[:, -1].min() == 255


@pytest.mark.parametrize(("size", "count"), [(32, 8), (48, 5), (64, 8), (112, 2), (112, 8)])
def test_small_pictures_are_enlarged_by_a_whole_number(tmp_path: Path, size: int, count: int) -> None:
    crops, views = _noise(2, size, size), _noise(2, count, size, size)
    _draw(crops, views, tmp_path / "views.png")
    picture = _read(tmp_path / "views.png")
    assert 900 < picture.shape[1] < 1500
    scale = picture.shape[1] // (size * (count + 1))
    for tile in (*crops, *views[0]):
        _place(picture, np.kron(tile, np.ones((scale, scale, 1), np.uint8)))


@pytest.mark.parametrize(("crop", "view"), [(160, 112), (112, 64), (112, 160), (1000, 224)])
def test_crops_of_another_size_are_shown_as_large_as_their_views(tmp_path: Path, crop: int, view: int) -> None:
    plain = np.full((2, crop, crop, 3), (200, 30, 60), np.uint8)
    views = _noise(2, 6, view, view)
    _draw(plain, views, tmp_path / "views.png")
    picture = _read(tmp_path / "views.png")
    scale = max(1, round(1200 / (7 * view)))
    top, _ = _place(picture, np.kron(views[1, 5], np.ones((scale, scale, 1), np.uint8)))
    rows, columns = np.nonzero((picture == (200, 30, 60)).all(axis=2))
    assert columns.max() - columns.min() + 1 == view * scale
    assert (rows[rows > top - 2].min(), rows.max()) == (top, top + view * scale - 1)


def test_the_picture_says_what_it_shows(tmp_path: Path) -> None:
    crops, views = _noise(1, 64, 64), _noise(1, 8, 64, 64)
    _draw(crops, views, tmp_path / "views.svg", title="Random views · flip")
    assert b"Random views" in (tmp_path / "views.svg").read_bytes()
    _draw(crops, views, tmp_path / "short.png")
    _draw(crops, views, tmp_path / "long.png", title="a title much too long for a picture of this width " * 9)
    short, long = (_read(tmp_path / name)[:110] for name in ("short.png", "long.png"))
    assert short.shape == long.shape
    assert long[:, -24:].min() == 255
    assert 0 < (short < 128).sum() < (long < 128).sum()


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp", "pdf", "svg"])
def test_every_format_of_pictures_gives_the_same_bytes_again(tmp_path: Path, suffix: str) -> None:
    crops, views = _noise(1, 64, 64), _noise(1, 2, 64, 64)
    for name in ("a", "b"):
        _draw(crops, views, tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_jpeg_shows_the_same_colors(tmp_path: Path) -> None:
    crops, views = np.full((1, 112, 112, 3), (200, 40, 40), np.uint8), np.full((1, 2, 112, 112, 3), 90, np.uint8)
    for suffix in ("png", "jpg"):
        _draw(crops, views, tmp_path / f"views.{suffix}")
    sharp, packed = _read(tmp_path / "views.png").astype(int), _read(tmp_path / "views.jpg").astype(int)
    assert np.abs(sharp - packed).mean() < 2


def test_a_format_that_cannot_be_drawn_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"views\.txt: .* use \.jpg, \.png, \.webp, \.pdf or \.svg"):
        _draw(_noise(1, 8, 8), _noise(1, 2, 8, 8), tmp_path / "views.txt")
    assert not any(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"views\.png: cannot be written"):
        _draw(_noise(1, 8, 8), _noise(1, 2, 8, 8), tmp_path / "file" / "views.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (1, 0, 8, 8), (8, 8)])
def test_views_that_are_not_those_of_the_crops_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="views"):
        _draw(_noise(1, 8, 8), _noise(*shape), tmp_path / "views.png")
