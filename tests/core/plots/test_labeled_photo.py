from __future__ import annotations

import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from faceclr_cli.core.plots import labeled_photo as annotate
from faceclr_cli.core.plots.labeled_photo import Label, draw_labels

DARK = (24, 28, 33)


def _plain(height: int, width: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def _changed(image: np.ndarray, labels: list[Label]) -> np.ndarray:
    return (draw_labels(image, labels) != image).any(axis=2)


def _inside(box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """The middle of a face, within its frame."""
    x, y, w, h = (int(side) for side in box)
    return slice(y + h // 6, y + h - h // 6), slice(x + w // 6, x + w - w // 6)


def test_the_photograph_itself_is_left_as_it_was() -> None:
    image = _plain(300, 300)
    before = image.copy()
    draw_labels(image, [Label(box=(100, 100, 80, 100), name="ann", probability=0.987)])
    assert np.array_equal(image, before)
    assert np.array_equal(draw_labels(image, []), before)


@pytest.mark.parametrize("background", [0, 128, 255])
@pytest.mark.parametrize("side", [200, 900, 6000])
def test_names_are_light_on_dark_and_in_proportion_on_any_picture(side: int, background: int) -> None:
    box = (side * 0.4, side * 0.3, side * 0.2, side * 0.25)
    drawn = draw_labels(_plain(side, side, background), [Label(box=box, name="ann_lee", probability=0.5)])
    below = drawn[int(side * 0.55) + max(4, side // 60) :]
    dark, light = (below == DARK).all(axis=2), below.min(axis=2) > 180
    plate = np.flatnonzero(dark.sum(axis=1) > side * 0.05)
    assert max(8, side / 80) <= len(plate) <= max(24, side / 15)
    # Letters stand on the plate, as light as it is dark.
    columns = np.flatnonzero(dark[plate].any(axis=0))
    assert light[plate.min() : plate.max(), columns.min() : columns.max()].sum() > 20


def test_known_and_unknown_differ_by_more_than_their_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "_UNKNOWN_COLOR", annotate._KNOWN_COLOR)
    image, box = _plain(600, 600), (200.0, 150.0, 200.0, 250.0)
    edge = {}
    for name in ("ann", None):
        drawn = draw_labels(image, [Label(box=box, name=name)])[150, 200:400].astype(int)
        edge[name] = (abs(drawn - 128).max(axis=1) > 60).mean()
    assert edge["ann"] == 1
    assert 0.4 < edge[None] < 0.85


def test_in_a_crowd_no_name_lies_on_a_face_or_on_another_name() -> None:
    boxes = [
        (60.0 + 180 * column + 60 * (row % 2), 200.0 + 200 * row, 90.0, 110.0)
        for row in range(4)
        for column in range(8)
    ]
    image = _plain(1200, 1600)
    labels = [Label(box=box, name=f"person_{number}", probability=0.9) for number, box in enumerate(boxes)]
    changed = _changed(image, labels)
    assert not any(changed[_inside(box)].any() for box in boxes)
    plates = [annotate._plate(label, annotate._type(image.shape, labels), 1600, is_numbered=False) for label in labels]
    places = annotate._places(plates, image.shape[:2], 2)
    for number, place in enumerate(places):
        assert place[0] >= 0 and place[1] >= 0 and place[0] + place[2] <= 1600 and place[1] + place[3] <= 1200
        assert not any(annotate._common(place, other) for other in places[:number])


@pytest.mark.parametrize(
    "name", ["Zoë_Müller", "Егор", "Ελένη", "नहीं", "張偉", "a$b_{c}^$", "x" * 300, "", "line\nbreak"]
)
def test_any_name_can_be_drawn(name: str) -> None:
    changed = _changed(_plain(240, 200), [Label(box=(60, 60, 60, 80), name=name, probability=0.25)])
    assert changed.any() and not changed[_inside((60, 60, 60, 80))].any()


def test_letters_outside_ascii_are_drawn_as_themselves() -> None:
    def letters(name: str) -> np.ndarray:
        return annotate._plate(Label(box=(0, 0, 1, 1), name=name), 30, 900, is_numbered=False).letters

    assert not np.array_equal(letters("Müller"), letters("Muller"))
    assert letters("Müller").shape[1] == letters("Muller").shape[1]
    assert np.array_equal(letters(unicodedata.normalize("NFD", "Müller")), letters("Müller"))
    assert letters("gjpqy").shape[0] == letters("axnm").shape[0]


def test_faces_at_and_beyond_the_edge_are_drawn() -> None:
    boxes = [(-20.0, -15.0, 80.0, 100.0), (350.0, 330.0, 90.0, 90.0), (0.0, 0.0, 400.0, 400.0), (10.0, 10.0, 1.0, 1.0)]
    for box in boxes:
        assert _changed(_plain(400, 400), [Label(box=box, name="ann"), Label(box=box, name=None)]).any()


def test_where_a_photograph_shows_several_faces_their_numbers_are_written() -> None:
    one, other = (Label(box=(x, 100, 80, 100), name=None, number=n) for x, n in ((100.0, 7), (300.0, 12)))
    without = [replace(label, number=None) for label in (one, other)]
    image = _plain(400, 500)
    assert np.array_equal(draw_labels(image, [one]), draw_labels(image, without[:1]))
    plates = [annotate._plate(label, 20, 500, is_numbered=True) for label in (one, other, *without)]
    widths = [plate.size[0] for plate in plates]
    assert widths[1] > widths[0] > widths[2] == widths[3]
    assert not np.array_equal(draw_labels(image, [one, other]), draw_labels(image, without))
    # The number stays whole where the name is cut.
    cut = annotate._plate(Label(box=one.box, name="x" * 300, number=123456), 20, 300, is_numbered=True)
    number = annotate._plate(Label(box=one.box, name="", number=123456), 20, 300, is_numbered=True)
    assert np.array_equal(cut.letters[:, : number.size[0] - 12], number.letters[:, : number.size[0] - 12])
