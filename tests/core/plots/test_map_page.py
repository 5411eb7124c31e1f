from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceclr_cli.core.plots.map_marks import DISTINCT, mark_of
from faceclr_cli.core.plots.map_page import write_page
from tests.browser import chromium, complaints, requests

HOSTILE = "</script><img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
NAMES = ["Ada", "Bert", HOSTILE]
COLORS = [(200, 30, 30), (30, 160, 30), (30, 30, 200)]


def _page(path: Path, people: list[str | None] | None = None, faces: int = 30) -> Path:
    """Three people with ten faces each, in three corners, each with a thumbnail of one color."""
    people = people or [NAMES[face % 3] for face in range(faces)]
    corners = np.array([[0, 0], [10, 0], [5, 8]], np.float32)[np.arange(len(people)) % 3]
    points = corners + np.random.default_rng(0).normal(size=(len(people), 2)).astype(np.float32) * 0.5
    pictures = [np.full((48, 48, 3), COLORS[face % 3], np.uint8) for face in range(len(people))]
    paths = [f"{face % 3}/{face}.jpg" for face in range(len(people))]
    paths[2] = f"{HOSTILE}/caf\udce9{{{{data}}}}.jpg"
    write_page(path, points, people, paths, [*pictures[:-1], None], title="sface · t-SNE", subtitle="30 faces")
    return path


def _data(page: Path) -> Any:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.S)
    assert found
    return json.loads(found[1])


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    assert _page(tmp_path / "a.html").read_bytes() == _page(tmp_path / "b.html").read_bytes()


def test_names_are_data_and_never_markup(tmp_path: Path) -> None:
    page = _page(tmp_path / "map.html")
    assert HOSTILE not in page.read_text()
    assert page.read_text().count("</script>") == 2
    assert sorted(NAMES) == _data(page)["names"]
    assert _data(page)["paths"][2] == f"{HOSTILE}/caf\\udce9{{{{data}}}}.jpg"


def test_the_page_asks_for_nothing_outside_itself(tmp_path: Path) -> None:
    text = _page(tmp_path / "map.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert not re.search(r"https?://|@import|url\(", text)


def test_faces_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not match"):
        write_page(tmp_path / "map.html", np.zeros((3, 2)), ["a"] * 3, ["p"] * 2, [None] * 3, title="t", subtitle="s")


def _luminance(color: str) -> float:
    channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_every_sign_stands_out_on_dark_ground_and_no_two_are_alike() -> None:
    marks = [mark_of(number) for number in range(DISTINCT)]
    assert len({(mark.on_dark, mark.shape) for mark in marks}) == len({(m.color, m.shape) for m in marks}) == DISTINCT
    # The contrast that WCAG 2 asks of graphics.
    assert min((_luminance(mark.on_dark) + 0.05) / (_luminance("#1b2027") + 0.05) for mark in marks) > 3


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    page = _page(tmp_path_factory.mktemp("page") / "map.html")
    with chromium() as driver:
        yield driver, page


@pytest.fixture
def driver(opened: tuple[Any, Path]) -> Iterator[Any]:
    """The page, freshly loaded; at the end, there must be no console messages and no network requests."""
    driver, page = opened
    driver.get(page.as_uri())
    _settled(driver)
    yield driver
    assert complaints(driver) == []
    assert requests(driver, page) == []


def _settled(driver: Any) -> None:
    """Waits until the page has drawn its data and decoded its pictures."""
    wait = "const done = arguments[0]; setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 60)"
    driver.execute_async_script(wait)


def _view(driver: Any) -> Any:
    return json.loads(driver.find_element("id", "map").get_attribute("data-view"))


def _point_at(driver: Any, face: int, event: str = "mouseMoved") -> None:
    """Moves the mouse onto a face."""
    data = driver.execute_script("return JSON.parse(document.getElementById('data').textContent)")
    view, box = _view(driver), driver.find_element("id", "map").rect
    x = box["x"] + view["left"] + data["x"][face] * view["scale"]
    y = box["y"] + view["top"] - data["y"][face] * view["scale"]
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": event, "x": x, "y": y})
    _settled(driver)


def _key(driver: Any, key: str) -> None:
    driver.find_element("tag name", "body").send_keys(key)
    _settled(driver)


@pytest.mark.parametrize("face", [0, 1, 2])
def test_hovering_shows_who_it_is_and_the_picture(driver: Any, face: int) -> None:
    _point_at(driver, face)
    assert driver.find_element("id", "name").text == NAMES[face]
    assert driver.find_element("id", "path").text.startswith(("0/0.jpg", "1/1.jpg", HOSTILE)[face])
    seen = driver.execute_script(
        "return [...document.getElementById('thumbnail').getContext('2d').getImageData(48, 48, 1, 1).data]"
    )
    assert np.abs(np.array(seen[:3]) - COLORS[face]).max() < 12
    assert driver.title == "sface · t-SNE"
    assert not driver.find_elements("css selector", "body img")


def test_a_face_without_a_picture_has_a_name_all_the_same(driver: Any) -> None:
    _point_at(driver, 29)
    assert driver.find_element("id", "name").text == NAMES[2]
    assert not driver.find_element("id", "thumbnail").is_displayed()


def test_the_pointer_on_empty_ground_shows_nothing(driver: Any) -> None:
    _point_at(driver, 0)
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": 400, "y": 100})
    _settled(driver)
    assert not driver.find_element("id", "tip").is_displayed()


def _inked(driver: Any) -> list[int]:
    """Returns the number of fully opaque pixels of the map near each person's corner."""
    script = """
      const data = JSON.parse(document.getElementById("data").textContent);
      const map = document.getElementById("map"), view = JSON.parse(map.dataset.view);
      const c = new OffscreenCanvas(map.width, map.height).getContext("2d", { willReadFrequently: true });
      c.drawImage(map, 0, 0);
      return [0, 1, 2].map((face) => {
        const x = data.x[face] * view.scale + view.left, y = view.top - data.y[face] * view.scale;
        const seen = c.getImageData(Math.round(x) - 2, Math.round(y) - 2, 5, 5).data;
        return seen.filter((value, place) => place % 4 === 3 && value > 200).length;
      });
    """
    counts: list[int] = driver.execute_script(script)
    return counts


def test_clicking_a_name_leaves_that_person_alone_until_the_next_click(driver: Any) -> None:
    assert min(_inked(driver)) > 5
    bert = next(row for row in driver.find_elements("css selector", "#people button") if "Bert" in row.text)
    bert.click()
    _settled(driver)
    shown = _inked(driver)
    assert (shown[0], shown[2]) == (0, 0)
    assert shown[1] > 5
    assert bert.get_attribute("aria-pressed") == "true"
    _point_at(driver, 0)
    assert not driver.find_element("id", "tip").is_displayed()
    bert.click()
    _settled(driver)
    assert min(_inked(driver)) > 5


def test_a_person_who_is_out_of_sight_is_brought_back_by_a_click(driver: Any) -> None:
    whole = _view(driver)
    for _ in range(12):
        driver.find_element("id", "closer").click()
    driver.find_element("css selector", "#people button").click()
    _settled(driver)
    assert _view(driver) == whole


def test_wheel_buttons_and_keys_zoom_and_fit_brings_all_back(driver: Any) -> None:
    whole = _view(driver)
    wheel = {"type": "mouseWheel", "x": 300, "y": 400, "deltaX": 0, "deltaY": -120}
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", wheel)
    _settled(driver)
    nearer = _view(driver)
    assert nearer["scale"] > whole["scale"] * 1.1
    # What was under the pointer stays there.
    box = driver.find_element("id", "map").rect
    places = [(300 - box["x"] - view["left"]) / view["scale"] for view in (whole, nearer)]
    assert places[0] == pytest.approx(places[1], abs=1e-6)
    driver.find_element("id", "closer").click()
    _settled(driver)
    assert _view(driver)["scale"] == pytest.approx(nearer["scale"] * 1.5)
    _key(driver, "-")
    assert _view(driver)["scale"] == pytest.approx(nearer["scale"])
    driver.find_element("id", "whole").click()
    _settled(driver)
    assert _view(driver) == whole


def test_dragging_moves_the_map_and_two_fingers_spread_it(driver: Any) -> None:
    before = _view(driver)
    for event, x in (("mousePressed", 300), ("mouseMoved", 350), ("mouseReleased", 350)):
        mouse = {"type": event, "x": x, "y": 400, "button": "left", "buttons": 1, "clickCount": 1}
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", mouse)
    _settled(driver)
    moved = _view(driver)
    assert moved == before | {"left": before["left"] + 50}
    for event, reach in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None)):
        fingers = (
            [] if reach is None else [{"x": 400 - reach, "y": 300, "id": 0}, {"x": 400 + reach, "y": 300, "id": 1}]
        )
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": event, "touchPoints": fingers})
    _settled(driver)
    assert _view(driver)["scale"] == pytest.approx(2 * moved["scale"], rel=0.01)


def _ground(driver: Any) -> str:
    ground: str = driver.find_element("id", "map").value_of_css_property("background-color")
    return ground


def test_light_and_dark_follow_the_system_and_the_button(driver: Any) -> None:
    def prefer(value: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": value}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        _settled(driver)

    assert "245, 246, 248" in _ground(driver)
    prefer("dark")
    assert "27, 32, 39" in _ground(driver)
    driver.find_element("id", "theme").click()
    assert "245, 246, 248" in _ground(driver)
    prefer("light")


@pytest.mark.slow
def test_twenty_thousand_faces_are_drawn_at_once(opened: tuple[Any, Path], tmp_path: Path) -> None:
    driver, _ = opened
    page = _page(tmp_path / "many.html", faces=20_000)
    driver.get(page.as_uri())
    _settled(driver)
    # A frame is what a key press waits for; the limit is for a slow machine without a graphics card.
    frame = driver.execute_async_script("""
      const done = arguments[0], began = performance.now();
      document.getElementById("closer").click();
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - began), 0));
    """)
    assert frame < 1000
    _point_at(driver, 1)
    assert driver.find_element("id", "name").text == NAMES[1]
    assert complaints(driver) == []
    assert requests(driver, page) == []
