from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from faceclr_cli.core.configs.tsne import TsneConfig
from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.project import MapResult, run
from faceclr_cli.core.events import Event, Notice, Silent


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
    return run(TsneConfig(store=tmp_path / "faces.h5", out=tmp_path / out, **options), Silent())


@pytest.mark.parametrize("method", ["tsne", "pca", pytest.param("umap", marks=pytest.mark.nightly)])
def test_people_apart_are_apart_on_the_map_which_a_seed_draws_again(
    tmp_path: Path, method: str, crowd, recwarn
) -> None:
    first = _draw(tmp_path, crowd(), method=method)
    again = _draw(tmp_path, crowd(), "again.png", method=method)
    assert first.purity is not None
    assert first.purity > (0.6 if method == "pca" else 0.99)
    assert (first.embedding_purity, first.neighbours) == (1.0, 7)
    assert (first.faces, first.people, first.method) == (40, 5, method)
    assert (tmp_path / "map.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert again.purity == first.purity
    assert json.loads(json.dumps(first.to_json()))["out"] == str(tmp_path / "map.png")
    # What importing umap itself warns of is not ours.
    assert method == "umap" or not recwarn.list


def test_options_reach_the_map(tmp_path: Path, crowd) -> None:
    _draw(tmp_path, crowd(noise=1), perplexity=5)
    _draw(tmp_path, crowd(noise=1), "other.png", method="tsne", perplexity=10)
    assert (tmp_path / "map.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_perplexity_is_lowered_with_a_word(tmp_path: Path, crowd) -> None:
    write_store(tmp_path / "faces.h5", crowd(people=2, pictures=5))
    listener = Listener()
    result = run(TsneConfig(store=tmp_path / "faces.h5", out=tmp_path / "map.svg"), listener)
    assert result.perplexity == 3.0
    assert [event.text for event in listener.events if isinstance(event, Notice)] == [
        "perplexity lowered from 30 to 3 for 10 faces"
    ]
    assert (tmp_path / "map.svg").read_bytes().startswith(b"<?xml")


def test_only_the_people_with_the_most_pictures_are_drawn(tmp_path: Path, crowd) -> None:
    store = crowd()
    result = _draw(tmp_path, store.take(range(len(store) - 3)), identities=4, method="pca")
    assert (result.people, result.faces) == (4, 32)


def test_faces_of_nobody_are_drawn_all_and_have_no_purity(tmp_path: Path, crowd) -> None:
    store = crowd()
    result = _draw(tmp_path, replace(store, identities=(None,) * len(store)), method="pca")
    assert (result.faces, result.people, result.purity, result.neighbours) == (40, 0, None, None)


def test_what_makes_no_map_is_said_and_nothing_is_left(tmp_path: Path, crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no store given"):
        run(TsneConfig(), Silent())
    with pytest.raises(DataError, match="4 faces make no map"):
        _draw(tmp_path, crowd(people=2, pictures=2))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        _draw(tmp_path, crowd(), "folder.png", method="pca")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.h5", "folder.png"]
