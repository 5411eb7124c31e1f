"""Questions about groups: their selection, the effects of answers, and the page in a browser."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.review import ReviewConfig
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult
from faceclr_cli.core.evaluation.clustering.review import review
from faceclr_cli.core.events import Silent
from tests.browser import chromium, complaints, requests

Crowd = Callable[..., Store]
HOSTILE = "<img src=x onerror=document.title='owned'> & \"quotes\", 日本"


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def place(crowd: Crowd, tmp_path: Path) -> Path:
    """Three people in four groups: the first person has two ages; one face is between the two other people."""
    axes = np.eye(64)
    young, old = axes[0], 0.58 * axes[0] + 0.8146 * axes[1]
    rng = np.random.default_rng(0)
    centers = [young] * 6 + [old] * 5 + [axes[10]] * 4 + [axes[20]] * 3
    rows = np.stack(centers) + 0.03 * rng.normal(size=(18, 64))
    between = 0.72 * axes[10] + 0.68 * axes[20]
    store = crowd(1, 19, 0.1, 64)
    paths = tuple(f"{number:02d}.png" for number in range(19))
    store = replace(
        store,
        embeddings=_unit(np.concatenate([rows, between[None]])),
        paths=paths,
        identities=(None,) * 19,
        content_hashes=tuple(f"{number:064d}" for number in range(19)),
    )
    (tmp_path / "photos").mkdir()
    for number, path in enumerate(paths):
        cv2.imwrite(str(tmp_path / "photos" / path), np.full((40, 40, 3), 10 * number, np.uint8))
    write_store(tmp_path / "faces.h5", store)
    return tmp_path


def _run(place: Path, **options: object) -> ClusterResult:
    config = ClusterConfig(
        source=place / "faces.h5", faces=place / "photos", out=place / "groups", threshold=0.6, **options
    )
    return cluster(config, Silent())


def _questions(place: Path) -> list[dict[str, str]]:
    with open(place / "groups/review.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _answer(place: Path, *answers: str) -> None:
    rows = _questions(place)
    for row, answer in zip(rows, answers, strict=False):
        row["answer"] = answer
    with open(place / "groups/review.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _folders(place: Path) -> dict[str, str]:
    return {path.name: path.parent.name for path in (place / "groups").rglob("[0-9]*.png")}


def test_the_most_helpful_questions_come_first(place: Path) -> None:
    result = _run(place, review=10)
    assert [group.faces for group in result.groups] == [6, 5, 5, 3]
    first, second, *others = _questions(place)
    # Eleven faces of one person in two groups; then the face between two groups.
    assert (first["question"], first["first"], first["second"]) == ("same person?", "0001", "0002")
    assert float(first["similarity"]) == pytest.approx(0.55, abs=0.03)
    assert (second["question"], second["face"], second["first"], second["second"]) == (
        "which person?", "0003/18.png", "0003", "0004",
    )  # fmt: skip
    assert result.questions == len(others) + 2
    assert cv2.imread(str(place / "groups/review.jpg")) is not None
    assert _run(place, review=1).questions == len(_questions(place)) == 1
    assert _run(place).questions is None
    assert not (place / "groups/review.csv").exists()


def test_answers_are_kept_and_not_asked_again(place: Path) -> None:
    _run(place, review=2)
    _answer(place, "yes", "second")
    result = _run(place, review=10)
    assert (result.corrections, result.questions) == (("2 questions answered",), 0)
    for _ in range(2):
        folders = _folders(place)
        assert len({folders[f"{number:02d}.png"] for number in range(11)}) == 1
        assert folders["18.png"] == folders["15.png"] != folders["11.png"]
        assert _run(place, review=10).questions == 0


def test_the_answer_no_keeps_groups_apart_at_any_threshold(place: Path) -> None:
    _run(place, review=2)
    _answer(place, "n", "Neither")
    _run(place)
    config = ClusterConfig(source=place / "faces.h5", faces=place / "photos", out=place / "groups", threshold=0.2)
    cluster(config, Silent())
    folders = _folders(place)
    assert folders["00.png"] == folders["05.png"] != folders["06.png"] == folders["10.png"]
    assert folders["18.png"] == "_"


def test_an_answer_about_a_renamed_group_counts_and_one_about_a_moved_face_does_not(place: Path) -> None:
    _run(place, review=2)
    (place / "groups/0002").rename(place / "groups/Ann")
    (place / "groups/0003/18.png").rename(place / "groups/0001/18.png")
    _answer(place, "yes", "first")
    corrections = _run(place).corrections
    assert corrections[-2:] == ("1 question answered", "1 answer about groups that have changed ignored")
    folders = _folders(place)
    assert {folders[f"{number:02d}.png"] for number in range(11)} == {"Ann"}
    assert folders["18.png"] == "Ann"


@pytest.mark.parametrize(("before", "after", "error"), [
    (",\n", ",maybe\n", r"review\.csv:2: the answer must be yes, no or empty, not 'maybe'"),
    ("same person?", "who?", r"review\.csv:2: not a question"),
    ("number,", "", r"review\.csv: not the questions"),
])  # fmt: skip
def test_an_answer_that_cannot_be_meant_is_an_error_before_anything_changes(
    place: Path, before: str, after: str, error: str
) -> None:
    _run(place, review=2)
    file = place / "groups/review.csv"
    file.write_text(file.read_text().replace(before, after, 1))
    folders = _folders(place)
    with pytest.raises(DataError, match=error):
        _run(place)
    assert _folders(place) == folders


def test_a_page_needs_questions(place: Path) -> None:
    with pytest.raises(DataError, match="not a folder of groups"):
        review(ReviewConfig(groups=place / "photos"), Silent())
    _run(place)
    with pytest.raises(ConfigError, match="--review 20"):
        review(ReviewConfig(groups=place / "groups"), Silent())
    _run(place, review=2)
    _answer(place, "yes", "second")
    _run(place, review=2)
    page = review(ReviewConfig(groups=place / "groups", out=place / "page.html"), Silent())
    assert (page.questions, page.page.is_file()) == (0, True)


def _page(place: Path) -> Path:
    _run(place)
    (place / "groups/0002").rename(place / "groups" / HOSTILE)
    _run(place, review=2)
    return review(ReviewConfig(groups=place / "groups"), Silent()).page


def test_names_are_data_and_never_markup(place: Path) -> None:
    text = _page(place).read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert text.count("</script>") == 2
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert data["tasks"][0]["sides"][1]["name"] == HOSTILE
    assert [len(side["pictures"]) for side in data["tasks"][0]["sides"]] == [6, 5]
    assert not re.search(r"https?://|@import|url\(", text)


def _text(driver: Any, name: str) -> str:
    return str(driver.find_element("id", name).text)


def test_questions_are_answered_with_the_keyboard_and_saved_as_a_file(place: Path) -> None:
    page = _page(place)
    downloads = place / "downloads"
    downloads.mkdir()
    with chromium() as driver:
        behavior = {"behavior": "allow", "downloadPath": str(downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
        driver.get(page.as_uri())
        body = driver.find_element("tag name", "body")
        assert HOSTILE in _text(driver, "second")
        assert driver.title == "Questions about groups"
        assert len(driver.find_elements("css selector", "#first img")) == 6
        assert not driver.find_element("id", "middle").is_displayed()
        assert driver.execute_script("return [...document.images].every((each) => each.naturalWidth === 144)")
        body.send_keys("n")  # the first question, by its key
        assert _text(driver, "progress") == "Question 2 of 2, 1 answered, not saved"
        assert driver.find_element("id", "middle").is_displayed()
        body.send_keys("\ue012")  # the left arrow
        assert driver.find_element("id", "answer-no").get_attribute("aria-pressed") == "true"
        body.send_keys("y")  # changes the answer
        driver.find_element("id", "answer-second").click()
        body.send_keys("d")
        deadline = time.monotonic() + 20
        while not (downloads / "review.csv").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _text(driver, "progress") == "Question 2 of 2, 2 answered"
        assert complaints(driver) == []
        assert [url for url in requests(driver, page) if not url.startswith("blob:")] == []
    (downloads / "review.csv").replace(place / "groups/review.csv")
    assert _run(place).corrections == ("2 questions answered",)
    folders = _folders(place)
    assert {folders[f"{number:02d}.png"] for number in range(11)} == {HOSTILE}
    assert folders["18.png"] == folders["15.png"]
