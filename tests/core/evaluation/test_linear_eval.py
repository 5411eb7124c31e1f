from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError
from faceclr_cli.core.evaluation import linear_eval
from faceclr_cli.core.evaluation.linear_eval import LinearEvalResult, run
from faceclr_cli.core.events import Silent


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
    # A rotation into many more dimensions changes nothing that a linear layer could see.
    store = crowd(noise=2)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(400, 16)))[0].astype(np.float32)
    short, long = _evaluate(tmp_path, store, replace(store, embeddings=store.embeddings @ rotation.T)).rows
    assert long.dim == 400
    # One number scales all values, so that regularisation is the only thing that differs.
    assert long.top1 == pytest.approx(short.top1, abs=0.13)


def test_the_span_of_the_training_pictures_is_all_that_the_layer_needs(crowd) -> None:
    store = crowd(noise=2, dim=200)
    train, test = np.arange(0, 80, 2), np.arange(1, 80, 2)
    labels = np.unique(store.identities, return_inverse=True)[1]
    centred = store.embeddings - store.embeddings[train].mean(axis=0)
    full = centred / np.sqrt(np.mean(centred[train] ** 2))
    short = linear_eval._scaled(store.embeddings, train)
    assert short.shape[1] == len(train)
    model = LogisticRegression(C=0.01, max_iter=1000, tol=1e-8)
    expected = model.fit(full[train], labels[train]).predict_proba(full[test])
    found = model.fit(short[train], labels[train]).predict_proba(short[test])
    np.testing.assert_allclose(found, expected, atol=1e-3)


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
    with pytest.raises(DataError, match=r"p07/9\.jpg is not the same in both"):
        _evaluate(tmp_path, store, store.take(range(len(store) - 1)))
    changed = replace(store, content_hashes=("other", *store.content_hashes[1:]))
    with pytest.raises(DataError, match=r"p00/0\.jpg is not the same"):
        _evaluate(tmp_path, store, changed)
    with pytest.raises(FingerprintError, match="size is 112 and 160"):
        _evaluate(tmp_path, store, replace(store, fingerprint=replace(store.fingerprint, size=160)))


def test_what_makes_no_comparison_is_said(tmp_path: Path, crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="faceclr embed FACES"):
        run(LinearEvalConfig(), Silent())
    store = crowd()
    with pytest.raises(DataError, match="whose it is"):
        _evaluate(tmp_path, replace(store, identities=(None,) * len(store)))
    with pytest.raises(DataError, match="0 of its 8 people have 11 pictures"):
        _evaluate(tmp_path, store, min_images=11)


def test_scikit_learn_says_nothing(tmp_path: Path, crowd, recwarn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_eval, "_STEPS", 2)
    _evaluate(tmp_path, crowd(noise=3))
    assert not recwarn.list
