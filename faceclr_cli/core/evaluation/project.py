"""`faceclr tsne`: embeddings in two dimensions, drawn."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.tsne import TsneConfig
from faceclr_cli.core.embeddings.store import Store, ask_for_store, read_store, rows_of_most_pictured
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter, TaskFinished, TaskStarted
from faceclr_cli.core.metrics.knn import neighbour_purity
from faceclr_cli.core.plots.map import draw_map

_LEAST_FACES = 5
_FIRST_REDUCTION = 50
_NEIGHBOURS = 10
_WORTH_THREADS = 2000
_NAMES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}


@dataclass(frozen=True, kw_only=True)
class MapResult:
    """What was drawn.

    Attributes:
        out: The picture.
        method: `tsne`, `umap` or `pca`.
        encoder: Who made the embeddings.
        faces: Points on the map.
        people: People on the map; 0 where nobody knows whose the faces are.
        perplexity: What t-SNE ran with; None for the other methods.
        neighbours: How many neighbours the purities count, at most; None where there are no people.
        purity: Of each face's nearest neighbours on the map, the share that are the same person.
        embedding_purity: The same among the embeddings themselves.
    """

    out: str
    method: str
    encoder: str
    faces: int
    people: int
    perplexity: float | None
    neighbours: int | None
    purity: float | None
    embedding_purity: float | None

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self)


def run(config: TsneConfig, reporter: Reporter) -> MapResult:
    """Reduces the embeddings to two dimensions and draws them.

    Raises:
        ConfigError: No store was given.
        DataError: The store cannot be read or holds too few faces.
    """
    if config.store is None:
        raise ConfigError(ask_for_store("tsne"))
    store = _chosen(config.store, config.identities)
    perplexity = _perplexity(config, len(store), reporter)
    reporter.report(TaskStarted(task=f"computing {_NAMES[config.method]}"))
    try:
        points = _project(store.embeddings, config, perplexity)
    finally:
        reporter.report(TaskFinished(task=f"computing {_NAMES[config.method]}"))
    crowd = f"{len(store):,} faces of {len(store.people)} people" if store.people else f"{len(store):,} faces"
    title = f"{store.encoder} · {_NAMES[config.method]}"
    try:
        with atomic_path(config.out) as temporary:
            draw_map(temporary, points, store.identities, title=title, subtitle=crowd)
    except OSError as error:
        raise DataError(f"{config.out}: cannot be written ({error.strerror or error})") from error
    neighbours = _comparable_neighbours(store)
    return MapResult(
        out=str(config.out),
        method=config.method,
        encoder=store.encoder,
        faces=len(store),
        people=len(store.people),
        perplexity=perplexity,
        neighbours=neighbours,
        purity=neighbour_purity(points, _labels(store), neighbours) if neighbours else None,
        embedding_purity=neighbour_purity(store.embeddings, _labels(store), neighbours) if neighbours else None,
    )


def _chosen(path: Path, identities: int) -> Store:
    """The people with the most pictures, or everything where nobody knows whose the faces are."""
    store = read_store(path)
    if store.people:
        store = store.take(rows_of_most_pictured(store, identities))
    if len(store) < _LEAST_FACES:
        raise DataError(f"{path}: {len(store)} faces make no map; it takes {_LEAST_FACES}")
    return store


def _perplexity(config: TsneConfig, faces: int, reporter: Reporter) -> float | None:
    if config.method != "tsne":
        return None
    # A perplexity is a number of neighbours, and t-SNE looks at three times as many.
    highest = (faces - 1) / 3
    if config.perplexity <= highest:
        return config.perplexity
    reporter.report(Notice(text=f"perplexity lowered from {config.perplexity:g} to {highest:.3g} for {faces} faces"))
    return highest


def _project(embeddings: NDArray[np.float32], config: TsneConfig, perplexity: float | None) -> NDArray[np.float32]:
    """Two coordinates per face; the same seed gives the same ones. Shape: (faces, 2)."""
    dimensions = 2 if config.method == "pca" else min(_FIRST_REDUCTION, *embeddings.shape)
    # Few faces are sooner done than threads agree. Sums over more than two threads come in any order, and
    # t-SNE makes a map of its own of the last digit.
    threads = 1 if len(embeddings) < _WORTH_THREADS else 2
    with threadpool_limits(limits=threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reduced = PCA(n_components=dimensions, svd_solver="full").fit_transform(embeddings)
        if config.method == "tsne":
            from sklearn.manifold import TSNE

            method = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=config.seed)
            reduced = method.fit_transform(reduced)
        elif config.method == "umap":
            # Takes seconds to import.
            from umap import UMAP

            near = min(15, len(embeddings) - 1)
            reduced = UMAP(n_neighbors=near, metric="cosine", init="pca", random_state=config.seed).fit_transform(
                reduced
            )
    points: NDArray[np.float32] = np.asarray(reduced, np.float32)
    return points


def _labels(store: Store) -> list[str]:
    return [name or "" for name in store.identities]


def _comparable_neighbours(store: Store) -> int | None:
    """As many as everybody has, up to ten, so that a perfect map has purity 1."""
    several = [count for name, count in Counter(store.identities).items() if name is not None and count > 1]
    return min(_NEIGHBOURS, min(several) - 1) if several else None
