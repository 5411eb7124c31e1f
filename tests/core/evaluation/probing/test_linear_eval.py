from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix, jaccard_score, roc_auc_score

from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.embeddings.store import Store, read_store, write_store
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError, ModelError
from faceclr_cli.core.evaluation.identification.people_classifier import read_classifier
from faceclr_cli.core.evaluation.probing import probe_models as probe
from faceclr_cli.core.evaluation.probing.labeled_split import split_labeled_rows
from faceclr_cli.core.evaluation.probing.linear_eval import LinearEvalResult
from faceclr_cli.core.evaluation.probing.linear_eval import linear_eval as run
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.metrics.roc import every_pair


class Notices:
    """Keeps the notices."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)


@pytest.fixture(name="crowd")
def _crowd(crowd: Callable[..., Store]) -> Callable[..., Store]:
    def make(people: int = 8, pictures: int = 10, noise: float = 0.3, dim: int = 16) -> Store:
        return crowd(people, pictures, noise, dim)

    return make


def _evaluate(tmp_path: Path, *stores: Store, **options) -> LinearEvalResult:
    paths = tuple(tmp_path / f"{number}.h5" for number in range(len(stores)))
    for path, store in zip(paths, stores, strict=True):
        write_store(path, store)
    return run(LinearEvalConfig(stores=paths, **options), Silent())


def test_people_apart_are_told_apart_and_noise_is_not(tmp_path: Path, crowd) -> None:
    result = _evaluate(tmp_path, crowd(noise=0.1), crowd(noise=50))
    good, bad = result.rows
    assert (good.top1, good.top3, good.top5, good.jaccard, good.f1, good.knn) == (1,) * 6
    assert bad.top1 < 0.5
    assert bad.top1 <= bad.top3 <= bad.top5
    assert (result.people, result.train, result.val, result.test, result.pictures) == (8, 48, 16, 16, 80)
    assert result.chance == 1 / 8
    assert json.loads(json.dumps(result.to_json()))["rows"][0]["top1"] == 1


def test_the_same_seed_gives_the_same_numbers_in_any_order_of_rows(tmp_path: Path, crowd) -> None:
    store = crowd(noise=2)
    shuffled = store.take(np.random.default_rng(1).permutation(len(store)))
    first, again = _evaluate(tmp_path, store, shuffled).rows
    assert replace(first, store="") == replace(again, store="")
    assert _evaluate(tmp_path, store, seed=1).rows[0] != first


def test_long_embeddings_give_the_layer_that_short_ones_would(tmp_path: Path, crowd) -> None:
    # A rotation into many more dimensions does not affect a linear layer.
    store = crowd(noise=2)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(400, 16)))[0].astype(np.float32)
    short, long = _evaluate(tmp_path, store, replace(store, embeddings=store.embeddings @ rotation.T)).rows
    assert long.dim == 400
    # One number scales all values, so that regularization is the only thing that differs.
    assert long.top1 == pytest.approx(short.top1, abs=0.13)


def test_two_people_and_few_people(tmp_path: Path, crowd) -> None:
    two = _evaluate(tmp_path, crowd(people=2, noise=0.1)).rows[0]
    assert (two.top1, two.top3, two.top5) == (1.0, None, None)
    four = _evaluate(tmp_path, crowd(people=4, noise=0.1)).rows[0]
    assert (four.top3, four.top5) == (1.0, None)


def test_only_the_people_asked_for_count(tmp_path: Path, crowd) -> None:
    store = crowd()
    keep = [row for row in range(len(store)) if store.identities[row] != "p03" or store.paths[row] < "p03/4"]
    assert _evaluate(tmp_path, store.take(keep)).people == 7
    assert _evaluate(tmp_path, store, identities=3).people == 3


def test_stores_that_cannot_be_compared_are_refused(tmp_path: Path, crowd) -> None:
    store = crowd()
    with pytest.raises(DataError, match=r"p07/9\.jpg differs"):
        _evaluate(tmp_path, store, store.take(range(len(store) - 1)))
    changed = replace(store, content_hashes=("other", *store.content_hashes[1:]))
    with pytest.raises(DataError, match=r"p00/0\.jpg differs"):
        _evaluate(tmp_path, store, changed)
    with pytest.raises(FingerprintError, match="size is 112 and 160"):
        _evaluate(tmp_path, store, replace(store, fingerprint=replace(store.fingerprint, size=160)))


def test_what_makes_no_comparison_is_said(tmp_path: Path, crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="faceclr embed FACES"):
        run(LinearEvalConfig(), Silent())
    store = crowd()
    with pytest.raises(DataError, match="no face has a name"):
        _evaluate(tmp_path, replace(store, identities=(None,) * len(store)))
    with pytest.raises(DataError, match="0 of 8 people have 11 or more pictures"):
        _evaluate(tmp_path, store, min_images=11)


def test_every_number_is_that_of_scikit_learn(tmp_path: Path, crowd) -> None:
    row = _evaluate(tmp_path, crowd(noise=2)).rows[0]
    true = np.repeat(np.repeat(np.arange(8), 8), row.matrix.ravel())
    guessed = np.repeat(np.tile(np.arange(8), 8), row.matrix.ravel())
    report = classification_report(true, guessed, output_dict=True, zero_division=0)
    assert row.top1 == pytest.approx(report["accuracy"])
    assert row.top1 < 1
    for mean, found in (("macro avg", row), ("weighted avg", row.weighted)):
        for theirs, ours in (("precision", "precision"), ("recall", "recall"), ("f1-score", "f1")):
            assert getattr(found, ours) == pytest.approx(report[mean][theirs])
    assert row.jaccard == pytest.approx(jaccard_score(true, guessed, average="macro", zero_division=0))
    assert [person.name for person in row.per_person] == [f"p{number:02d}" for number in range(8)]
    for number, person in enumerate(row.per_person):
        assert person.support == report[str(number)]["support"] == 2
        assert person.f1 == pytest.approx(report[str(number)]["f1-score"])


def test_verification_is_over_all_pairs_of_test_pictures(tmp_path: Path, crowd) -> None:
    store = crowd(30, 10, 1.0)
    parts = {}
    for name, places in (("train", range(4)), ("val", (4, 5)), ("test", range(6, 10))):
        rows = [row for row, path in enumerate(store.paths) if int(path.split("/")[1].split(".")[0]) in places]
        parts[name] = tmp_path / f"{name}.h5"
        write_store(parts[name], store.take(rows))
    (row,) = run(LinearEvalConfig(**parts, rounds=100), Silent()).rows
    tested = read_store(parts["test"])
    scores, same = every_pair(tested.embeddings, [str(name) for name in tested.identities])
    found = row.verification
    assert found is not None
    assert (found.genuine, found.impostor) == (int(same.sum()), int((~same).sum()))
    assert found.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-5)
    for far, tar in zip((1e-2, 1e-3), found.tar_at_far, strict=True):
        threshold = sorted(scores[~same])[-1 - int(far * found.impostor)]
        assert tar == pytest.approx(np.mean(scores[same] > threshold), abs=0.006)
    assert row.to_json()["verification"]["tar_at_far"][0] == {"far": 0.01, "tar": found.tar_at_far[0]}


def test_mistakes_are_listed_by_how_often_they_were_made(tmp_path: Path, crowd) -> None:
    row = _evaluate(tmp_path, crowd(noise=5, pictures=40)).rows[0]
    times = [mistake.times for mistake in row.confusions]
    assert times == sorted(times, reverse=True)
    assert sum(times) == row.matrix.sum() - row.matrix.trace()
    first = row.confusions[0]
    assert row.matrix[int(first.true[1:]), int(first.taken_for[1:])] == first.times


def test_intervals_hold_what_was_measured_and_repeat(tmp_path: Path, crowd) -> None:
    row = _evaluate(tmp_path, crowd(noise=2), rounds=500).rows[0]
    assert list(row.intervals) == ["top1", "top3", "top5", "knn", "jaccard", "precision", "recall", "f1"]
    for name, (low, high) in row.intervals.items():
        assert low <= getattr(row, name) <= high
    assert row.intervals["top1"][0] < row.intervals["top1"][1]
    assert _evaluate(tmp_path, crowd(noise=2), rounds=500).rows[0] == row


def test_what_is_learned_depends_on_no_test_picture(tmp_path: Path, crowd) -> None:
    store = crowd(noise=1, people=6, pictures=20)
    labels = np.unique(store.identities, return_inverse=True)[1]
    # Rows of the stores lie in the order of their paths.
    store = store.take(sorted(range(len(store)), key=lambda row: store.paths[row]))
    test = split_labeled_rows(labels, 0).test
    turned = store.embeddings.copy()
    turned[test] = np.roll(turned[test], 7, axis=0)
    for number, embeddings in enumerate((store.embeddings, turned)):
        _evaluate(tmp_path, replace(store, embeddings=embeddings), save=tmp_path / f"kept{number}", shots="2")
    kept = [read_classifier(tmp_path / f"kept{number}") for number in range(2)]
    assert np.array_equal(kept[0].weights, kept[1].weights)
    assert np.array_equal(kept[0].bias, kept[1].bias)
    assert np.array_equal(kept[0].centroids, kept[1].centroids)
    assert kept[0].source == kept[1].source


def test_a_saved_classifier_gives_the_names_that_the_probe_gave(tmp_path: Path, crowd) -> None:
    store = crowd(noise=2, people=6, pictures=20)
    row = _evaluate(tmp_path, store, save=tmp_path / "kept").rows[0]
    kept = read_classifier(tmp_path / "kept")
    store = store.take(sorted(range(len(store)), key=lambda row: store.paths[row]))
    labels = np.unique(store.identities, return_inverse=True)[1]
    parts = split_labeled_rows(labels, 0)
    guessed = kept.probabilities(store.embeddings[parts.test]).argmax(axis=1)
    assert np.array_equal(confusion_matrix(labels[parts.test], guessed), row.matrix)
    assert kept.people == store.people
    assert kept.source == {"store": str(tmp_path / "0.h5"), "pictures": len(parts.train), "probe": "linear", "c": row.c}
    # The rejection of strangers was measured on pictures that were not used for training.
    held_out = np.concatenate([parts.val, parts.test])
    scores = store.embeddings[held_out] @ kept.centroids.T
    impostors = scores[labels[held_out][:, None] != np.arange(6)]
    for point in kept.calibration.points:
        assert np.mean(impostors >= point.threshold) <= point.far
    assert [point.far for point in kept.calibration.points] == [0.1]


@pytest.mark.parametrize(("people", "fars"), [(6, [0.1]), (9, [0.1]), (25, [0.1, 0.01])])
def test_the_false_accept_rates_of_a_classifier_rest_on_people_not_on_pictures(
    people: int, fars: list[float], tmp_path: Path, crowd
) -> None:
    """A FAR of 0.01 needs 300 pairs of people: 25 people. Six with 100 pictures each have 1,200 comparisons."""
    store = crowd(noise=1, people=people, pictures=100 if people == 6 else 10)
    write_store(tmp_path / "a.h5", store)
    notices = Notices()
    run(LinearEvalConfig(stores=(tmp_path / "a.h5",), save=tmp_path / "kept"), notices)
    assert [point.far for point in read_classifier(tmp_path / "kept").calibration.points] == fars
    few = [text for text in notices.texts if "needs 30 pairs of people, there are 15" in text]
    assert len(few) == (people == 6)


def test_too_few_comparisons_keep_no_classifier(tmp_path: Path, crowd) -> None:
    with pytest.raises(DataError, match="4 comparisons of held-out pictures"):
        _evaluate(tmp_path, crowd(people=2, pictures=5), save=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_parts_that_are_given_are_used_as_they_are(tmp_path: Path, crowd) -> None:
    store = crowd(noise=1)
    for name, first, last in (("train", 0, 6), ("val", 6, 8), ("test", 8, 10)):
        rows = [row for row in range(len(store)) if first <= row % 10 < last and (name == "test") <= (row < 70)]
        write_store(tmp_path / f"{name}.h5", store.take(rows))
    parts = {name: tmp_path / f"{name}.h5" for name in ("train", "val", "test")}
    notices = Notices()
    result = run(LinearEvalConfig(**parts), notices)
    assert (result.people, result.train, result.val, result.test) == (7, 42, 14, 14)
    assert "1 of 8 people are not in all three parts and are excluded (p07)" in notices.texts[0]
    write_store(parts["test"], replace(store, encoder_digest="other"))
    with pytest.raises(ModelError, match=r"test\.h5: was embedded by crowd, unlike"):
        run(LinearEvalConfig(**parts), Silent())


def test_copies_of_training_pictures_in_the_test_are_said_aloud(tmp_path: Path, crowd) -> None:
    store = crowd()
    write_store(tmp_path / "a.h5", replace(store, content_hashes=("same",) * len(store)))
    notices = Notices()
    run(LinearEvalConfig(stores=(tmp_path / "a.h5",)), notices)
    assert "16 of 16 test pictures are copies of training pictures" in notices.texts[0]


@pytest.mark.parametrize("probe", ["linear", "knn", "centroid"])
def test_every_probe_tells_people_apart_who_are_apart(tmp_path: Path, crowd, probe: str) -> None:
    result = _evaluate(tmp_path, crowd(noise=0.1), probe=probe, shots="1,2")
    row = result.rows[0]
    assert (row.top1, row.top3, row.f1) == (1, 1, 1)
    assert (row.c is None, row.k is None) == (probe != "linear", probe != "knn")
    assert [(point.shots, point.top1) for point in row.shots] == [(1, 1), (2, 1)]


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    two = (tmp_path / "a.h5", tmp_path / "b.h5")
    for options, message in (
        ({"stores": two, "save": tmp_path}, "--save requires a single store"),
        ({"stores": two, "plot": tmp_path}, "--plot requires a single store"),
        ({"probe": "knn", "save": tmp_path}, "--save requires --probe linear, not knn"),
        ({"train": tmp_path}, "add --val and --test"),
        ({"stores": two, "train": tmp_path, "val": tmp_path, "test": tmp_path}, "give either stores"),
        ({"shots": "1,x"}, "--shots 1,x"),
        ({"shots": "0,1"}, "--shots 0,1"),
    ):
        with pytest.raises(ValueError, match=message):
            LinearEvalConfig(**options)


def test_scikit_learn_says_nothing(tmp_path: Path, crowd, recwarn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_STEPS", 2)
    notices = Notices()
    write_store(tmp_path / "a.h5", crowd(noise=3))
    run(LinearEvalConfig(stores=(tmp_path / "a.h5",), shots="1"), notices)
    assert not recwarn.list
    assert "the layer had not converged" in notices.texts[0]


@pytest.mark.real
def test_folders_are_embedded_on_the_way(real_data: Path, tmp_path: Path) -> None:
    names = sorted(folder.name for folder in (real_data / "faces-train").iterdir() if folder.is_dir())[:3]
    for name in names:
        (tmp_path / name).mkdir()
        for picture in sorted((real_data / "faces-train" / name).iterdir())[:6]:
            (tmp_path / name / picture.name).symlink_to(picture)
    result = run(LinearEvalConfig(stores=(tmp_path,), min_images=5), Silent())
    assert result.rows[0].encoder == "sface"
    assert result.people >= 2
