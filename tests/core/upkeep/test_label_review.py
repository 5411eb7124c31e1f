"""Wrong names of people on a sphere are found, and right ones are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from faceclr_cli.core.upkeep.label_review import review_labels
from faceclr_cli.core.upkeep.proposals import Proposal
from tests.core.grouping.noisy_people import draw

PEOPLE, FACES = 40, 15
EMBEDDINGS, TRUTH = draw(PEOPLE, FACES)


def proposals(names: NDArray[np.int64], embeddings: NDArray[np.float32] = EMBEDDINGS) -> Sequence[Proposal]:
    owners = [f"p{name:02d}" for name in names]
    paths = [f"{owner}/{row}.jpg" for row, owner in enumerate(owners)]
    norms = np.full(len(names), np.nan, np.float32)
    return review_labels(embeddings, norms, paths, owners, 10.0).proposals


def rows(found: Sequence[Proposal], what: str) -> set[int]:
    return {int(each.face.split("/")[1].removesuffix(".jpg")) for each in found if each.what == what}


def test_right_names_are_left_alone() -> None:
    assert not proposals(TRUTH)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_intruders_are_found_and_moved_to_their_people(share: float) -> None:
    rng = np.random.default_rng(1)
    wrong = rng.random(len(TRUTH)) < share
    names = np.where(wrong, (TRUTH + rng.integers(1, PEOPLE, len(TRUTH))) % PEOPLE, TRUTH)
    found = proposals(names)
    hits = rows(found, "intruder")
    assert len(hits & set(np.flatnonzero(wrong))) >= 0.95 * wrong.sum()
    assert len(hits - set(np.flatnonzero(wrong))) <= 0.02 * wrong.sum() + 1
    moved = [each for each in found if each.action == "move"]
    assert len(moved) > 0.1 * wrong.sum()
    rightly = [each.other == f"p{TRUTH[row]:02d}" for each in moved for row in rows([each], "intruder")]
    assert np.mean(rightly) > 0.97


def test_strangers_are_left_out() -> None:
    inside = TRUTH < 30
    strangers = np.flatnonzero(~inside)[::5]
    kept = np.concatenate([np.flatnonzero(inside), strangers])
    names = TRUTH[kept].copy()
    names[-len(strangers) :] = np.arange(len(strangers))
    found = proposals(names, EMBEDDINGS[kept])
    planted = set(range(inside.sum(), len(kept)))
    assert rows(found, "intruder") <= planted and len(rows(found, "intruder")) >= 0.6 * len(planted)
    assert {each.action for each in found} == {"remove"}


def test_one_person_under_two_names_is_one_case_and_no_face_is_an_intruder() -> None:
    names = TRUTH.copy()
    names[(TRUTH == 3) & (np.arange(len(TRUTH)) % 3 == 0)] = PEOPLE
    (found,) = proposals(names)
    assert (found.face, found.what, found.other, found.action) == (f"p{PEOPLE}", "same-person", "p03", "move")
    assert found.odds is not None and found.odds > 1000


@pytest.mark.parametrize("second", [FACES, 5])
def test_two_people_under_one_name_are_divided(second: int) -> None:
    names = TRUTH.copy()
    names[np.flatnonzero(TRUTH == 7)] = 6
    kept = np.ones(len(TRUTH), bool)
    kept[np.flatnonzero(TRUTH == 7)[second:]] = False
    found = proposals(names[kept], EMBEDDINGS[kept])
    assert {each.what for each in found} == {"two-people"}
    assert {each.other for each in found} == {"p06-2"}
    people = TRUTH[kept][sorted(rows(found, "two-people"))]
    assert set(people) in ({6}, {7}) and len(people) >= second - 1


def test_a_group_of_intruders_of_a_known_person_is_moved_there() -> None:
    names = TRUTH.copy()
    names[np.flatnonzero(TRUTH == 9)[:5]] = 8
    found = proposals(names)
    assert {(each.what, each.other) for each in found} == {("intruder", "p09")}
    assert rows(found, "intruder") == set(np.flatnonzero(TRUTH == 9)[:5])


def test_blurred_faces_are_not_judged_by_poor_matches_if_their_norms_are_known() -> None:
    rng = np.random.default_rng(3)
    embeddings, labels = draw(PEOPLE, FACES)
    blurred, strangers = np.arange(0, len(labels), 8), np.arange(3, len(labels), 16)
    embeddings[blurred] = draw(len(blurred), 1, 7)[0] + 0.3 * embeddings[blurred]
    embeddings[strangers] = draw(len(strangers), 1, 8)[0]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    owners = [f"p{name:02d}" for name in labels]
    paths = [f"{owner}/{row}.jpg" for row, owner in enumerate(owners)]
    norms = rng.normal(10, 0.1, len(labels)).astype(np.float32)
    norms[blurred] = 5
    found = [
        rows(review_labels(embeddings, lengths, paths, owners, 10.0).proposals, "intruder")
        for lengths in (norms, np.full_like(norms, np.nan))
    ]
    assert len(found[0] & set(strangers.tolist())) > len(strangers) / 2
    assert not found[0] & set(blurred.tolist())
    assert len(found[1] & set(blurred.tolist())) > 5
