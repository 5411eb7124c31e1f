"""Dimensionality reduction to two dimensions: t-SNE, UMAP or PCA."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from faceclr_cli.core.configs.tsne import TsneConfig
from faceclr_cli.core.events import Reporter, TaskAdvanced, TaskFinished, TaskStarted

NAMES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}

_FIRST_REDUCTION = 50
_WORTH_THREADS = 2000
_ITERATIONS = 1000
_MANY = 5000
_COARSE = 0.8
"""Barnes-Hut angle above `_MANY` points: takes half the time of the default 0.5, with the same neighbors."""


def reduce(
    embeddings: NDArray[np.float32], config: TsneConfig, perplexity: float | None, reporter: Reporter
) -> NDArray[np.float32]:
    """Reduces embeddings to two dimensions. The result is reproducible for a given seed.

    Embeddings are first reduced with PCA. t-SNE and UMAP use Euclidean distances, whose squares are twice the cosine
    distances for normalized embeddings; PCA preserves them up to the variance of the dropped components.

    Args:
        embeddings: L2-normalized. Shape: (faces, dim).
        config: The method and the seed.
        perplexity: Perplexity of t-SNE, less than a third of the faces; None for other methods.
        reporter: Receives the progress.

    Returns:
        Shape: (faces, 2).
    """
    task = f"computing {NAMES[config.method]}"
    dimensions = 2 if config.method == "pca" else min(_FIRST_REDUCTION, *embeddings.shape)
    # Threads slow down small inputs. With more than two threads, the order of sums varies, and t-SNE amplifies the
    # rounding differences into another map.
    threads = 1 if len(embeddings) < _WORTH_THREADS else 2
    reporter.report(TaskStarted(task=task, total=_ITERATIONS if config.method == "tsne" else None, unit="iterations"))
    try:
        with threadpool_limits(limits=threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reduced = PCA(n_components=dimensions, svd_solver="full").fit_transform(embeddings)
            if config.method == "tsne":
                reduced = _tsne(reduced, config.seed, perplexity, threads, task, reporter)
            elif config.method == "umap":
                reduced = _umap(reduced, config.seed)
    finally:
        reporter.report(TaskFinished(task=task))
    points: NDArray[np.float32] = np.asarray(reduced, np.float32)
    return points


def _tsne(
    rows: NDArray[np.float32], seed: int, perplexity: float | None, threads: int, task: str, reporter: Reporter
) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE

    method = TSNE(
        init="pca",
        perplexity=perplexity,
        random_state=seed,
        max_iter=_ITERATIONS,
        angle=0.5 if len(rows) <= _MANY else _COARSE,
        n_jobs=threads,
        verbose=2,
    )
    with _tsne_progress(task, reporter):
        made: NDArray[np.float32] = method.fit_transform(rows)
    return made


def _umap(rows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    # Importing UMAP takes seconds.
    from umap import UMAP

    near = min(15, len(rows) - 1)
    made: NDArray[np.float32] = UMAP(n_neighbors=near, init="pca", random_state=seed).fit_transform(rows)
    return made


@contextmanager
def _tsne_progress(task: str, reporter: Reporter) -> Iterator[None]:
    """Reports progress from the lines that scikit-learn prints every 50 iterations, since it has no callback."""
    ours = sys.stdout

    class Lines(StringIO):
        def write(self, text: str, /) -> int:
            if found := re.match(r"\[t-SNE\] Iteration (\d+):", text):
                with redirect_stdout(ours):  # the reporter may print
                    reporter.report(TaskAdvanced(task=task, done=int(found[1])))
            return len(text)

    with redirect_stdout(Lines()):
        yield
