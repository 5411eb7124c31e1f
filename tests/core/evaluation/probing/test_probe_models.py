from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from faceclr_cli.core.evaluation.probing import few_shot
from faceclr_cli.core.evaluation.probing.few_shot import few_shot_curve, plan_shots
from faceclr_cli.core.evaluation.probing.labeled_split import LabeledRows, LabeledSplit, split_labeled_rows
from faceclr_cli.core.evaluation.probing.probe_models import NEIGHBORS, STRENGTHS, centroids, fit_probe, scaled_basis
from faceclr_cli.core.events import Silent


def _labeled(store, rows=slice(None)) -> LabeledRows:
    labels = np.unique(store.identities, return_inverse=True)[1]
    return LabeledRows(embeddings=store.embeddings[rows], labels=labels[rows])


def _divided(store, seed: int = 0) -> LabeledSplit:
    labels = np.unique(store.identities, return_inverse=True)[1]
    return LabeledSplit(
        names=("a.h5",), stores=(store,), people=store.people, labels=labels, parts=split_labeled_rows(labels, seed)
    )


def _plainly(train: LabeledRows, val: LabeledRows, test: np.ndarray) -> tuple[float, np.ndarray]:
    """Multinomial logistic regression on centered, scaled embeddings; of equally good strengths, the strongest."""
    mean = train.embeddings.mean(axis=0)
    scale = np.sqrt(np.mean((train.embeddings - mean) ** 2))
    model, found = LogisticRegression(max_iter=300, warm_start=True), []
    for c in STRENGTHS:
        model.set_params(C=c).fit((train.embeddings - mean) / scale, train.labels)
        found.append(
            (model.score((val.embeddings - mean) / scale, val.labels), c, model.predict((test - mean) / scale))
        )
    best = max(found, key=lambda each: each[0])
    return best[1], best[2]


@pytest.mark.parametrize("people", [2, 8])
def test_the_folded_layer_names_as_the_plain_transcription_does(crowd, people: int) -> None:
    store = crowd(people, 20, 2)
    train, val = _labeled(store, np.s_[::2]), _labeled(store, np.s_[1::4])
    test = store.embeddings[3::4]
    learned = fit_probe("linear", train, val)
    c, guessed = _plainly(train, val, test)
    assert learned.c == c
    assert np.array_equal(learned.score(test).argmax(axis=1), guessed)


def test_the_span_of_the_training_pictures_is_all_that_the_layer_needs(crowd) -> None:
    store = crowd(8, 10, 2, 200)
    train, test = _labeled(store, np.s_[::2]), store.embeddings[1::2]
    mean = train.embeddings.mean(axis=0)
    scale = np.sqrt(np.mean((train.embeddings - mean) ** 2))
    basis = scaled_basis(train.embeddings)
    assert basis.axes.shape == (200, 40)
    model = LogisticRegression(C=0.01, max_iter=1000, tol=1e-8)
    expected = model.fit((train.embeddings - mean) / scale, train.labels).predict_proba((test - mean) / scale)
    found = model.fit(basis(train.embeddings), train.labels).predict_proba(basis(test))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_centroids_name_as_the_nearest_mean_direction_does(crowd) -> None:
    store = crowd(8, 10, 2)
    train, test = _labeled(store, np.s_[::2]), store.embeddings[1::2]
    means = centroids(train)
    assert np.linalg.norm(means, axis=1) == pytest.approx(1)
    guessed = fit_probe("centroid", train, train).score(test).argmax(axis=1)
    # On a sphere, the nearest is the most similar.
    distances = np.linalg.norm(test[:, None] - means[None], axis=2)
    assert np.array_equal(guessed, distances.argmin(axis=1))


def test_the_number_of_neighbors_is_the_one_that_validation_likes_best(crowd) -> None:
    store = crowd(4, 40, 3)
    train, val = _labeled(store, np.s_[::2]), _labeled(store, np.s_[1::2])
    similarity = val.embeddings @ train.embeddings.T
    right = {}
    for k in NEIGHBORS:
        nearest = np.argsort(-similarity, axis=1)[:, :k]
        votes = np.stack([(train.labels[nearest] == person).sum(axis=1) for person in range(4)], axis=1)
        best = np.stack([similarity[:, train.labels == person].max(axis=1) for person in range(4)], axis=1)
        right[k] = ((votes + best / 10).argmax(axis=1) == val.labels).mean()
    assert fit_probe("knn", train, val).k == max(right, key=lambda k: right[k])


def test_a_few_shot_curve_is_that_of_the_plain_transcription(crowd) -> None:
    store = crowd(5, 20, 2)
    found = _divided(store)
    plan = plan_shots(found, (1, 3), 3, 7, Silent())
    labels, parts = found.labels, found.parts
    val = LabeledRows(embeddings=store.embeddings[parts.val], labels=labels[parts.val])
    curve = few_shot_curve("linear", store, plan)
    for point in curve:
        accuracies = []
        for draw in range(3):
            order = np.random.default_rng([7, draw]).permutation(parts.train)
            rows = np.concatenate([order[labels[order] == person][: point.shots] for person in range(5)])
            train = LabeledRows(embeddings=store.embeddings[rows], labels=labels[rows])
            guessed = _plainly(train, val, store.embeddings[parts.test])[1]
            accuracies.append(np.mean(guessed == labels[parts.test]))
        assert point.draws == pytest.approx(accuracies, abs=0.051)  # one of 20 pictures may lie on the line
        assert point.top1 == pytest.approx(np.mean(point.draws))
        assert point.deviation == pytest.approx(np.std(point.draws, ddof=1))
    assert [point.shots for point in curve] == [1, 3]


def test_every_person_gives_exactly_that_many_pictures_and_only_training_pictures(crowd, monkeypatch) -> None:
    store, seen = crowd(5, 20, 2), []
    found = _divided(store)
    real = few_shot.fit_probe

    def spy(probe, train, val):
        seen.append(train)
        return real(probe, train, val)

    monkeypatch.setattr(few_shot, "fit_probe", spy)
    few_shot_curve("centroid", store, plan_shots(found, (1, 4), 2, 0, Silent()))
    assert [np.bincount(train.labels).tolist() for train in seen] == [[1] * 5, [1] * 5, [4] * 5, [4] * 5]
    allowed = {row.tobytes() for row in store.embeddings[found.parts.train]}
    assert all(row.tobytes() in allowed for train in seen for row in train.embeddings)
    # In a draw, the single picture is one of the four.
    assert {row.tobytes() for row in seen[0].embeddings} <= {row.tobytes() for row in seen[2].embeddings}


def test_people_with_too_few_pictures_are_said_aloud(crowd) -> None:
    store = crowd(5, 20, 2)
    store = store.take([row for row in range(len(store)) if row >= 10])
    texts = []

    class Notices:
        def report(self, event) -> None:
            texts.append(event.text)

    plan = plan_shots(_divided(store), (1, 8), 2, 0, Notices())
    assert plan.people == 4
    assert texts == ["1 of 5 people have fewer than 8 training pictures and are excluded from the few-shot curve"]
    assert 0 not in _divided(store).labels[plan.draws[0]]
