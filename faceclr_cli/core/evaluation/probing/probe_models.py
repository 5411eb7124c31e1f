"""Probe models on frozen embeddings: linear layer, k nearest neighbors, nearest centroid."""

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
"""Candidate inverse regularization strengths, strongest regularization first."""
NEIGHBORS = (1, 3, 5, 9, 15)
"""Candidate numbers of neighbors."""
_STEPS = 300
_WORTH_THREADS = 50_000_000
"""Multiplications per step below which the overhead of threads exceeds their gain."""

Embeddings = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearLayer:
    """A linear layer on raw embeddings; the centering and scaling of training are folded into the weights.

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
    """A trained probe.

    Attributes:
        score: Maps embeddings (pictures, dim) to scores (pictures, people); the highest score is the prediction.
        c: The inverse regularization strength that was best on the validation pictures; None without a linear layer.
        k: The number of neighbors that was best on the validation pictures; None without kNN.
        finished: False if training stopped before convergence.
    """

    score: Callable[[Embeddings], NDArray[np.float32]]
    c: float | None = None
    k: int | None = None
    finished: bool = True


def fit_probe(probe: Probe, train: LabeledRows, val: LabeledRows) -> FittedProbe:
    """Trains a probe on the training pictures; the validation pictures choose its hyperparameter.

    The probe is not retrained on both parts afterward, so that the saved model is the measured one.

    Args:
        probe: `linear`: multinomial logistic regression with an L2 penalty. `knn`: the votes of the nearest training
            pictures. `centroid`: the cosine similarity to the mean of each person's training pictures, without a
            hyperparameter.
        train: Training pictures; every person has at least one.
        val: Validation pictures; some people may be missing.
    """
    if probe == "knn":
        return _fit_knn(train, val)
    if probe == "centroid":
        means = centroids(train)
        return FittedProbe(score=LinearLayer(weights=means, bias=np.zeros(len(means), np.float32)))
    return _fit_linear(train, val)


def centroids(train: LabeledRows) -> NDArray[np.float32]:
    """Returns the L2-normalized mean of each person's pictures. Shape: (people, dim)."""
    sums = np.zeros((int(train.labels.max()) + 1, train.embeddings.shape[1]))
    np.add.at(sums, train.labels, train.embeddings)
    return normalize_rows(sums).astype(np.float32)


def _fit_knn(train: LabeledRows, val: LabeledRows) -> FittedProbe:
    best, best_right = NEIGHBORS[0], -1
    for k in NEIGHBORS:
        scores = knn_scores(val.embeddings, train.embeddings, train.labels, k)
        right = int((scores.argmax(axis=1) == val.labels).sum())
        if right > best_right:
            best, best_right = k, right
    return FittedProbe(score=lambda asked: knn_scores(asked, train.embeddings, train.labels, best), k=best)


def _fit_linear(train: LabeledRows, val: LabeledRows) -> FittedProbe:
    people, pictures = int(train.labels.max()) + 1, len(train.labels)
    work = pictures * min(train.embeddings.shape[1], pictures) * people
    with threadpool_limits(limits=None if work > _WORTH_THREADS else 1):
        basis = scaled_basis(train.embeddings)
        model = _fit_regression(basis(train.embeddings), train.labels, basis(val.embeddings), val.labels)
        layer = _fold_basis(model, basis)
    return FittedProbe(score=layer, c=float(model.C), finished=bool(model.n_iter_.max() < _STEPS))


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """The transform of embeddings before training: `(embedding - mean) @ axes`.

    Attributes:
        mean: Shape: (dim,).
        axes: Shape: (dim, features).
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    def __call__(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """The transformed embeddings. Shape: (pictures, features)."""
        centered: NDArray[np.float32] = embeddings - self.mean
        return centered @ self.axes


def scaled_basis(train: Embeddings) -> Basis:
    """Returns a basis that centers embeddings and scales them by a single factor, which preserves angles.

    The scale makes the regularization strength independent of the embedding dimension. If there are far fewer training
    pictures than dimensions, embeddings are projected onto the span of the training pictures. Training is then faster,
    and the layer is the same, since the weights of an L2-penalized layer lie in that span.

    Args:
        train: Training embeddings. Shape: (pictures, dim).
    """
    mean: NDArray[np.float32] = train.mean(axis=0)
    centered = train - mean
    scale = max(float(np.sqrt(np.mean(centered**2))), 1e-12)
    axes: NDArray[Any] = np.eye(train.shape[1], dtype=np.float32)
    if 2 * len(train) < train.shape[1]:
        axes = np.linalg.svd(centered, full_matrices=False)[2].T
    return Basis(mean=mean, axes=(axes / scale).astype(np.float32))


def _fit_regression(features: Embeddings, labels: Numbers, val: Embeddings, val_labels: Numbers) -> Any:
    """Fits a multinomial logistic regression with the regularization strength of the best validation accuracy."""
    # Each strength starts from the weights of the previous one.
    model = LogisticRegression(warm_start=True, max_iter=_STEPS)
    best, best_accuracy = None, -1.0
    for c in STRENGTHS:
        model.set_params(C=c)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            # A few-shot curve may have one picture per person.
            warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
            model.fit(features, labels)
        accuracy = float(model.score(val, val_labels))
        if accuracy > best_accuracy:
            best, best_accuracy = copy.deepcopy(model), accuracy
    return best


def _fold_basis(model: Any, basis: Basis) -> LinearLayer:
    weights, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(weights) == 1:  # For two classes, scikit-learn stores only the log odds of the second.
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    raw = weights @ basis.axes.T.astype(np.float64)
    return LinearLayer(weights=raw.astype(np.float32), bias=(bias - raw @ basis.mean).astype(np.float32))
