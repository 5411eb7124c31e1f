"""Dimensionality reduction to two dimensions: t-SNE, UMAP or PCA."""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from faceclr_cli.core.artifacts import cache_folder, make_folder
from faceclr_cli.core.configs.tsne import TsneConfig
from faceclr_cli.core.events import Reporter, TaskAdvanced, TaskFinished, TaskStarted

NAMES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}

_NUMBA_CACHE = "NUMBA_CACHE_DIR"
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
    _provide_compilation_cache()
    # Importing UMAP takes seconds.
    from umap import UMAP

    near = min(15, len(rows) - 1)
    made: NDArray[np.float32] = UMAP(n_neighbors=near, init="pca", random_state=seed).fit_transform(rows)
    return made


def _provide_compilation_cache() -> None:
    """Names a folder for compiled functions if that of the package cannot be written.

    Numba then uses the user's cache folder, and importing UMAP fails without one, as for users without a home folder.
    """
    package = importlib.util.find_spec("umap")
    is_writable = package is not None and os.access(Path(package.origin or "").parent, os.W_OK)
    if is_writable or _NUMBA_CACHE in os.environ:
        return
    try:
        folder = cache_folder() / "numba"
        make_folder(folder)
        TemporaryFile(dir=folder).close()
    except OSError:
        # Only for this process, since the cache contains code, which other users must not be able to place there.
        temporary = TemporaryDirectory(prefix="faceclr-")
        atexit.register(temporary.cleanup)
        folder = Path(temporary.name)
    os.environ[_NUMBA_CACHE] = str(folder)


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
