"""`identify --template`: the 1:N protocol of IJB, template by template, and folders of photographs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from tests.core.evaluation.ijb_layout import IjbSet, write_ijb


@pytest.fixture(scope="module")
def ijb(tmp_path_factory: pytest.TempPathFactory) -> IjbSet:
    return write_ijb(tmp_path_factory.mktemp("ijb"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["identify", *map(str, arguments)])


def ask(ijb: IjbSet, method: str, *more: object) -> Result:
    lists = ("--template-list", ijb.pictures, "--gallery-templates", ijb.gallery, "--probe-templates", ijb.probes)
    return run(ijb.store, "-g", ijb.store, "--template", method, *lists, *more)


def similarities(ijb: IjbSet, method: str) -> tuple[np.ndarray, list[int], list[int]]:
    """The similarity of each probe to each person of the gallery, and the people of both."""
    gallery = [int(row["TEMPLATE_ID"]) for row in csv.DictReader(ijb.gallery.open())]
    probes = [int(row["TEMPLATE_ID"]) for row in csv.DictReader(ijb.probes.open())]
    weights = ijb.faces.norms.astype(np.float64) if method == "quality" else None
    own = {t: ijb.media(t) if method == "max" else [ijb.vector(t, weights)] for t in (*gallery, *probes)}
    scores = np.array([[max(a @ b for a in own[one] for b in own[other]) for other in gallery] for one in probes])
    return scores, [ijb.people[t] for t in probes], [ijb.people[t] for t in gallery]


@pytest.mark.parametrize("method", ["mean", "quality", "max"])
def test_open_set_figures_are_those_of_the_protocol(ijb: IjbSet, method: str) -> None:
    done = ask(ijb, method, "--evaluate", "--threshold", 0.3, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    scores, people, gallery = similarities(ijb, method)
    known = np.array([who in gallery for who in people])
    best = scores.argmax(axis=1)
    right = np.array([gallery[place] == who for place, who in zip(best, people, strict=True)])
    highest = scores.max(axis=1)
    ranks = [
        1 + int((row > row[gallery.index(who)]).sum())
        for row, who in zip(scores[known], np.array(people)[known], strict=True)
    ]
    assert (found["template"], found["people"]) == (method, len(gallery))
    assert (found["known"], found["unknown"], found["left_out"]) == (known.sum(), (~known).sum(), 0)
    assert found["rank1"] == pytest.approx(np.mean(np.array(ranks) == 1))
    assert found["rank5"] == pytest.approx(np.mean(np.array(ranks) <= 5))
    assert found["rule"]["rejected"] == pytest.approx(np.mean(highest[~known] < 0.3))
    refused = np.sort(highest[~known])[::-1][int(0.1 * (~known).sum())]
    assert found["dir_at_far"][0]["dir"] == pytest.approx(np.mean((highest > refused)[known] & right[known]))


@pytest.mark.parametrize("method", ["mean", "max"])
def test_each_template_has_one_answer(ijb: IjbSet, method: str) -> None:
    done = ask(ijb, method, "--threshold", 0.3, "--json")
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    scores, people, gallery = similarities(ijb, method)
    assert f"{len(people)} templates: " in done.stderr
    assert len(answers) == len(people)
    for answer, row in zip(answers, scores, strict=True):
        best = sorted(range(len(gallery)), key=lambda place: -row[place])[:3]
        assert [match["name"] for match in answer["matches"]] == [str(gallery[place]) for place in best]
        assert answer["similarity"] == pytest.approx(row[best[0]], abs=1e-5)
        assert answer["name"] == (str(gallery[best[0]]) if row[best[0]] >= 0.3 else None)
        assert answer["matches"][0]["picture"] == str(gallery[best[0]] + 1), "the template of that person"


def test_templates_with_pictures_of_the_gallery_are_left_out(ijb: IjbSet) -> None:
    lists = ("--template-list", ijb.pictures, "--gallery-templates", ijb.gallery, "--probe-templates", ijb.gallery)
    done = run(ijb.store, "-g", ijb.store, "--template", "mean", *lists, "--evaluate", "--threshold", 0.3)
    assert done.exit_code == 3
    assert "are also in the gallery" in done.output


def test_each_folder_of_photographs_is_a_template(tmp_path: Path) -> None:
    for person, name in enumerate(("ann", "bob")):
        for folder, pictures in (("gallery", (0, 1)), ("party/day", (5, 6))):
            (tmp_path / folder / name).mkdir(parents=True)
            for picture in pictures:
                image = draw_photo(invent_person(person), picture).image
                cv2.imwrite(str(tmp_path / folder / name / f"{picture}.jpg"), image[..., ::-1])
    given = (tmp_path / "party", "-g", tmp_path / "gallery", "--template", "mean", "--threshold", 0.5)
    done = run(*given, "--model", "pixels", "--json")
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["photo"] for answer in answers] == ["day/ann", "day/bob"]
    assert [answer["closest"] for answer in answers] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("STORE -g STORE --gallery-templates GALLERY", 2, "--gallery-templates: requires --template"),
        ("- -g STORE --template mean", 2, "does not accept a list of paths"),
        ("STORE -g STORE --template mean --face all", 2, "one face of each photograph"),
        ("STORE -g STORE --template mean --annotate out", 2, "--annotate and --template"),
        (
            "STORE -g STORE --template mean --template-list LIST",
            3,
            "no template has a person; give --gallery-templates",
        ),
        ("STORE -g STORE --template mean --gallery-templates GALLERY", 3, "contains none of the 1 template"),
    ],
)
def test_wrong_input_is_one_line(ijb: IjbSet, arguments: str, code: int, message: str) -> None:
    files = {"STORE": ijb.store, "GALLERY": ijb.gallery, "LIST": ijb.pictures}
    done = run(*(files.get(word, word) for word in arguments.split()))
    assert done.exit_code == code, done.output
    assert message in done.output
