from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.manifold import TSNE, trustworthiness
from sklearn.metrics import silhouette_score

from faceclr_cli.core.configs.tsne import TsneConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.mapping.tsne import MapResult
from faceclr_cli.core.evaluation.mapping.tsne import tsne as run
from faceclr_cli.core.events import Event, Notice, Silent, TaskAdvanced, TaskFinished, TaskStarted


@pytest.fixture(name="crowd")
def _crowd(crowd: Callable[..., Store]) -> Callable[..., Store]:
    def make(people: int = 5, pictures: int = 8, noise: float = 0.1, dim: int = 64) -> Store:
        return crowd(people, pictures, noise, dim)

    return make


class Listener:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)


def _draw(tmp_path: Path, store: Store, out: str = "map.png", **options) -> MapResult:
    write_store(tmp_path / "faces.h5", store)
    return run(TsneConfig(store=tmp_path / "faces.h5", out=(tmp_path / out,), **options), Silent())


@pytest.mark.parametrize("method", ["tsne", "pca", pytest.param("umap", marks=pytest.mark.nightly)])
def test_people_apart_are_apart_on_the_map_which_a_seed_draws_again(
    tmp_path: Path, method: str, crowd, recwarn
) -> None:
    first = _draw(tmp_path, crowd(), method=method)
    again = _draw(tmp_path, crowd(), "again.png", method=method)
    assert first.purity is not None
    assert first.purity > (0.6 if method == "pca" else 0.99)
    assert (first.embedding_purity, first.neighbors) == (1.0, 7)
    assert (first.faces, first.people, first.method) == (40, 5, method)
    assert (tmp_path / "map.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert again.purity == first.purity
    plain = json.loads(json.dumps(first.to_json()))
    assert plain["out"] == str(tmp_path / "map.png")
    assert [(point["path"], point["identity"]) for point in plain["points"][:1]] == [("p00/0.jpg", "p00")]
    assert np.array_equal([[point["x"], point["y"]] for point in plain["points"]], again.points)
    # Warnings that importing umap causes are not faceclr's.
    assert method == "umap" or not recwarn.list


def test_the_numbers_beside_the_map_are_those_of_scikit_learn(tmp_path: Path, crowd) -> None:
    store = crowd(noise=1.0)
    result = _draw(tmp_path, store, method="pca")
    assert result.silhouette == pytest.approx(silhouette_score(store.embeddings, store.identities, metric="cosine"))
    expected = trustworthiness(store.embeddings, result.points, n_neighbors=10, metric="cosine")
    assert result.trustworthiness == pytest.approx(expected)
    assert (result.trustworthiness_neighbors, result.trustworthiness_faces) == (10, 40)


def test_tsne_looks_at_distances_by_cosine(tmp_path: Path, crowd) -> None:
    """With so few faces, no dimension is dropped, and scikit-learn's own cosine distance gives an equally good map."""
    store = crowd(people=6, pictures=10, noise=1.2, dim=32)
    own = TSNE(metric="cosine", perplexity=15, random_state=0).fit_transform(store.embeddings)
    ours = _draw(tmp_path, store, perplexity=15)
    theirs = trustworthiness(store.embeddings, own, n_neighbors=10, metric="cosine")
    assert ours.trustworthiness > theirs - 0.02


def test_progress_is_that_of_the_optimizer(tmp_path: Path, crowd, capsys) -> None:
    write_store(tmp_path / "faces.h5", crowd())
    listener = Listener()
    run(TsneConfig(store=tmp_path / "faces.h5", out=(tmp_path / "map.png",), perplexity=5), listener)
    done = [event.done for event in listener.events if isinstance(event, TaskAdvanced)]
    assert done == sorted(done)
    assert 50 <= done[0] < done[-1] <= 1000
    assert TaskStarted(task="computing t-SNE", total=1000, unit="iterations") in listener.events
    assert TaskFinished(task="computing t-SNE") in listener.events
    assert capsys.readouterr() == ("", "")


def test_people_are_chosen_by_name_however_few_pictures_they_have(tmp_path: Path, crowd) -> None:
    store = crowd(pictures=6)
    result = _draw(tmp_path, store, people=("p04", "p01"), identities=1, method="pca")
    assert set(result.identities) == {"p01", "p04"}
    with pytest.raises(ConfigError, match=r"--people p0: not found in .* did you mean p0"):
        _draw(tmp_path, store, people=("p0",))


def test_a_folder_is_embedded_on_the_fly_and_gives_the_page_its_thumbnails(tmp_path: Path) -> None:
    write_people(tmp_path / "photos", 3, 4, 0, Silent())
    page, picture = tmp_path / "map.html", tmp_path / "map.pdf"
    result = run(TsneConfig(store=tmp_path / "photos", model="sface", out=(page, picture), method="pca"), Silent())
    assert (result.faces, result.people, result.encoder, result.thumbnails) == (12, 3, "sface", 12)
    assert result.written == (str(page), str(picture))
    assert picture.read_bytes().startswith(b"%PDF")
    assert page.read_text().startswith("<!doctype html>")


def test_options_reach_the_map(tmp_path: Path, crowd) -> None:
    _draw(tmp_path, crowd(noise=1), perplexity=5)
    _draw(tmp_path, crowd(noise=1), "other.png", method="tsne", perplexity=10)
    assert (tmp_path / "map.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_perplexity_is_lowered_with_a_word(tmp_path: Path, crowd) -> None:
    write_store(tmp_path / "faces.h5", crowd(people=2, pictures=5))
    listener = Listener()
    result = run(TsneConfig(store=tmp_path / "faces.h5", out=(tmp_path / "map.svg",)), listener)
    assert result.perplexity == 3.0
    assert [event.text for event in listener.events if isinstance(event, Notice)] == [
        "perplexity lowered from 30 to 3 for 10 faces"
    ]
    assert (tmp_path / "map.svg").read_bytes().startswith(b"<?xml")


def test_only_the_people_with_the_most_pictures_are_drawn(tmp_path: Path, crowd) -> None:
    store = crowd()
    result = _draw(tmp_path, store.take(range(len(store) - 3)), identities=4, method="pca")
    assert (result.people, result.faces) == (4, 32)


def test_unlabeled_faces_are_all_drawn_and_purity_is_omitted(tmp_path: Path, crowd) -> None:
    store = crowd()
    result = _draw(tmp_path, replace(store, identities=(None,) * len(store)), method="pca")
    assert (result.faces, result.people, result.purity, result.neighbors) == (40, 0, None, None)


@pytest.mark.parametrize("method", ["tsne", "pca", pytest.param("umap", marks=pytest.mark.nightly)])
def test_copies_are_drawn_where_their_original_is(tmp_path: Path, crowd, method: str) -> None:
    store = crowd(people=5, pictures=1)
    copied = replace(crowd(people=5, pictures=8), embeddings=np.repeat(store.embeddings, 8, axis=0))
    result = _draw(tmp_path, copied, method=method)
    assert np.isfinite(result.points).all()
    assert len(np.unique(result.points, axis=0)) == 5
    assert (result.faces, result.silhouette) == (40, pytest.approx(1))
    assert result.perplexity == (pytest.approx(4 / 3) if method == "tsne" else None)


@pytest.mark.parametrize("method", ["tsne", "pca", "umap"])
@pytest.mark.parametrize("different", [1, 4])
def test_a_map_needs_embeddings_that_differ(tmp_path: Path, crowd, method: str, different: int) -> None:
    store = crowd(people=4, pictures=10)
    rows = store.embeddings[np.arange(len(store)) % different]
    with pytest.raises(
        DataError, match=f"40 faces have only {different} distinct embeddings, and a map needs at least 5"
    ):
        _draw(tmp_path, replace(store, embeddings=rows), method=method)
    assert not (tmp_path / "map.png").exists()


def test_what_makes_no_map_is_said_and_nothing_is_left(tmp_path: Path, crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no store given"):
        run(TsneConfig(), Silent())
    with pytest.raises(DataError, match="a map needs at least 5 faces, found 4"):
        _draw(tmp_path, crowd(people=2, pictures=2))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        _draw(tmp_path, crowd(), "folder.png", method="pca")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.h5", "folder.png"]
