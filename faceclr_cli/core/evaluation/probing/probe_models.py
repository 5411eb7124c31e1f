"""What tells people apart in frozen embeddings: a linear layer, the nearest neighbors, or the nearest centroid."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from faceclr_cli.core.configs.linear_eval import Probe
from faceclr_cli.core.evaluation.probing.labeled_split import LabeledRows, Numbers
from faceclr_cli.core.metrics.knn import knn_scores
from faceclr_cli.core.metrics.normalization import normalize_rows

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse regularizations to choose from, strongest first."""
NEIGHBORS = (1, 3, 5, 9, 15)
"""Numbers of neighbors to choose from."""
_STEPS = 300
_WORTH_THREADS = 50_000_000
"""Multiplications per step below which threads wait for each other longer than they work."""

Embeddings = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearLayer:
    """A linear layer on embeddings as the encoder gives them: the centering and scaling of training are folded in.

    Attributes:
        weights: Shape: (people, dim).
        bias: Shape: (people,).
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Scores. Shape: (pictures, people)."""
        scores: NDArray[np.float32] = embeddings @ self.weights.T + self.bias
        return scores


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedProbe:
    """A probe that has learned.

    Attributes:
        score: From embeddings (pictures, dim) to a score for each person (pictures, people): the highest is the answer.
        c: The inverse regularization that was best on the validation pictures; None without a layer.
        k: The number of neighbors that was; None without neighbors.
        finished: False where training still improved the layer when it was stopped.
    """

    score: Callable[[Embeddings], NDArray[np.float32]]
    c: float | None = None
    k: int | None = None
    finished: bool = True


def fit_probe(probe: Probe, train: LabeledRows, val: LabeledRows) -> FittedProbe:
    """Learns from the training pictures alone; the validation pictures choose how strongly it is regularized.

    It is not trained again on both afterwards, so that what is kept is what was measured.

    Args:
        probe: `linear`: multinomial logistic regression with a squared penalty. `knn`: the votes of the nearest
            training pictures. `centroid`: the cosine to the mean of each person's training pictures, where nothing is
            chosen.
        train: Everybody has a picture.
        val: May lack some people.
    """
    if probe == "knn":
        return _neighbors(train, val)
    if probe == "centroid":
        means = centroids(train)
        return FittedProbe(score=LinearLayer(weights=means, bias=np.zeros(len(means), np.float32)))
    return _linear(train, val)


def centroids(train: LabeledRows) -> NDArray[np.float32]:
    """The L2-normalized mean of each person's pictures. Shape: (people, dim)."""
    sums = np.zeros((int(train.labels.max()) + 1, train.embeddings.shape[1]))
    np.add.at(sums, train.labels, train.embeddings)
    return normalize_rows(sums).astype(np.float32)


def _neighbors(train: LabeledRows, val: LabeledRows) -> FittedProbe:
    best, best_right = NEIGHBORS[0], -1
    for k in NEIGHBORS:
        scores = knn_scores(val.embeddings, train.embeddings, train.labels, k)
        right = int((scores.argmax(axis=1) == val.labels).sum())
        if right > best_right:
            best, best_right = k, right
    return FittedProbe(score=lambda asked: knn_scores(asked, train.embeddings, train.labels, best), k=best)


def _linear(train: LabeledRows, val: LabeledRows) -> FittedProbe:
    people, pictures = int(train.labels.max()) + 1, len(train.labels)
    work = pictures * min(train.embeddings.shape[1], pictures) * people
    with threadpool_limits(limits=None if work > _WORTH_THREADS else 1):
        basis = scaled_basis(train.embeddings)
        model = _fit(basis(train.embeddings), train.labels, basis(val.embeddings), val.labels)
        layer = _folded(model, basis)
    return FittedProbe(score=layer, c=float(model.C), finished=bool(model.n_iter_.max() < _STEPS))


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """What embeddings become before the layer is trained: `(embedding - mean) @ axes`.

    Attributes:
        mean: Shape: (dim,).
        axes: Shape: (dim, features).
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    def __call__(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Shape: (pictures, features)."""
        centered: NDArray[np.float32] = embeddings - self.mean
        return centered @ self.axes


def scaled_basis(train: Embeddings) -> Basis:
    """Centered, and all values times one number, so that their angles stay what the encoder made them.

    One regularization then means the same to embeddings of any length. Where embeddings are much longer
    than training pictures are many, they are expressed in the span of those: the layer is the same, since the
    weights that a squared penalty leaves never point out of it, and is learned faster.
    """
    mean: NDArray[np.float32] = train.mean(axis=0)
    centered = train - mean
    scale = max(float(np.sqrt(np.mean(centered**2))), 1e-12)
    axes: NDArray[Any] = np.eye(train.shape[1], dtype=np.float32)
    if 2 * len(train) < train.shape[1]:
        axes = np.linalg.svd(centered, full_matrices=False)[2].T
    return Basis(mean=mean, axes=(axes / scale).astype(np.float32))


def _fit(features: Embeddings, labels: Numbers, val: Embeddings, val_labels: Numbers) -> Any:
    """Multinomial logistic regression with the regularization that names most validation pictures right."""
    # Each strength starts where the one before ended.
    model = LogisticRegression(warm_start=True, max_iter=_STEPS)
    best, best_accuracy = None, -1.0
    for c in STRENGTHS:
        model.set_params(C=c)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            # One picture of each person is what a few-shot curve asks for.
            warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
            model.fit(features, labels)
        accuracy = float(model.score(val, val_labels))
        if accuracy > best_accuracy:
            best, best_accuracy = copy.deepcopy(model), accuracy
    return best


def _folded(model: Any, basis: Basis) -> LinearLayer:
    weights, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(weights) == 1:  # Of two people, scikit-learn keeps the log odds of the second.
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    raw = weights @ basis.axes.T.astype(np.float64)
    return LinearLayer(weights=raw.astype(np.float32), bias=(bias - raw @ basis.mean).astype(np.float32))
